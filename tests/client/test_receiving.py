"""The ready-made applications: what they answer, and that each event is handled once."""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import MutableMapping
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.validate import validator

import pytest

from quanma.client.events import Event, Receiver
from quanma.client.receiving import AsgiReceiver, WsgiReceiver
from quanma.wire.signature import KeyRing
from tests.support.deliveries import SENT, event_body, receiver, signing_headers
from tests.support.every import every_row
from tests.support.platform import call_asgi

BODY = event_body()
OTHER = event_body({**SENT, "coupon_code": "B2"}, id="another")


class Handled:
    """A handler for either application. It fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.events: list[Event] = []
        self._failures = failures

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) <= self._failures:
            raise ValueError("the database is away")


Posted = tuple[int, bytes]


def post_asgi(app: AsgiReceiver, *bodies: bytes, changed: bytes = b"") -> list[Posted]:
    async def one(body: bytes) -> Posted:
        reply = await call_asgi(app, "POST", "/notify", list(signing_headers(body).items()), body + changed)
        return reply.status_code, reply.body

    async def all_of_them() -> list[Posted]:
        return [await one(body) for body in bodies]

    return asyncio.run(all_of_them())


def post_wsgi(app: WsgiReceiver, *bodies: bytes, changed: bytes = b"") -> list[Posted]:
    """Through wsgiref's server side, and its validator of both sides."""
    answers: list[Posted] = []
    for body in bodies:
        sent = body + changed
        headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in signing_headers(body).items()}
        environ: Any = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/notify",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(sent)),
            "CONTENT_TYPE": headers.pop("HTTP_CONTENT_TYPE"),
            **headers,
        }
        out, errors = BytesIO(), StringIO()
        handler = SimpleHandler(BytesIO(sent), out, errors, environ)
        handler.run(validator(app))
        assert errors.getvalue() == ""
        head, _, content = out.getvalue().partition(b"\r\n\r\n")
        answers.append((int(head.split()[1]), content))
    return answers


def asgi(handled: Handled) -> tuple[AsgiReceiver, Any]:
    async def handle(event: Event) -> None:
        handled(event)

    return AsgiReceiver(receiver(), handle), post_asgi


def wsgi(handled: Handled) -> tuple[WsgiReceiver, Any]:
    return WsgiReceiver(receiver(), handled), post_wsgi


both = every_row("kind", [asgi, wsgi])


@both
def test_an_event_is_handled_and_answered_204(kind: Any) -> None:
    handled = Handled()
    app, post = kind(handled)
    assert post(app, BODY) == [(204, b"")]
    assert [event.id for event in handled.events] == ["8b33f79f-8869-5ae5-b41b-3c0b59f957d0"]


@both
def test_an_event_that_comes_again_is_answered_and_not_handled_again(kind: Any) -> None:
    handled = Handled()
    app, post = kind(handled)
    same_coupon = event_body(id="another id")
    assert [status for status, _ in post(app, BODY, BODY, same_coupon, OTHER)] == [204, 204, 204, 204]
    assert [event.id for event in handled.events] == ["8b33f79f-8869-5ae5-b41b-3c0b59f957d0", "another"]


