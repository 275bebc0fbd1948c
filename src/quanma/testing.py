"""For tests of an integration: a sandbox, its faults, clock, journal and events, as Python calls.

    with quanma.testing.start() as sandbox:
        wxpay = sandbox.wechatpay()
        sandbox.faults.add("coupons.send.post", cut="after_commit", first=1)

The pytest plugin gives the same as fixtures. `connect(url)` uses a sandbox that runs already.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .client.client import AsyncWechatpay, Wechatpay
from .client.config import Merchant
from .client.exchange import Clocks
from .errors import NotSent, RequestInvalid, StoreUnavailable

ANSWER_SECONDS = 90.0


class Answer(NamedTuple):
    """What the platform answered, as it came."""

    status: int
    code: str
    body: Any
    headers: dict[str, str]


class Exchange(NamedTuple):
    """A request in the sandbox's journal."""

    id: str
    operation: str
    merchant: str
    status: int
    code: str
    message: str
    fault: str
    milliseconds: float
    verb: str
    target: str
    request: Any
    explain: str

    def __str__(self) -> str:
        what = self.operation or f"{self.verb} {self.target}"
        fault = f" fault={self.fault}" if self.fault else ""
        return f"{self.id} {what}: {self.status or 'cut'} {self.code}{fault} {self.milliseconds:.0f} ms"


class Delivery(NamedTuple):
    """One attempt to deliver an event."""

    id: str
    event: str
    kind: str
    url: str
    status: int
    problem: str
    headers: dict[str, str]
    body: str


class Control:
    """The control endpoints, as one call."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise RequestInvalid(f"{url!r} is no sandbox's address: write it like http://127.0.0.1:8460")
        self._host, self._port = parts.hostname, parts.port or 80
        self._token = token

    def ask(self, verb: str, path: str, body: Any = None) -> Any:
        """Return the JSON answer. Raises RequestInvalid: refused; NotSent: nobody answers there."""
        status, _, answer = self.raw(verb, f"/_sandbox{path}", None if body is None else json.dumps(body).encode())
        if status >= 400:
            raise RequestInvalid(f"the sandbox refused {verb} {path}: {_message(answer)}")
        return json.loads(answer)

    def raw(self, verb: str, path: str, body: bytes | None) -> tuple[int, dict[str, str], bytes]:
        headers = {"Content-Type": "application/json"} if body is not None or verb != "GET" else {}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = HTTPConnection(self._host, self._port, timeout=ANSWER_SECONDS)
        try:
            connection.request(verb, path, body, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        except (OSError, HTTPException) as problem:
            raise NotSent(
                f"no sandbox answers at http://{self._host}:{self._port} ({type(problem).__name__}): start one with "
                "`quanma sandbox`"
            ) from None
        finally:
            connection.close()


def _message(answer: bytes) -> str:
    try:
        said = json.loads(answer)
    except ValueError:
        return answer[:200].decode("utf-8", "replace")
    return str(said.get("message", said)) if isinstance(said, dict) else str(said)


class Faults:
    """Rules for faults. See the page "Faults" for all that a rule can say."""

    def __init__(self, control: Control, merchant: str | None = None) -> None:
        self._control = control
        self._merchant = merchant

    def add(
        self,
        operation: str | None = None,
        *,
        first: int | None = None,
        nth: int | None = None,
        every: int | None = None,
        stock_id: str | None = None,
        body: Mapping[str, str | int | bool] | None = None,
        times: int | None = None,
        for_seconds: float | None = None,
        probability: float | None = None,
        seed: int | None = None,
        rule_id: str | None = None,
        **do: Any,
    ) -> str:
        """Add a rule and return its id: `add("coupons.send.post", first=1, cut="after_commit")`."""
        when: dict[str, Any] = {
            "operation": operation,
            "merchant": self._merchant,
            "first": first,
            "nth": nth,
            "every": every,
        }
        when |= {"stock_id": stock_id, "body": dict(body) if body else None}
        rule = {"id": rule_id, "times": times, "for_seconds": for_seconds, "probability": probability, "seed": seed}
        return self.add_rule({**_said(rule), "when": _said(when), "do": do})

    def add_rule(self, rule: Mapping[str, Any]) -> str:
        """Add a rule as the control endpoints take it."""
        added: str = self._control.ask("POST", "/faults", rule)["id"]
        return added

    def replace(self, rules: list[Mapping[str, Any]]) -> None:
        self._control.ask("PUT", "/faults", rules)

    def all(self) -> list[dict[str, Any]]:
        """The rules as they stand, with `matched`, `hits` and `left`."""
        found: list[dict[str, Any]] = self._control.ask("GET", "/faults")
        return found

    def hits(self, rule_id: str) -> int:
        hits: int = self._control.ask("GET", f"/faults/{rule_id}")["hits"]
        return hits

    def remove(self, rule_id: str | None = None) -> None:
        """One, or all."""
        self._control.ask("DELETE", "/faults" if rule_id is None else f"/faults/{rule_id}")

    def assert_all_hit(self) -> None:
        """Raises AssertionError: a rule never hit."""
        missed = [one["id"] for one in self.all() if not one["hits"]]
        if missed:
            raise AssertionError(f"rules that never hit: {', '.join(missed)}")


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class Clock:
    """The platform's clock. The sandbox's own clients follow it; another client does not, and is refused from 300 s."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._ahead = 0.0
        self._frozen: float | None = None

    def __call__(self) -> float:
        """Unix seconds, as the sandbox has them."""
        return time.time() + self._ahead if self._frozen is None else self._frozen

    def freeze(self, at: str | None = None) -> None:
        """Stand still, at an RFC 3339 time or now."""
        self._change({"freeze": True, **({"at": at} if at else {})})

    def move_to(self, at: str) -> list[str]:
        """Returns the events whose delivery was tried because of it."""
        return self._change({"at": at})

    def shift(self, seconds: float) -> list[str]:
        """Returns the events whose delivery was tried because of it."""
        return self._change({"shift_seconds": seconds})

    def real(self) -> None:
        """The system's time again."""
        self._change({"real": True})

    def look(self) -> None:
        """Follow what another has set."""
        self._take(self._control.ask("GET", "/clock"))

    def _change(self, change: dict[str, Any]) -> list[str]:
        answer = self._control.ask("PUT", "/clock", change)
        self._take(answer)
        delivered: list[str] = answer["delivered"]
        return delivered

    def _take(self, shown: dict[str, Any]) -> None:
        self._frozen = shown["unix"] if shown["frozen"] else None
        self._ahead = 0.0 if shown["frozen"] else shown["unix"] - time.time()
        if abs(self._ahead) < 2:
            self._ahead = 0.0


