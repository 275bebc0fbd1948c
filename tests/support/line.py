"""A line to our platform in this process, on which things happen, and an upload that is sent over it.

The client is the real one, the platform too; what is scripted is the network. Waiting takes no time: the clock jumps.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from quanma.client.exchange import Patience
from quanma.client.transport import Reply, Request
from quanma.errors import NoAnswer, NotSent
from quanma.platform.app import App
from quanma.platform.pool import open_pool
from quanma.upload import report
from quanma.upload.ledger import Inputs, Ledger
from quanma.upload.plan import Planned, PlannedBatch
from quanma.upload.target import BUSIFAVOR
from quanma.upload.uploader import Clock, Result, Uploader

from .platform import MCHID, InProcess, create_stock
from .repeats import REPLAY, handlers

Happening = Callable[["Line", Request], Awaitable[Reply]]
ENOUGH_CODES = 1000
ANSWER_TURNS = 20
"""Of the loop, before anything is answered: whoever sends without waiting has the time to."""


class Office:
    """A platform, and a merchant's clients, made once: reading keys takes a while."""

    def __init__(self, platform: InProcess) -> None:
        self.platform = platform
        self.wechatpay = platform.wechatpay()
        self.client = platform.async_wechatpay(patience=Patience(attempts_max=1))
        self._bridge = self.client._transport

    def connect(self, line: Line) -> None:
        line.bridge = self._bridge
        self.client._transport = line


class Line:
    """Carries each request to the platform, unless the script has something else happen to it."""

    bridge: Any
    uploader: Uploader

    def __init__(self, platform: InProcess, script: Iterable[Happening | None]) -> None:
        self.platform = platform
        self.now = 0.0
        self.sent_at: list[float] = []
        self.numbers: list[str] = []
        self.most_at_once = 0
        self.answers: list[Reply] = []
        self._under_way = 0
        self._script = iter(script)

    async def send(self, request: Request, timeout_seconds: float) -> Reply:
        self.sent_at.append(self.now)
        self.numbers.append(msgspec.json.decode(request.body)["upload_request_no"])
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            happening = next(self._script, None)
            for _ in range(ANSWER_TURNS):
                await asyncio.sleep(0)
            return await (happening(self, request) if happening else self.forward(request))
        finally:
            self._under_way -= 1

    async def forward(self, request: Request) -> Reply:
        reply: Reply = await self.bridge.send(request, 30.0)
        self.answers.append(reply)
        return reply

    async def close(self) -> None:
        pass

    def call_later(self, seconds: float, call: Callable[[], None]) -> asyncio.Handle:
        def jump() -> None:
            self.now += seconds
            call()

        return asyncio.get_running_loop().call_soon(jump)


async def lost(line: Line, request: Request) -> Reply:
    await line.forward(request)
    raise NoAnswer("the connection broke")


async def broken(line: Line, request: Request) -> Reply:
    raise NoAnswer("the connection broke")


async def no_connection(line: Line, request: Request) -> Reply:
    raise NotSent("no connection")


async def first_answer_again(line: Line, request: Request) -> Reply:
    await line.forward(request)
    return line.answers[0]


def answering_with(reply: Reply) -> Happening:
    async def answer(line: Line, request: Request) -> Reply:
        return reply

    return answer


def answering(
    status: int, code: str, message: str = "no", *headers: tuple[str, str], signed: bool = True, after: bool = False
) -> Happening:
    """An error in place of the platform's answer; `after` the platform did what was asked."""

    async def answer(line: Line, request: Request) -> Reply:
        if after:
            await line.forward(request)
        body = msgspec.json.encode({"code": code, "message": message})
        signature = line.platform.keystore.sign(None, str(int(time.time())), body) if signed else []
        return Reply(status, [*signature, *headers], body)

    return answer


class Story:
    """A new stock, and an upload into it."""

    ledger: Ledger

    def __init__(self, office: Office, folder: Path, name: str) -> None:
        self.max_coupons = ENOUGH_CODES
        self._office = office
        self._folder = folder
        self._name = name
        self._line: Line | None = None
        self._stock_id: str | None = None
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.platform_repeats(REPLAY)
        self._opened.close()

    @property
    def line(self) -> Line:
        """That of the last run."""
        assert self._line is not None
        return self._line

    @property
    def stock_id(self) -> str:
        if self._stock_id is None:
            self._stock_id = create_stock(self._office.wechatpay, self._name, max_coupons=self.max_coupons)
        return self._stock_id

    def platform_repeats(self, behaviour: str) -> None:
        platform = self._office.platform
        platform.app = App(handlers(behaviour), platform.pool, platform.keystore)

    def platform_clock_is_ahead(self, seconds: float) -> None:
        platform = self._office.platform
        platform.app = App(handlers(REPLAY), platform.pool, platform.keystore, clock=lambda: time.time() + seconds)

    def platform_warms_up(self, seconds: int) -> None:
        """A platform whose new stocks take no codes for so long, by the clock of the line."""
        platform = self._office.platform
        pool = open_pool(f"sqlite:///{self._name}.db", platform.world, warmup_seconds=seconds)
        self._opened.callback(lambda: platform.run(pool.close()))
        platform.app = App(
            handlers(REPLAY), pool, platform.keystore, clock=lambda: time.time() + (self._line.now if self._line else 0)
        )

    def plan(self, *batches: Sequence[str]) -> None:
        path = self._folder / "codes.quanma"
        made = Ledger.create(path, target=BUSIFAVOR.name, mchid=MCHID, stock_id=self.stock_id)
        self.ledger = self._opened.enter_context(made)
        count = sum(map(len, batches))
        self.ledger.begin_plan()
        self.ledger.keep_batches([PlannedBatch(list(codes), f"1-{len(codes)}") for codes in batches])
        self.ledger.end_plan(Planned(count, count, 0, 0, 0, []), Inputs(sources=[]))

    def uploader(self, *script: Happening | None, **options: Any) -> Uploader:
        line = self._line = Line(self._office.platform, script)
        self._office.connect(line)
        clock = Clock(wall=lambda: 1_700_000_000 + line.now, steady=lambda: line.now, call_later=line.call_later)
        line.uploader = Uploader(self.ledger, BUSIFAVOR, self._office.client, clock=clock, **options)
        return line.uploader

    def send(self, *script: Happening | None, **options: Any) -> Result:
        return asyncio.run(self.uploader(*script, **options).run())

    def somebody_stores(self, *codes: str) -> None:
        stock = self._office.wechatpay.v3.marketing.busifavor.stocks[self.stock_id]
        stock.couponcodes.post(coupon_code_list=list(codes), upload_request_no="somebody-else")

    def pool(self) -> list[str]:
        stock = self._office.wechatpay.v3.marketing.busifavor.stocks[self.stock_id]
        return sorted(code.code for code in stock.couponcodes.get(limit=ENOUGH_CODES).data)

    def states(self) -> list[str]:
        return [batch.state for batch in self.ledger.batches()]

    def outcomes(self) -> list[tuple[str, str, str]]:
        return [(line.code, line.outcome, line.evidence) for line in report.lines(self.ledger)]
