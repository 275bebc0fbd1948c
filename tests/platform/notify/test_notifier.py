"""Events out of the outbox, to a receiver on loopback: once received, again when not, and never without a coupon."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quanma.api.events import CHANNEL_API, CouponSent
from quanma.api.stockrules import NotifyConfig
from quanma.client.events import Event
from quanma.client.receiving import AsgiReceiver
from quanma.errors import NotEnough, RequestRefused, SignatureInvalid
from quanma.platform.notify import notifier, shares
from quanma.platform.notify.notifier import Notifier
from quanma.platform.pool.contract import EventState, Issue
from tests.contract.driver import NOW
from tests.support.delivering import Delivering
from tests.support.platform import MCHID, OTHER_MCHID, call_asgi
from tests.support.postgres import Databases

pytestmark = pytest.mark.both_back_ends


def new_delivering(world: Path, back_end: str, request: pytest.FixtureRequest) -> Iterator[Delivering]:
    if back_end == "sqlite":
        with contextlib.closing(Delivering(world)) as running:
            yield running
        return
    databases: Databases = request.getfixturevalue("databases")
    url = databases.fresh()
    with contextlib.closing(Delivering(world, url)) as running:
        yield running
    databases.drop(url)


@pytest.fixture(scope="module")
def shared_delivering(shared_world: Path, back_end: str, request: pytest.FixtureRequest) -> Iterator[Delivering]:
    yield from new_delivering(shared_world, back_end, request)


@pytest.fixture
def delivering(shared_delivering: Delivering) -> Delivering:
    shared_delivering.begin_anew()
    return shared_delivering


@pytest.fixture
def own_delivering(shared_world: Path, back_end: str, request: pytest.FixtureRequest) -> Iterator[Delivering]:
    """With a pool of its own."""
    yield from new_delivering(shared_world, back_end, request)


def test_an_event_tells_of_the_coupon_and_is_received_once(delivering: Delivering) -> None:
    coupon = delivering.send(delivering.stock())
    assert delivering.deliver() == 1
    event = delivering.event()
    assert (event.event_type, event.create_time) == ("COUPON.SEND", "2026-09-21T22:13:20+08:00")
    assert event.content == CouponSent(
        event_type="EVENT_TYPE_BUSICOUPON_SEND",
        coupon_code=coupon.coupon_code,
        stock_id=coupon.stock_id,
        send_time="2026-09-21T22:13:20+08:00",
        send_channel="BUSICOUPON_SEND_CHANNEL_API",
        send_merchant=MCHID,
    )
    delivering.now += 3600
    assert delivering.deliver() == 0
    assert len(delivering.posted) == 1
    assert delivering.state() == EventState(event.id, NOW, 1, None, NOW, None)


def test_an_event_is_posted_as_documented(delivering: Delivering) -> None:
    delivering.send(delivering.stock())
    delivering.deliver()
    (posted,) = delivering.posted
    headers = {name.lower(): value for name, value in posted.headers}
    assert posted.path == "/notify"
    assert headers["content-type"] == "application/json"
    assert headers["request-id"]
    envelope = json.loads(posted.body)
    ciphertext, nonce = envelope["resource"].pop("ciphertext"), envelope["resource"].pop("nonce")
    assert ciphertext
    assert len(nonce) == 12
    assert len(envelope.pop("id")) == 36
    assert envelope == {
        "create_time": "2026-09-21T22:13:20+08:00",
        "event_type": "COUPON.SEND",
        "resource_type": "encrypt-resource",
        "summary": "商家券领券通知",
        "resource": {"original_type": "coupon", "algorithm": "AEAD_AES_256_GCM", "associated_data": "coupon"},
    }


def test_our_own_application_receives_what_our_platform_posts(delivering: Delivering) -> None:
    delivering.send(delivering.stock())
    delivering.deliver()
    events: list[Event] = []

    async def handle(event: Event) -> None:
        events.append(event)

    (posted,) = delivering.posted
    app = AsgiReceiver(delivering.receiver(NOW), handle)
    assert asyncio.run(call_asgi(app, "POST", "/notify", posted.headers, posted.body)).status_code == 204
    assert len(events) == 1


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


NOT_RECEIVED: dict[str, tuple[bytes | None, str]] = {
    "500": (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "answered 500"),
    "401": (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "answered 401"),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "answered 302"),
    "redirect that keeps the method": (
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        "answered 307",
    ),
    "no answer": (None, "no answer within 0 s"),
    "a broken answer": (b"", "Error"),
    "nonsense": (b"hello\r\n\r\n", "Error"),
}


@pytest.mark.parametrize(("answer", "reason"), NOT_RECEIVED.values(), ids=NOT_RECEIVED)
def test_what_was_not_received_is_due_again_in_60_s_with_the_same_id_and_another_nonce(
    delivering: Delivering, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, reason: str
) -> None:
    delivering.send(delivering.stock())
    delivering.answers = [answer]
    with monkeypatch.context() as patched:
        if answer is None:  # It would come never. All others have their time, on a busy machine too.
            patched.setattr(notifier, "ANSWER_SECONDS", 0.3)
        assert delivering.deliver() == 1
    delivering.notifier = delivering.new_notifier()  # Its clients keep the time that they were made with.
    state = delivering.state()
    assert (state.attempts, state.due_at, state.delivered_at) == (1, NOW + 60, None)
    assert reason in (state.last_error or "")
    delivering.now += 59
    assert delivering.deliver() == 0
    delivering.now += 1
    assert delivering.deliver() == 1
    first, second = delivering.posted
    assert (first.path, second.path) == ("/notify", "/notify")
    assert first.id == second.id
    assert first.nonce != second.nonce
    assert delivering.content(0) == delivering.content(1)
    assert delivering.state().delivered_at == NOW + 60


def test_where_nobody_listens_the_event_is_due_again(delivering: Delivering) -> None:
    delivering.listen_at(f"http://127.0.0.1:{closed_port()}/")
    delivering.send(delivering.stock())
    assert delivering.deliver() == 1
    assert delivering.state().due_at == NOW + 60
    delivering.listen_at(f"http://localhost:{delivering.port}/moved")  # The address that is set now is the one.
    delivering.now += 60
    delivering.deliver()
    assert [posted.path for posted in delivering.posted] == ["/moved"]


@pytest.mark.slow
def test_an_event_is_posted_11_times_in_all_under_one_id_and_never_under_the_same_nonce(delivering: Delivering) -> None:
    delivering.send(delivering.stock())
    delivering.answers = [b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"] * 20
    for _ in range(20):
        delivering.deliver()
        delivering.now += 60
    assert len(delivering.posted) == 11
    assert len({posted.id for posted in delivering.posted}) == 1
    assert len({posted.nonce for posted in delivering.posted}) == 11
    assert delivering.state() == EventState(delivering.posted[0].id, NOW, 11, None, None, "answered 500")


def test_an_event_that_was_given_up_can_be_sent_again_under_its_id(delivering: Delivering) -> None:
    delivering.send(delivering.stock())
    delivering.deliver()
    delivering.platform.run(delivering.pool.resend_event(MCHID, delivering.posted[0].id, delivering.now))
    assert delivering.deliver() == 1
    assert delivering.posted[0].id == delivering.posted[1].id


@pytest.mark.parametrize(("notify_appid", "openid"), [(None, None), ("wx233544546545989", "oUser")])
def test_the_openid_is_told_only_where_the_stock_has_a_notify_appid(
    delivering: Delivering, notify_appid: str | None, openid: str | None
) -> None:
    delivering.send(delivering.stock(notify_config=NotifyConfig(notify_appid=notify_appid)))
    delivering.deliver()
    assert delivering.content().openid == openid


def test_a_send_that_was_refused_or_repeated_has_no_event_of_its_own(delivering: Delivering) -> None:
    stock_id = delivering.stock(codes=1)
    delivering.send(stock_id, "n1")
    delivering.send(stock_id, "n1")
    with pytest.raises(NotEnough):
        delivering.send(stock_id, "n2")
    with pytest.raises(RequestRefused):
        delivering.platform.run(
            delivering.pool.send_coupon(
                MCHID, Issue(stock_id, "oUser", "wxAnother", "n1", None, MCHID, CHANNEL_API), NOW
            )
        )
    assert delivering.deliver() == 1
    assert delivering.deliver() == 0
    assert len(delivering.posted) == 1


def test_a_merchant_without_an_address_has_no_events(delivering: Delivering) -> None:
    delivering.send(delivering.stock(mchid=OTHER_MCHID), mchid=OTHER_MCHID)
    assert delivering.deliver() == 0


@pytest.mark.slow
def test_what_is_due_is_delivered_after_a_restart_and_what_was_taken_before_it_too(own_delivering: Delivering) -> None:
    stock_id = own_delivering.stock()
    taken = own_delivering.send(stock_id, "n1")
    (event,) = own_delivering.platform.run(own_delivering.pool.take_due_events(NOW, 1))
    due = own_delivering.send(stock_id, "n2")
    own_delivering.close()
    own_delivering.open()
    assert own_delivering.deliver() == 1
    own_delivering.now += 60
    assert own_delivering.deliver() == 1
    codes = [own_delivering.content(number).coupon_code for number in (0, 1)]
    assert codes == [due.coupon_code, taken.coupon_code]
    assert own_delivering.posted[1].id == event.id


@pytest.mark.slow
def test_one_event_that_can_not_be_posted_holds_up_no_other(own_delivering: Delivering) -> None:
    for mchid in (OTHER_MCHID, MCHID):
        own_delivering.listen_at(f"http://127.0.0.1:{own_delivering.port}/notify", mchid)
        own_delivering.send(own_delivering.stock(mchid=mchid), mchid=mchid)
    own_delivering.close()
    own_delivering.open(without=OTHER_MCHID)  # It has no key to seal with any more.
    assert own_delivering.deliver() == 2
    assert len(own_delivering.posted) == 1
    lost = own_delivering.state(OTHER_MCHID)
    assert (lost.due_at, lost.last_error) == (NOW + 60, "KeyError")


@pytest.mark.parametrize("notify_url", ["http://a..b/", "http://" + "a" * 70 + ".b/", "http://xn--a.invalid/", "?"])
def test_an_address_that_can_not_be_read_is_a_failed_attempt(delivering: Delivering, notify_url: str) -> None:
    delivering.listen_at(notify_url)
    delivering.send(delivering.stock())
    assert delivering.deliver() == 1
    assert delivering.state().due_at == NOW + 60


def test_the_connection_goes_where_the_name_led_when_it_was_checked(
    delivering: Delivering, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The name exists for the check alone: looked up once more, it would lead nowhere, or inside.
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", delivering.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: {"pay.example.invalid": found}[host])
    delivering.listen_at(f"http://pay.example.invalid:{delivering.port}/notify")
    delivering.send(delivering.stock())
    delivering.deliver()
    assert [posted.path for posted in delivering.posted] == ["/notify"]


def test_in_service_an_address_inside_is_not_connected_to(delivering: Delivering) -> None:
    delivering.send(delivering.stock())
    strict = Notifier(delivering.pool, delivering.platform.keystore, clock=lambda: delivering.now)
    assert delivering.platform.run(strict.deliver_due()) == 1
    assert delivering.posted == []
    assert "must be https" in (delivering.state().last_error or "")


def strict_notifier(delivering: Delivering, found: dict[str, list[str]], **options: Any) -> Notifier:
    """As in service, with a resolver that knows these names."""

    def look_up(host: str, port: int) -> list[str]:
        if host not in found:
            raise OSError("Name or service not known")
        return found[host]

    return Notifier(
        delivering.pool, delivering.platform.keystore, look_up=look_up, clock=lambda: delivering.now, **options
    )


NAMES = {
    "inside.example.com": ["10.0.0.1"],
    "refused.example.com": ["168.63.129.16"],
    "mixed.example.com": ["93.184.216.34", "127.0.0.1"],
}


@pytest.mark.parametrize("host", [*NAMES, "unknown.example.com"])
def test_one_text_is_told_of_every_name_that_is_not_posted_to_and_the_log_has_the_cause(
    delivering: Delivering, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    delivering.listen_at(f"https://{host}/notify")
    delivering.send(delivering.stock())
    strict = strict_notifier(delivering, NAMES, refused_networks=[ipaddress.ip_network("168.63.129.16/32")])
    assert delivering.platform.run(strict.deliver_due()) == 1
    assert delivering.state().last_error == "the host of notify_url has no public address"
    assert ("has no address" in caplog.text) == (host == "unknown.example.com")
    assert ("that is not public" in caplog.text) == (host != "unknown.example.com")


def test_a_name_without_an_answer_costs_its_events_no_attempts_while_it_is_not_asked_for(
    delivering: Delivering,
) -> None:
    stock_id = delivering.stock(codes=20)
    delivering.listen_at("https://unknown.example.com/notify")
    for number in range(20):
        delivering.send(stock_id, f"n{number}")
    strict = strict_notifier(delivering, NAMES)
    for _ in range(59):
        delivering.platform.run(strict.deliver_due())
        delivering.now += 1
    states = delivering.platform.run(delivering.pool.list_events(MCHID, 0, 20))
    assert sum(state.attempts for state in states) == shares.FIRST


def test_a_resolver_that_never_answers_holds_up_neither_others_nor_the_end(delivering: Delivering) -> None:
    go_on = threading.Event()

    def look_up(host: str, port: int) -> list[str]:
        go_on.wait(30)
        raise OSError("too late")

    async def story(strict: Notifier) -> None:
        strict.start()
        await delivering.arrived.wait()
        await strict.stop()

    stock_id = delivering.stock(codes=20)
    delivering.listen_at("http://dead.example.com/notify")
    for number in range(20):
        delivering.send(stock_id, f"n{number}")
    delivering.listen_at(f"http://127.0.0.1:{delivering.port}/notify", OTHER_MCHID)
    delivering.send(delivering.stock(mchid=OTHER_MCHID), mchid=OTHER_MCHID)
    try:
        delivering.platform.run(
            story(Notifier(delivering.pool, delivering.platform.keystore, allow_private=True, look_up=look_up))
        )
    finally:
        go_on.set()
    assert len(delivering.posted) == 1


def test_a_failing_address_is_told_of_once_and_then_counted(
    delivering: Delivering, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "quanma")
    stock_id = delivering.stock(codes=20)
    for number in range(20):
        delivering.send(stock_id, f"n{number}")
    delivering.answers = [b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"] * 15
    fresh = Notifier(delivering.pool, delivering.platform.keystore, allow_private=True, clock=lambda: delivering.now)
    for _ in range(100):
        delivering.platform.run(fresh.deliver_due())
        delivering.now += 1
    assert len(delivering.posted) == 35
    assert caplog.text.count("was not received") == 1
    assert caplog.text.count("failed attempts so far: 15") == 1


@pytest.mark.parametrize("jump", [-86400, -61, 86400])
def test_a_clock_that_jumps_neither_holds_an_event_back_nor_posts_it_in_a_burst(
    delivering: Delivering, jump: int
) -> None:
    delivering.send(delivering.stock())
    delivering.answers = [b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"] * 20
    delivering.deliver()
    delivering.now += jump
    for _ in range(3 * 60):
        delivering.deliver()
        delivering.now += 1
    assert 3 <= len(delivering.posted) <= 5


def test_a_changed_event_is_not_believed(delivering: Delivering) -> None:
    delivering.send(delivering.stock())
    delivering.deliver()
    (posted,) = delivering.posted
    with pytest.raises(SignatureInvalid):
        delivering.receiver(NOW).receive(posted.headers, posted.body.replace(b"COUPON.SEND", b"COUPON.SENT"))


def test_once_started_it_delivers_by_itself_until_it_is_stopped(delivering: Delivering) -> None:
    async def story() -> None:
        delivering.notifier.start()
        await delivering.arrived.wait()
        await delivering.notifier.stop()

    delivering.send(delivering.stock())
    delivering.platform.run(story())
    assert len(delivering.posted) == 1
