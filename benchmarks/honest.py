"""Merchants who upload, draw, use and look up, at a steady rate, and keep books of what they were answered."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple, TypeVar

from quanma import AsyncWechatpay
from quanma.api.couponcodes import Code
from quanma.api.events import CouponSent
from quanma.client.events import Receiver
from quanma.errors import NotSent, OutcomeUnknown, QuanmaError, SignatureInvalid, TryAgain
from tests.support.platform import APPID, Served, create_stock, merchant_config

T = TypeVar("T")

CODES_PER_UPLOAD = 20
CODES_BEFORE = 2_000
"""In each stock before anything is drawn: draws and uploads of codes then go on at rates of 1 to 5."""
DRAWS_BEFORE = 50
"""Coupons that are there to be used and looked up from the first call on."""
AGAIN_SECONDS, AGAIN_UNTIL_SECONDS = 1.0, 90.0
"""How soon a call is made again, under its number, that the client has given up and whose error says so; how long."""
PAGE = 20
LAST_PAGE = 1000
"""Rows of a page when all of them are read in the end."""


class Call(NamedTuple):
    kind: str
    due_at: float
    """When it was to be sent, by `time.monotonic`, whether or not those before it were answered."""
    answered_at: float

    @property
    def seconds(self) -> float:
        return self.answered_at - self.due_at


class Drawn(NamedTuple):
    openid: str
    coupon_code: str
    at: float


class Inbox:
    """Where the events of honest merchants are received: each one is verified and opened."""

    def __init__(self) -> None:
        self.url = ""
        self.receivers: dict[str, Receiver] = {}
        self.arrived_at: dict[tuple[str, str], float] = {}
        """By stock and code: when it was told of first."""
        self.refused = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError), contextlib.closing(writer):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
            length = next(int(value) for name, value in headers if name.lower() == "content-length")
            taken = self._take(first.split("/")[1].split()[0], headers, await reader.readexactly(length))
            status = "204 No Content" if taken else "401 Unauthorized"
            writer.write(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode())

    def _take(self, mchid: str, headers: list[tuple[str, str]], body: bytes) -> bool:
        try:
            content = self.receivers[mchid].receive(headers, body).content
        except SignatureInvalid:
            self.refused += 1
            return False
        assert isinstance(content, CouponSent)
        self.arrived_at.setdefault((content.stock_id, content.coupon_code), time.monotonic())
        return True


class Honest:
    """One merchant with one stock."""

    def __init__(self, running: Served, mchid: str, inbox: Inbox) -> None:
        with running.wechatpay(mchid) as wxpay:
            self.stock_id = create_stock(wxpay, "soak", belong_merchant=mchid)
            wxpay.v3.marketing.busifavor.callbacks.post(notify_url=f"{inbox.url}/{mchid}")
        inbox.receivers[mchid] = Receiver.from_config(merchant_config(running.world, mchid))
        self.mchid = mchid
        self.wxpay: AsyncWechatpay = running.async_wechatpay(mchid)
        self._busifavor = self.wxpay.v3.marketing.busifavor
        self._stock = self._busifavor.stocks[self.stock_id]
        self._inbox = inbox
        self._numbers = itertools.count()
        self._unused: deque[Drawn] = deque()
        self.drawn: list[Drawn] = []
        self.used: list[Drawn] = []
        self.uploaded: set[str] = set()
        self.calls: list[Call] = []
        self.again = 0
        """Calls that were made again after the client had given them up."""
        self.failures: list[str] = []
        # In ten calls: four draws, two uses, and one each of what else a merchant's systems do all day.
        draw, use = ("draw", self._draw), ("use", self._use)
        self._turn: itertools.cycle[tuple[str, Callable[[], Awaitable[None]]]] = itertools.cycle([
            draw, ("upload", self._upload), draw, use, ("list of codes", self._list_codes),
            draw, ("list of a user", self._list_user), draw, use, ("show", self._show),
        ])  # fmt: skip

    async def prepare(self) -> None:
        for _ in range(CODES_BEFORE // 200):
            await self._upload(200)
        for _ in range(DRAWS_BEFORE):
            await self._draw()

    async def work(self, per_second: float, ended: asyncio.Event) -> None:
        """Ask at this rate until it ended, and for the answers that are still to come then."""
        began, asked = time.monotonic(), set[asyncio.Task[None]]()
        for number in itertools.count():
            due_at = began + number / per_second
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), max(0.0, due_at - time.monotonic()))
            if ended.is_set():
                break
            kind, ask = next(self._turn)
            task = asyncio.create_task(self._ask(kind, ask, due_at))
            asked.add(task)
            task.add_done_callback(asked.discard)
        if asked:
            await asyncio.wait(asked)

    async def _ask(self, kind: str, ask: Callable[[], Awaitable[None]], due_at: float) -> None:
        try:
            await ask()
        except QuanmaError as error:
            self.failures.append(f"{kind}: {type(error).__name__}: {error}")
        else:
            self.calls.append(Call(kind, due_at, time.monotonic()))

    async def _until_answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """As the error says: the same request, with the same number."""
        until = time.monotonic() + AGAIN_UNTIL_SECONDS
        while True:
            try:
                return await call()
            except (NotSent, TryAgain, OutcomeUnknown):
                if time.monotonic() > until:
                    raise
            self.again += 1
            await asyncio.sleep(AGAIN_SECONDS)

    async def _upload(self, count: int = CODES_PER_UPLOAD) -> None:
        number = next(self._numbers)
        codes = [f"S{number:08}{line:03}" for line in range(count)]
        post = self._stock.couponcodes.post
        answer = await self._until_answered(lambda: post(coupon_code_list=codes, upload_request_no=f"u{number}"))
        assert answer.success_codes == codes, answer
        self.uploaded.update(codes)

    async def _draw(self) -> None:
        openid, number = f"o{secrets.token_urlsafe(20)}", f"d{next(self._numbers)}"
        post = self._busifavor.coupons.send.post
        answer = await self._until_answered(
            lambda: post(stock_id=self.stock_id, openid=openid, appid=APPID, out_request_no=number)
        )
        drawn = Drawn(openid, answer.send_coupon_result.coupon_code, time.monotonic())
        self.drawn.append(drawn)
        self._unused.append(drawn)

    async def _use(self) -> None:
        if not self._unused:  # The answers to the draws are late.
            return await self._draw()
        drawn, number = self._unused.popleft(), f"v{next(self._numbers)}"
        use_time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        await self._until_answered(
            lambda: self._busifavor.coupons.use.post(
                stock_id=self.stock_id,
                coupon_code=drawn.coupon_code,
                openid=drawn.openid,
                appid=APPID,
                use_time=use_time,
                use_request_no=number,
            )
        )
        self.used.append(drawn)

    async def _list_codes(self) -> None:
        offset = secrets.randbelow(len(self.uploaded) - PAGE)
        page = await self._until_answered(lambda: self._stock.couponcodes.get(limit=PAGE, offset=offset))
        assert len(page.data) == PAGE

    async def _list_user(self) -> None:
        one = secrets.choice(self.drawn)
        coupons = self._busifavor.users[one.openid].coupons
        page = await self._until_answered(lambda: coupons.get(appid=APPID, creator_merchant=self.mchid))
        assert [coupon.coupon_code for coupon in page.data] == [one.coupon_code]

    async def _show(self) -> None:
        one = secrets.choice(self.drawn)
        coupon = self._busifavor.users[one.openid].coupons[one.coupon_code].appids[APPID]
        await self._until_answered(coupon.get)

    # Afterwards.

    def untold(self) -> int:
        """Coupons of which no event has come."""
        return sum((self.stock_id, one.coupon_code) not in self._inbox.arrived_at for one in self.drawn)

    def told_after(self) -> list[float]:
        """From the answer to the event, in seconds; of those that came."""
        arrived_at = self._inbox.arrived_at
        arrivals = ((arrived_at.get((self.stock_id, one.coupon_code)), one.at) for one in self.drawn)
        return [arrived - at for arrived, at in arrivals if arrived is not None]

    async def missing(self) -> dict[str, int]:
        """Compare the books with what the platform says, row by row: by name, how many are wrong."""
        rows: dict[str, Code] = {}
        while True:
            page = await self._stock.couponcodes.get(limit=LAST_PAGE, offset=len(rows))
            rows.update({row.code: row for row in page.data})
            if len(rows) >= page.total_count or not page.data:
                break
        users = {code: row.openid for code, row in rows.items() if row.code_status == "DISPATCHED"}
        return {
            "codes given out twice": len(self.drawn) - len({one.coupon_code for one in self.drawn}),
            "answered draws that are gone": sum(users.get(one.coupon_code) != one.openid for one in self.drawn),
            "stored codes that are gone": len(self.uploaded - rows.keys()),
            "codes nobody asked for": max(0, len(users) - len(self.drawn) - len(self.failures)),
            "uses that are gone": await self._uses_gone(),
        }

    async def _uses_gone(self) -> int:
        gone = 0
        for one in self.used[:: max(1, len(self.used) // 500)]:  # To look at each would take longer than all the rest.
            shown = await self._busifavor.users[one.openid].coupons[one.coupon_code].appids[APPID].get()
            gone += shown.coupon_state != "USED"
        return gone

    async def close(self) -> None:
        await self.wxpay.close()