@both
def test_an_event_that_could_not_be_handled_is_answered_500_and_handled_when_it_comes_again(
    kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    handled = Handled(failures=2)
    app, post = kind(handled)
    answers = post(app, BODY, BODY, BODY, BODY)
    assert answers[0] == (500, '{"code":"FAIL","message":"处理失败"}'.encode())
    assert [status for status, _ in answers] == [500, 500, 204, 204]
    assert len(handled.events) == 3
    assert "the database is away" in caplog.text
    assert "AB/C 1" not in caplog.text
    assert "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o" not in caplog.text


@both
def test_an_event_that_was_changed_is_answered_401_and_not_handled(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    handled = Handled()
    app, post = kind(handled)
    assert post(app, BODY, changed=b" ") == [(401, '{"code":"FAIL","message":"签名或内容不对"}'.encode())]
    assert handled.events == []
    assert caplog.records[0].levelno == logging.WARNING


@both
def test_a_body_without_an_end_is_not_kept(kind: Any) -> None:
    handled = Handled()
    app, post = kind(handled)
    assert [status for status, _ in post(app, BODY, changed=b" " * 2_000_000)] == [401]


def test_asgi_reads_a_body_that_comes_in_pieces() -> None:
    handled = Handled()
    app, _ = asgi(handled)
    messages = [{"type": "http.request", "body": BODY[at : at + 100], "more_body": True} for at in range(0, 2000, 100)]
    messages.append({"type": "http.request"})
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return messages.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in signing_headers(BODY).items()]
    asyncio.run(app({"type": "http", "headers": headers}, receive, send))
    assert sent[0]["status"] == 204
    assert len(handled.events) == 1


def test_asgi_of_two_deliveries_at_the_same_moment_handles_one_and_puts_off_the_other() -> None:
    events: list[Event] = []

    async def story() -> list[int]:
        go_on = asyncio.Event()

        async def handle(event: Event) -> None:
            events.append(event)
            await go_on.wait()

        app = AsgiReceiver(receiver(), handle)
        headers = list(signing_headers(BODY).items())
        first = asyncio.create_task(call_asgi(app, "POST", "/", headers, BODY))
        await asyncio.sleep(0)
        second = await call_asgi(app, "POST", "/", headers, BODY)
        go_on.set()
        third_comes_after = (await first, await call_asgi(app, "POST", "/", headers, BODY))
        return [second.status_code, *(reply.status_code for reply in third_comes_after)]

    assert asyncio.run(story()) == [500, 204, 204]
    assert len(events) == 1


def test_asgi_a_delivery_that_was_broken_off_is_handled_when_it_comes_again() -> None:
    events: list[Event] = []

    async def story() -> int:
        async def handle(event: Event) -> None:
            events.append(event)
            if len(events) == 1:
                await asyncio.Event().wait()

        app = AsgiReceiver(receiver(), handle)
        headers = list(signing_headers(BODY).items())
        first = asyncio.create_task(call_asgi(app, "POST", "/", headers, BODY))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        return (await call_asgi(app, "POST", "/", headers, BODY)).status_code

    assert asyncio.run(story()) == 204
    assert len(events) == 2


def test_wsgi_of_two_threads_with_one_event_one_handles_it() -> None:
    events: list[Event] = []
    begun, go_on = threading.Event(), threading.Event()

    def handle(event: Event) -> None:
        events.append(event)
        begun.set()
        go_on.wait(10)

    app = WsgiReceiver(receiver(), handle)
    answers: list[Posted] = []
    first = threading.Thread(target=lambda: answers.extend(post_wsgi(app, BODY)))
    first.start()
    begun.wait(10)
    second = post_wsgi(app, BODY)
    go_on.set()
    first.join(10)
    assert second == [(500, '{"code":"FAIL","message":"处理中"}'.encode())]
    assert answers == [(204, b"")]
    assert len(events) == 1


def test_asgi_starts_and_stops_with_its_server() -> None:
    app, _ = asgi(Handled())
    messages: list[MutableMapping[str, Any]] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return messages.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def environ_of(body: Any, **changes: Any) -> dict[str, Any]:
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in signing_headers(BODY).items()}
    return {"REQUEST_METHOD": "POST", "wsgi.input": body, **headers, **changes}


def status_of(app: WsgiReceiver, environ: dict[str, Any]) -> str:
    answered: list[str] = []
    list(app(environ, lambda status, headers: answered.append(status)))
    return answered[0]