class Requests:
    """The journal of requests."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def find(self, operation: str | None = None, **where: Any) -> list[Exchange]:
        """Those that fit: `merchant`, `status`, `code`, `fault`, `body={field: value}`."""
        return [_exchange(one) for one in self._control.ask("POST", "/requests/find", _where(operation, where))]

    def count(self, operation: str | None = None, **where: Any) -> int:
        count: int = self._control.ask("POST", "/requests/count", _where(operation, where))["count"]
        return count

    def wait(
        self, operation: str | None = None, *, count: int = 1, seconds: float = 10, **where: Any
    ) -> list[Exchange]:
        """Return them once there are so many. Raises AssertionError: there were fewer at the end of the time."""
        asked = {"count": count, "seconds": seconds, "where": _where(operation, where)}
        answer = self._control.ask("POST", "/requests/wait", asked)
        if not answer["met"]:
            raise AssertionError(
                f"{answer['count']} of {count} requests came within {seconds} s: {_where(operation, where)}"
            )
        return [_exchange(one) for one in answer["found"]]

    def assert_one(self, operation: str | None = None, **where: Any) -> Exchange:
        """Return the only one that fits. Raises AssertionError, with what came instead: there is none, or more."""
        found = self.find(operation, **where)
        if len(found) != 1:
            came = "\n".join(f"  {one}" for one in self.find()[-20:]) or "  nothing"
            raise AssertionError(f"{len(found)} requests fit {_where(operation, where)}, not 1; these came:\n{came}")
        return found[0]

    def export(self, form: str = "curl") -> str:
        """The session as a `pytest` file, `http`, `curl` or `har`."""
        _, _, text = self._control.raw("GET", f"/_sandbox/requests/export?format={form}", None)
        return text.decode()


class Callbacks:
    """The journal of events: each attempt to deliver one."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def all(self, **where: Any) -> list[Delivery]:
        return [_delivery(one) for one in self._control.ask("POST", "/deliveries/find", where)]

    def wait(self, *, count: int = 1, seconds: float = 10, **where: Any) -> list[Delivery]:
        """Return them once there are so many. Raises AssertionError: there were fewer at the end of the time."""
        answer = self._control.ask("POST", "/deliveries/wait", {"count": count, "seconds": seconds, "where": where})
        if not answer["met"]:
            raise AssertionError(f"{answer['count']} of {count} events were delivered within {seconds} s")
        return [_delivery(one) for one in answer["found"]]

    def send(self, *ids: str, kind: str = "duplicate") -> list[Delivery]:
        """Send some again, in this order: `duplicate`, `late`, `forged`, `unknown_serial` or `probe`."""
        asked = {"deliveries": list(ids), "kind": kind}
        return [_delivery(one) for one in self._control.ask("POST", "/deliveries/send", asked)]


def _where(operation: str | None, where: Mapping[str, Any]) -> dict[str, Any]:
    return {**where, **({"operation": operation} if operation else {})}


def _exchange(one: Mapping[str, Any]) -> Exchange:
    values = {name: one[name] for name in Exchange._fields}
    with contextlib.suppress(ValueError):
        values["request"] = json.loads(values["request"])
    return Exchange(**values)


