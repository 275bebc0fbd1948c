"""A platform that posts events, and a server on loopback that answers them as it is told."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from quanma.api.couponcodes import UploadCodes
from quanma.api.events import CHANNEL_API, CouponSent
from quanma.client import config
from quanma.client.events import Event, Receiver
from quanma.platform import config as platform_config
from quanma.platform.coupons.coupon import CouponFacts
from quanma.platform.keys.keystore import KeyStore
from quanma.platform.notify.notifier import Notifier
from quanma.platform.pool.contract import EventState, Issue
from quanma.wire.keys import load_ring
from tests.contract.driver import NOW, USE_RULE
from tests.support.conversing import Conversing
from tests.support.platform import APPID, MCHID, InProcess, merchant_config, new_stock

RECEIVED = b"HTTP/1.1 204 No Content\r\n\r\n"
_numbers = itertools.count(1)


class Posted(NamedTuple):
    at: int
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def id(self) -> str:
        return str(json.loads(self.body)["id"])

    @property
    def nonce(self) -> str:
        return str(json.loads(self.body)["resource"]["nonce"])


class Delivering:
    """A platform and its notifier on a clock that the test moves, and a server on loopback that answers as it is told.

    `answers` are for the next posts; without one, a post is received.
    """

    def __init__(self, world: Path, database: str | None = None) -> None:
        self.world, self.now = world, NOW
        self._database = database or f"sqlite:///events{next(_numbers)}.db"
        self.posted: list[Posted] = []
        self.answers: list[bytes | None] = []
        self.arrived = asyncio.Event()
        self.open()

    def open(self, without: str = "") -> None:
        """Start. `without`: a merchant who is no longer in platform.toml."""
        self.platform = InProcess(self.world, self._database, clock=lambda: self.now)
        self.pool, keystore = self.platform.pool, self.platform.keystore
        if without:
            settings = platform_config.load(self.world / "platform.toml")
            merchants = [merchant for merchant in settings.merchants if merchant.mchid != without]
            keystore = KeyStore.load(msgspec.structs.replace(settings, merchants=merchants), self.world)
        self._keystore = keystore
        self.notifier = self.new_notifier()
        self._server = Conversing(self._serve)
        self.platform.run(self._server.open())
        self.port = self._server.port
        self.listen_at(f"http://127.0.0.1:{self.port}/notify")

    def new_notifier(self) -> Notifier:
        return Notifier(self.pool, self._keystore, allow_private=True, clock=lambda: self.now)

    def close(self) -> None:
        self.platform.run(self._server.close())
        self.platform.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = next(int(value) for name, value in headers if name.lower() == "content-length")
        self.posted.append(Posted(self.now, first.split()[1], headers, await reader.readexactly(length)))
        self.arrived.set()
        answer = self.answers.pop(0) if self.answers else RECEIVED
        if answer is None:
            await reader.read()  # Until the other side gives up.
        writer.write(answer or b"")

    def listen_at(self, notify_url: str, mchid: str = MCHID) -> None:
        self.platform.run(self.pool.set_callback(mchid, mchid, notify_url, NOW))

    def stock(self, codes: int = 3, mchid: str = MCHID, **changes: Any) -> str:
        request = new_stock(f"n{next(_numbers)}", belong_merchant=mchid, coupon_use_rule=USE_RULE, **changes)
        stock_id = self.platform.run(self.pool.create_stock(mchid, request, NOW)).stock_id
        upload = UploadCodes(
            stock_id=stock_id,
            coupon_code_list=[f"A{number}" for number in range(codes)],
            upload_request_no="n1",
        )
        self.platform.run(self.pool.upload_codes(mchid, upload, NOW))
        return stock_id

    def send(self, stock_id: str, number: str = "n1", mchid: str = MCHID) -> CouponFacts:
        issue = Issue(stock_id, "oUser", APPID, number, None, mchid, CHANNEL_API)
        return self.platform.run(self.pool.send_coupon(mchid, issue, self.now))

    def deliver(self) -> int:
        return self.platform.run(self.notifier.deliver_due())

    def state(self, mchid: str = MCHID) -> EventState:
        """Of the latest event."""
        (state,) = self.platform.run(self.pool.list_events(mchid, 0, 1))
        return state

    def receiver(self, now: int) -> Receiver:
        merchant = config.load(merchant_config(self.world))
        ring = load_ring({name: pem.encode() for name, pem in merchant.platform_keys.items()})
        return Receiver(ring, merchant.apiv3_key or "", lambda: now)

    def event(self, number: int = 0) -> Event:
        posted = self.posted[number]
        return self.receiver(posted.at).receive(posted.headers, posted.body)

    def content(self, number: int = 0) -> CouponSent:
        content = self.event(number).content
        assert isinstance(content, CouponSent)
        return content

    def begin_anew(self) -> None:
        """For the next test: nothing is due, all is received, and no address is known to fail."""
        self.notifier = self.new_notifier()
        for event in self.platform.run(self.pool.take_due_events(NOW + 10**8, 1000)):
            self.platform.run(self.pool.event_delivered(event, NOW))
        self.now = NOW
        self.posted.clear()
        self.answers.clear()
        self.arrived.clear()
        self.listen_at(f"http://127.0.0.1:{self.port}/notify")