class InPieces(BytesIO):
    """An input that gives less than it is asked for."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 100))


class Breaks:
    def read(self, size: int) -> bytes:
        raise OSError("the sender went away")


@every_row(
    ("environ", "status"),
    [
        (environ_of(BytesIO(BODY), **{"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}), "204"),
        (environ_of(BytesIO(BODY), **{"wsgi.input_terminated": True}), "204"),
        (environ_of(InPieces(BODY), **{"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}), "204"),
        (environ_of(InPieces(BODY), CONTENT_LENGTH=str(len(BODY))), "204"),
        (environ_of(BytesIO(BODY + b"the next request"), CONTENT_LENGTH=str(len(BODY))), "204"),
        (environ_of(BytesIO(b" " * 2_000_000), **{"wsgi.input_terminated": True}), "401"),
        (environ_of(BytesIO(BODY), HTTP_TRANSFER_ENCODING="chunked"), "411"),
        (environ_of(BytesIO(BODY), CONTENT_LENGTH="9" * 5000), "400"),
        (environ_of(BytesIO(BODY), CONTENT_LENGTH="-1"), "401"),
        (environ_of(Breaks(), CONTENT_LENGTH="5"), "400"),
        ({"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5"}, "400"),
        ({"REQUEST_METHOD": "GET"}, "401"),
    ],
)
def test_wsgi_reads_to_the_end_that_the_server_names_and_never_further(environ: dict[str, Any], status: str) -> None:
    assert status_of(WsgiReceiver(receiver(), Handled()), environ).startswith(status)


def test_wsgi_says_in_the_log_why_a_chunked_body_without_an_end_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    app = WsgiReceiver(receiver(), Handled())
    assert status_of(app, environ_of(BytesIO(BODY), HTTP_TRANSFER_ENCODING="chunked")) == "411 Length Required"
    assert "have the proxy in front send Content-Length" in caplog.text


def test_wsgi_an_event_is_not_taken_as_handled_by_a_function_that_is_async(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(event: Event) -> None:
        pass

    with pytest.raises(TypeError, match="use AsgiReceiver"):
        WsgiReceiver(receiver(), handle)  # type: ignore[arg-type]
    hidden: Any = lambda event: handle(event)  # noqa: E731
    assert [status for status, _ in post_wsgi(WsgiReceiver(receiver(), hidden), BODY)] == [500]
    assert "the function is async, and nothing was done" in caplog.text


def test_asgi_takes_a_function_that_is_not_async() -> None:
    handled: Any = Handled()
    assert post_asgi(AsgiReceiver(receiver(), handled), BODY, BODY) == [(204, b""), (204, b"")]
    assert len(handled.events) == 1


def asgi_statuses(scope: dict[str, Any], *messages: dict[str, Any] | Exception) -> list[Any]:
    """What the application sends, when its server gives it these messages."""
    incoming, sent = list(messages), []

    async def receive() -> Any:
        message = incoming.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    async def send(message: Any) -> None:
        sent.append(message.get("status", message["type"]))

    app, _ = asgi(Handled())
    asyncio.run(app(scope, receive, send))
    return sent


HTTP: dict[str, Any] = {"type": "http", "headers": []}


@every_row(
    ("scope", "messages", "sent"),
    [
        (HTTP, [{"type": "http.request", "more_body": True}, {"type": "http.disconnect"}], [400, "http.response.body"]),
        (HTTP, [OSError("the sender went away")], [400, "http.response.body"]),
        ({"type": "http"}, [{"type": "http.request"}], []),
        ({"type": "websocket", "headers": []}, [{"type": "websocket.connect"}], ["websocket.close"]),
        ({"type": "lifespan"}, [RuntimeError("the server ended")], []),
    ],
    ids=["disconnected", "broken", "no headers", "websocket", "lifespan"],
)
def test_asgi_lets_no_exception_through_to_the_server(
    scope: dict[str, Any], messages: list[Any], sent: list[Any]
) -> None:
    assert asgi_statuses(scope, *messages) == sent


class Broken(Receiver):
    """As one whose keys went wrong while it runs."""

    def receive(self, headers: Any, body: bytes) -> Event:
        raise ZeroDivisionError("of any kind")


@every_row(("app", "post"), [(WsgiReceiver, post_wsgi), (AsgiReceiver, post_asgi)], ids=["WSGI", "ASGI"])
def test_an_error_of_any_kind_is_answered_500_and_logged(app: Any, post: Any, caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken(KeyRing({}), "k" * 32)
    assert [status for status, _ in post(app(broken, Handled()), BODY)] == [500]
    assert "of any kind" in caplog.text


@both
def test_an_event_that_the_platform_signed_and_that_cant_be_read_is_an_error_in_the_log(
    kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app, post = kind(Handled())
    assert [status for status, _ in post(app, event_body({**SENT, "stock_id": None}))] == [401]
    assert (caplog.records[0].levelno, "has no stock_id that can be read" in caplog.text) == (logging.ERROR, True)


APP = """
from quanma.events import WsgiReceiver
from tests.support.deliveries import receiver

app = WsgiReceiver(receiver(), lambda event: None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_behind_gunicorn_a_chunked_event_is_read_as_one_with_a_length_is(worker: str, tmp_path: Path) -> None:
    (tmp_path / "notified.py").write_text(APP)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--worker-class", worker, "notified:app"]
    path = os.pathsep.join([str(tmp_path), str(root)])
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}) as served:
        try:
            assert served.stderr is not None
            port = next(int(found[1]) for line in served.stderr if (found := re.search(r"127\.0\.0\.1:(\d+)", line)))
            pieces = [BODY[at : at + 100] for at in range(0, len(BODY), 100)]
            statuses = []
            for body, chunked in ((BODY, False), (iter(pieces), True), (iter([BODY]), True), (iter([b"{}"]), True)):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("POST", "/", body, signing_headers(BODY), encode_chunked=chunked)
                statuses.append(connection.getresponse().status)
                connection.close()
        finally:
            served.terminate()
            served.communicate(timeout=20)
    assert statuses == [204, 204, 204, 401]