def _delivery(one: Mapping[str, Any]) -> Delivery:
    values = {name: one[name] for name in Delivery._fields}
    values["headers"] = dict(values["headers"])
    return Delivery(**values)


class Sandbox:
    """A sandbox that runs."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._control = Control(self.url, token)
        self.clock = Clock(self._control)
        self.faults = Faults(self._control)
        self.requests = Requests(self._control)
        self.callbacks = Callbacks(self._control)
        self.clock.look()

    def __str__(self) -> str:
        return self.url

    @property
    def merchant(self) -> Merchant:
        """The first merchant's settings, for any client."""
        return Merchant(**self._control.ask("GET", "/env"))

    def env(self) -> dict[str, str]:
        """The settings as environment variables, for a program of its own."""
        values = {name: value for name, value in self._control.ask("GET", "/env").items() if value is not None}
        keys = json.dumps(values.pop("platform_keys"))
        return {f"QUANMA_{name.upper()}": value for name, value in values.items()} | {"QUANMA_PLATFORM_KEYS": keys}

    def wechatpay(self, **options: Any) -> Wechatpay:
        """A client whose clock is the sandbox's. Whoever asks for it closes it."""
        return Wechatpay(self.merchant, clocks=Clocks(self.clock, time.monotonic), **options)

    def async_wechatpay(self, **options: Any) -> AsyncWechatpay:
        return AsyncWechatpay(self.merchant, clocks=Clocks(self.clock, time.monotonic), **options)

    def reset(self) -> None:
        """An empty world with the same keys; no rules, an empty journal, the system's clock."""
        self._control.ask("POST", "/reset", {})
        self.clock.look()

    def snapshot(self, name: str) -> None:
        self._control.ask("POST", f"/snapshots/{name}", {})

    def restore(self, name: str) -> None:
        self._control.ask("POST", f"/snapshots/{name}/restore", {})
        self.clock.look()

    def claim(self, stock_id: str, openid: str, **fields: str) -> str:
        """Let a user claim a coupon on the H5 page, and return its code. The event tells of it."""
        asked = {"stock_id": stock_id, "openid": openid, **fields}
        code: str = self._control.ask("POST", "/claims", asked)["coupon_code"]
        return code

    def rotate_key(self) -> str:
        """Sign with a new key from now on, that no client knows. Returns its name."""
        name: str = self._control.ask("POST", "/keys/rotate", {})["public_key_id"]
        return name

    def explain(self, number: str) -> dict[str, Any]:
        """Why the signature of a request was refused; `number`: its id in the journal."""
        found: dict[str, Any] = self._control.ask("GET", f"/explain/{number}")
        return found

    def ask_as(self, mchid: str, verb: str, target: str, body: str = "") -> Answer:
        """Send a request that the sandbox signs for a merchant."""
        path = f"/_sandbox/as/{mchid}{target}"
        status, headers, answer = self._control.raw(verb, path, body.encode() if body else None)
        try:
            value = json.loads(answer)
        except ValueError:
            value = answer.decode("utf-8", "replace")
        return Answer(status, str(value.get("code", "")) if isinstance(value, dict) else "", value, headers)


def connect(url: str, token: str | None = None) -> Sandbox:
    """Use a sandbox that runs. Raises NotSent: none does there."""
    return Sandbox(url, token)


@contextlib.contextmanager
def start(
    folder: str | Path | None = None, *, seed: int = 0, clock: str | None = None
) -> Generator[Sandbox, None, None]:
    """Run a sandbox of one's own on a free port, as long as the `with` lasts. Without a folder, nothing is kept.

    Raises StoreUnavailable: it did not start; the message is its own.
    """
    with contextlib.ExitStack() as kept:
        home = Path(folder) if folder is not None else Path(kept.enter_context(_folder()))
        command = [sys.executable, "-m", "quanma", "sandbox", "--dir", str(home), "--port", "0"]
        command += ["--random-seed", str(seed), *(["--clock", clock] if clock else [])]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        kept.enter_context(process)
        kept.callback(process.terminate)
        url, drained = _listening(process)
        kept.callback(drained.join, 10)
        kept.callback(process.terminate)
        yield Sandbox(url)


@contextlib.contextmanager
def _folder() -> Generator[str, None, None]:
    with tempfile.TemporaryDirectory(prefix="quanma-sandbox-", ignore_cleanup_errors=True) as name:
        yield str(Path(name) / "world")


def _listening(process: subprocess.Popen[str]) -> tuple[str, threading.Thread]:
    """Return the address, and the thread that reads what else it says."""
    stream = process.stderr
    assert stream is not None
    said: deque[str] = deque(maxlen=20)
    for line in stream:
        if line.startswith("listening on "):
            drained = threading.Thread(target=deque, args=(stream, 0), daemon=True)
            drained.start()
            return line.removeprefix("listening on ").strip(), drained
        said.append(line)
    raise StoreUnavailable(f"the sandbox did not start: {''.join(said).strip()}")
