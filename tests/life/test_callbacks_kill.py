"""K2: every coupon's event is delivered at least once, whenever the platform dies, under one id; none for no coupon."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from email.message import Message
from pathlib import Path

import pytest

from quanma import Wechatpay, errors
from quanma.api.events import CouponSent
from quanma.client import config
from quanma.client.exchange import Patience
from quanma.events import Receiver
from tests.support.callbacks import CallbackServer
from tests.support.platform import APPID, Served, create_stock, merchant_config, served

pytestmark = [pytest.mark.both_back_ends, pytest.mark.timeout(300)]

ROUNDS = 10
SENDS_PER_ROUND = 5
WAIT_SECONDS = 60.0


class UnsteadyReceiver:
    """A merchant's callback address that often fails: it answers 500, hangs up, or holds an event unanswered."""

    def __init__(self, receiver: Receiver) -> None:
        self.ids: dict[str, list[str]] = defaultdict(list)
        """The events that arrived, verified and opened: by coupon code, the id of each."""
        self.acknowledged: set[str] = set()
        self.deliveries = 0
        self.holding = threading.Event()
        self.held = threading.Event()
        self._lock = threading.Lock()
        self._receiver = receiver
        self._server = CallbackServer(self._answer)
        self.url = self._server.url

    def _answer(self, headers: Message, body: bytes) -> int | None:
        event = self._receiver.receive(headers.items(), body)
        assert isinstance(event.content, CouponSent)
        with self._lock:
            self.ids[event.content.coupon_code].append(event.id)
            self.deliveries += 1
            turn = self.deliveries
        if self.holding.is_set():
            self.held.set()
            while self.holding.is_set():
                time.sleep(0.01)  # Until the platform is dead.
            return None
        if turn % 7 == 0:
            return None
        if turn % 3 == 0:
            return 500
        self.acknowledged.add(event.content.coupon_code)
        return 204

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def receiving(world: Path) -> Iterator[UnsteadyReceiver]:
    running = UnsteadyReceiver(Receiver.from_config(merchant_config(world)))
    yield running
    running.close()


@pytest.fixture
def impatient(world: Path, database: str) -> Iterator[Served]:
    """A platform that posts an event again after a second, not a minute, and does not give up."""
    path = world / "platform.toml"
    settings = "allow_private_callbacks = true\ncallback_retry_seconds = 1\ncallback_attempts_max = 1000\n"
    path.write_text(settings + path.read_text())
    with served(world, "--database", database) as running:
        yield running


class Merchant:
    """Sends coupons, five at once, and knows which calls had no answer."""

    def __init__(self, platform: Served) -> None:
        settings = config.load(merchant_config(platform.world), base_url=platform.url)
        self.wxpay = Wechatpay(settings, patience=Patience(attempts_max=1))
        self.stock_id = create_stock(self.wxpay, "a stock with events")
        self.told: dict[int, str] = {}
        """By number, the code that was answered."""
        self._threads = ThreadPoolExecutor(SENDS_PER_ROUND)

    def start_sending(self, numbers: range) -> list[Future[None]]:
        return [self._threads.submit(self.send, number) for number in numbers]

    def send(self, number: int) -> None:
        """One send, whose answer may be lost with the platform. The same number always has the same coupon."""
        with contextlib.suppress(errors.NoAnswer, errors.NotSent):
            sent = self.wxpay.v3.marketing.busifavor.coupons.send.post(
                stock_id=self.stock_id, openid=f"user-{number}", appid=APPID, out_request_no=str(number)
            )
            coupon_code = sent.send_coupon_result.coupon_code
            assert self.told.setdefault(number, coupon_code) == coupon_code

    def send_refused(self, number: int) -> None:
        with pytest.raises(errors.RequestRefused):
            self.wxpay.v3.marketing.busifavor.coupons.send.post(
                stock_id=self.stock_id, openid="nobody", appid=APPID, out_request_no=str(number), coupon_code="CHOSEN"
            )

    def issued(self) -> set[str]:
        page = self.wxpay.v3.marketing.busifavor.stocks[self.stock_id].couponcodes.get(status="DISPATCHED", limit=1000)
        return {code.code for code in page.data}

    def close(self) -> None:
        self._threads.shutdown()
        self.wxpay.close()


@pytest.mark.slow
def test_a_killed_platform_delivers_each_coupons_event_and_no_other(
    impatient: Served, receiving: UnsteadyReceiver
) -> None:
    with contextlib.closing(Merchant(impatient)) as merchant:
        busifavor = merchant.wxpay.v3.marketing.busifavor
        codes = [f"CODE{number:03}" for number in range(ROUNDS * SENDS_PER_ROUND)]
        busifavor.stocks[merchant.stock_id].couponcodes.post(coupon_code_list=codes, upload_request_no="1")
        busifavor.callbacks.post(notify_url=receiving.url)
        killed_before_any_event, killed_at_an_event = 0, 0
        for turn in range(ROUNDS):
            numbers = range(turn * SENDS_PER_ROUND, (turn + 1) * SENDS_PER_ROUND)
            if turn % 2:
                receiving.held.clear()
                receiving.holding.set()
                sending = merchant.start_sending(numbers)
                assert receiving.held.wait(WAIT_SECONDS)
                impatient.kill()
                killed_at_an_event += 1
                receiving.holding.clear()
            else:
                sending = merchant.start_sending(numbers)
                wait(sending, return_when=FIRST_COMPLETED)
                impatient.kill()
                answered = {code for number, code in merchant.told.items() if number in numbers}
                killed_before_any_event += not answered & receiving.ids.keys()
            wait(sending)
            impatient.start()
            merchant.send_refused(turn)
            for number in numbers:
                merchant.send(number)
        # Enough of both kinds, or this run shows nothing.
        assert killed_at_an_event == ROUNDS // 2
        assert killed_before_any_event >= ROUNDS // 4
        assert set(merchant.told) == set(range(ROUNDS * SENDS_PER_ROUND))

        issued = merchant.issued()
        assert issued == set(merchant.told.values()) == set(codes)
        until = time.monotonic() + WAIT_SECONDS
        while receiving.acknowledged != issued and time.monotonic() < until:
            time.sleep(0.05)
        assert issued - receiving.ids.keys() == set()  # At least once …
        assert receiving.ids.keys() - issued == set()  # … none for a coupon that was not issued …
        assert {code: ids for code, ids in receiving.ids.items() if len(set(ids)) > 1} == {}  # … under one id …
        assert len({ids[0] for ids in receiving.ids.values()}) == len(issued)  # … of its own,
        assert receiving.acknowledged == issued  # and until it is received.
        assert receiving.deliveries > len(issued)
