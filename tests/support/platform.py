"""Our own platform, for all tests: in this process without a network, or served by a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from quanma import AsyncWechatpay, Wechatpay
from quanma.api.stockrules import CouponAvailableTime, CouponUseRule, FixedNormalCoupon, StockSendRule
from quanma.api.stocks import CreateStock, Stocks
from quanma.client import config
from quanma.client.transport import Reply, Request, Transport
from quanma.platform import config as platform_config
from quanma.platform.app import App
from quanma.platform.handlers import HANDLERS
from quanma.platform.keys.environment import MCHID_DEFAULT, make_environment
from quanma.platform.keys.keystore import KeyStore
from quanma.platform.pool import CodePool, open_pool
from quanma.serving import messages
from tests.support import leftopen

T = TypeVar("T")

MCHID = MCHID_DEFAULT
OTHER_MCHID = "1900000002"
APPID = "wx233544546545989"


def new_stock(out_request_no: str, **changes: Any) -> CreateStock:
    """A stock that takes uploads, for half a year. `changes` are fields of it, or of its stock_send_rule."""
    today = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    send_rule: dict[str, Any] = {"max_coupons_per_user": 100, "max_coupons": 1_000_000_000}
    for rule in ("max_coupons_per_user", "max_coupons", "max_coupons_by_day"):
        if rule in changes:
            send_rule[rule] = changes.pop(rule)
    fields: dict[str, Any] = {
        "stock_name": "八月一日活动券",
        "belong_merchant": MCHID,
        "goods_name": "xxx商品",
        "stock_type": "NORMAL",
        "coupon_use_rule": CouponUseRule(
            coupon_available_time=CouponAvailableTime(
                available_begin_time=(today - datetime.timedelta(days=1)).isoformat(),
                available_end_time=(today + datetime.timedelta(days=180)).isoformat(),
            ),
            use_method="OFF_LINE",
            fixed_normal_coupon=FixedNormalCoupon(discount_amount=100, transaction_minimum=1000),
        ),
        "stock_send_rule": StockSendRule(**send_rule),
        "out_request_no": out_request_no,
        "coupon_code_mode": "MERCHANT_UPLOAD",
    }
    return CreateStock(**{**fields, **changes})


def create_stock(wxpay: Wechatpay, out_request_no: str, **changes: Any) -> str:
    """Create a stock over the API and return its stock_id."""
    return wxpay.send(Stocks.post, new_stock(out_request_no, **changes)).data.stock_id


def merchant_config(world: Path, mchid: str = MCHID) -> Path:
    return world / "merchants" / mchid / "quanma.toml"


def build_world(folder: Path, port: int = 8460, mchids: tuple[str, ...] = (MCHID, OTHER_MCHID)) -> Path:
    make_environment(folder, port=port, mchids=mchids, now=datetime.datetime.now(datetime.UTC))
    return folder


class InProcess:
    """The platform's application in this process, on a loop of its own, so that the sync client can call it too."""

    def __init__(
        self,
        world: Path,
        database: str,
        *,
        clock: Callable[[], float] | None = None,
        explain: bool = False,
    ) -> None:
        self.world = world
        self.database = database
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        settings = platform_config.load(world / "platform.toml")
        self.keystore = KeyStore.load(settings, world)
        self.pool: CodePool = open_pool(database, world)
        options: dict[str, Any] = {"clock": clock} if clock else {}
        self.app = App(HANDLERS, self.pool, self.keystore, explain=explain, **options)
        leftopen.note(self)

    def run(self, coroutine: Coroutine[Any, Any, T] | Awaitable[T]) -> T:
        async def awaited() -> T:
            return await coroutine

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(60)

    def ask(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> Reply:
        """Put raw bytes to the application, signed or not, and return what it answers."""
        return self.run(call_app(self.app, method, target, headers, body))

    def wechatpay(self, mchid: str = MCHID, **settings: Any) -> Wechatpay:
        """`settings` come before those of the merchant's file; `patience` and `clocks` are the client's."""
        options = {name: settings.pop(name) for name in ("patience", "clocks", "on_attempt") if name in settings}
        merchant = config.load(merchant_config(self.world, mchid), **settings)
        return Wechatpay(merchant, transport=_SyncBridge(self), **options)

    def transport(self) -> Transport:
        """For a client whose settings a test makes."""
        return _SyncBridge(self)

    def async_wechatpay(self, mchid: str = MCHID, **options: Any) -> AsyncWechatpay:
        """For use on any loop: the application runs on its own."""
        return AsyncWechatpay(config.load(merchant_config(self.world, mchid)), transport=_AsyncBridge(self), **options)

    def close(self) -> None:
        """The second time does nothing."""
        if self._loop.is_closed():
            return
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        await self.pool.close()
        # What is left would be found as garbage in the middle of another test, or at the end of all.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def call_app(app: App, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
    """One request, as a connection would hand it over."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    request = messages.Request(method, target.encode(), raw, body)
    answer = app.finish(request, await app.answer(request))
    lines = [line.partition(": ") for line in answer.headers.split("\r\n")[:-1]]
    return Reply(answer.status, [(name, value) for name, _, value in lines], answer.body)


async def call_asgi(
    app: Callable[..., Awaitable[None]], method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> Reply:
    """One ASGI request, as a server would hand it over."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answered = [(name.decode(), value.decode("latin-1")) for name, value in sent[0]["headers"]]
    return Reply(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


class _SyncBridge:
    def __init__(self, platform: InProcess) -> None:
        self._platform = platform

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        return self._platform.ask(request.verb, _target(request.url), list(request.headers.items()), request.body)

    def close(self) -> None:
        pass


class _AsyncBridge:
    def __init__(self, platform: InProcess) -> None:
        self._platform = platform

    async def send(self, request: Request, timeout_seconds: float) -> Reply:
        return await asyncio.to_thread(
            self._platform.ask,
            request.verb,
            _target(request.url),
            list(request.headers.items()),
            request.body,
        )

    async def close(self) -> None:
        pass


class Served:
    """`quanma serve` in a process of its own, that can be killed and started again on the same port."""

    def __init__(self, world: Path, *arguments: str) -> None:
        self.world = world
        self._arguments = arguments
        self.port = 0
        self._log = (world / "serve.log").open("ab")  # Open as long as this is.
        try:
            self.start()
        except BaseException:
            self._log.close()
            raise
        leftopen.note(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "quanma", "serve", "--config", str(self.world / "platform.toml")]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *self._arguments],
            stderr=subprocess.PIPE,
            stdout=self._log,
            text=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("listening on "):
                self.port = int(line.rpartition(":")[2])
                self._drainer = threading.Thread(target=self._drain, args=(self.process.stderr,), daemon=True)
                self._drainer.start()
                return
            self._log.write(line.encode())
        raise AssertionError(f"quanma serve ended with {self.process.wait()}: see {self._log.name}")

    def _drain(self, stream: Any) -> None:
        with stream:
            for line in stream:
                self._log.write(line.encode())
                self._log.flush()

    def wechatpay(self, mchid: str = MCHID, **settings: Any) -> Wechatpay:
        return Wechatpay.from_config(merchant_config(self.world, mchid), base_url=self.url, **settings)

    def async_wechatpay(self, mchid: str = MCHID, **settings: Any) -> AsyncWechatpay:
        return AsyncWechatpay.from_config(merchant_config(self.world, mchid), base_url=self.url, **settings)

    def kill(self) -> None:
        """As power: no word of farewell."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self._drainer.join(10)

    def workers(self) -> list[int]:
        """The processes that it started to serve, if several do."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self) -> int:
        """End cleanly, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self._drainer.join(10)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._log.close()


@contextlib.contextmanager
def served(world: Path, *arguments: str) -> Generator[Served, None, None]:
    platform = Served(world, *arguments)
    try:
        yield platform
    finally:
        platform.close()


def mode_of(path: Path) -> int:
    return os.stat(path).st_mode & 0o777
