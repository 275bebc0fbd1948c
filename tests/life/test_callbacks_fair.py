"""Events are fair: what one merchant's address does or does not, no other merchant's event waits for it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quanma.serving.server import DRAIN_SECONDS
from tests.support.callbacks import CallbackServer
from tests.support.platform import APPID, MCHID, OTHER_MCHID, Served, create_stock, served
from tests.support.resolver import resolver_that_is_silent

pytestmark = [pytest.mark.both_back_ends, pytest.mark.slow, pytest.mark.timeout(120)]

EVENTS = 800
SOON_SECONDS = 15.0
"""2 s are meant. Tests share this machine with others. In its turn behind all others', it would come after 30 s."""
WAIT_SECONDS = 90.0


class Receiver:
    """A callback address that notes the ids it was posted, and receives each, or answers 500 to all."""

    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self.times: list[float] = []
        self.refuses = False
        self.arrived = threading.Event()
        self._server = CallbackServer(self._answer)
        self.url = self._server.url

    def _answer(self, headers: Message, body: bytes) -> int:
        self.times.append(time.monotonic())
        self.ids[msgspec.json.decode(body)["id"]] += 1
        self.arrived.set()
        return 500 if self.refuses else 204

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while len(self.ids) < count:
            assert time.monotonic() < until
            time.sleep(0.05)

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with contextlib.closing(Receiver()) as running:
        yield running


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Connections are taken by the system, and nobody ever says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}/events"


@pytest.fixture
def platform(world: Path, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """It has a resolver that does not answer for names that end in unanswered.invalid."""
    path = world / "platform.toml"
    path.write_text(f"allow_private_callbacks = true\n{path.read_text()}")
    folder = tmp_path_factory.mktemp("resolver") / "names"
    with resolver_that_is_silent(folder), served(world, "--database", database) as running:
        yield running


class Sender:
    """A merchant with a stock and an address, who gives out coupons."""

    def __init__(self, platform: Served, mchid: str, notify_url: str) -> None:
        self._wxpay = platform.wechatpay(mchid)
        self._busifavor = self._wxpay.v3.marketing.busifavor
        self._stock_id = create_stock(
            self._wxpay, "s1", belong_merchant=mchid, coupon_code_mode="WECHATPAY_MODE", max_coupons=100_000
        )
        self.listen_at(notify_url)

    def listen_at(self, notify_url: str) -> None:
        self._busifavor.callbacks.post(notify_url=notify_url)

    def send(self, number: int) -> None:
        self._busifavor.coupons.send.post(
            stock_id=self._stock_id, openid=f"user-{number}", appid=APPID, out_request_no=str(number)
        )

    def send_many(self, count: int) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(self.send, range(1, count + 1)))

    def states(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self._wxpay.chain("v3/quanma/events").get(offset=len(found), limit=100)
            found += page["data"]
            if len(page["data"]) < 100:
                return found

    def close(self) -> None:
        self._wxpay.close()


@contextlib.contextmanager
def sending(platform: Served, mchid: str, notify_url: str) -> Generator[Sender, None, None]:
    with contextlib.closing(Sender(platform, mchid, notify_url)) as sender:
        yield sender


def test_one_merchants_silent_server_delays_no_other_merchants_event(
    platform: Served, receiver: Receiver, silent_url: str
) -> None:
    with sending(platform, MCHID, silent_url) as a, sending(platform, OTHER_MCHID, receiver.url) as b:
        a.send_many(EVENTS)
        b.send(1)
        assert receiver.arrived.wait(SOON_SECONDS)
        # Few were tried. The others wait, and no attempt was counted.
        assert Counter(state["attempts"] for state in a.states())[0] > EVENTS - 50
    began = time.monotonic()
    assert platform.stop() == 0
    assert time.monotonic() - began < DRAIN_SECONDS
    assert (platform.world / "serve.log").read_text().count("was not received") <= 1


def test_a_name_that_is_not_answered_delays_no_other_merchants_event_nor_the_end(
    platform: Served, receiver: Receiver
) -> None:
    dead = "http://a.unanswered.invalid/events"
    with sending(platform, MCHID, dead) as a, sending(platform, OTHER_MCHID, receiver.url) as b:
        a.send_many(64)
        b.send(1)
        assert receiver.arrived.wait(SOON_SECONDS)
    began = time.monotonic()
    assert platform.stop() == 0
    assert time.monotonic() - began < DRAIN_SECONDS


def test_an_address_that_answers_500_is_probed_and_not_flooded_until_it_receives(
    platform: Served, receiver: Receiver
) -> None:
    receiver.refuses = True
    with sending(platform, MCHID, receiver.url) as a:
        a.send_many(100)
        receiver.wait_for(15)
        assert receiver.times[14] - receiver.times[0] > 4  # Pauses grow to a second: the last ones are that far apart.
        receiver.refuses = False
        receiver.wait_for(100)


def test_what_waited_for_a_silent_server_is_delivered_after_a_restart(
    platform: Served, receiver: Receiver, silent_url: str
) -> None:
    with sending(platform, MCHID, silent_url) as a:
        a.send_many(100)
        platform.stop()
        path = platform.world / "platform.toml"
        path.write_text(f"callback_retry_seconds = 1\n{path.read_text()}")
        platform.start()
        a.listen_at(receiver.url)
        receiver.wait_for(100)
