"""Certificates learned from the platform: when they are fetched, what is believed, and what a forger gains."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from quanma import AsyncWechatpay, Wechatpay
from quanma.api.security import Echo, SendEcho
from quanma.client import config
from quanma.client.config import Merchant
from quanma.client.exchange import Clocks, Failed, Join, Patience, Send, Wait
from quanma.client.transport import Reply, Request
from quanma.errors import AnswerUntrusted, Misconfigured, NoAnswer, NotSent, QuanmaError
from quanma.wire import codec, keys, sealed, signature
from tests.support.deliveries import APIV3_KEY, KEY, PEM
from tests.support.every import every_row
from tests.support.platform import InProcess, merchant_config

NOW = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
OLD = keys.make_certified("the old certificate", NOW - datetime.timedelta(days=365))
NEW = keys.make_certified("the new certificate", NOW)
PRIVATE = {one.serial_no: keys.load_private_key(one.private_key, "platform") for one in (OLD, NEW)}
PUBLIC_KEY_ID = "PUB_KEY_ID_0119000000012026112400000000000000"
PRIVATE[PUBLIC_KEY_ID] = KEY
LIST = "/v3/certificates"
ECHO = "/v3/security/echo"


class Platform:
    """A network with a platform behind it that signs with one key, and lists certificates. Its clock moves here."""

    def __init__(self, signs_with: str, *listed: keys.Certified) -> None:
        self.signs_with = signs_with
        self.listed = listed
        self.asked: list[Request] = []
        self.now = 0.0
        self.apiv3_key = APIV3_KEY
        self.lists: Callable[[Reply], Reply | QuanmaError] = lambda reply: reply
        self.takes_seconds = 0.0
        self.pauses_seconds = 0.0

    @property
    def paths(self) -> list[str]:
        return [request.url.removeprefix("https://platform.test") for request in self.asked]

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        self.asked.append(request)
        time.sleep(self.pauses_seconds)
        if self.takes_seconds:
            self.now += min(self.takes_seconds, timeout_seconds)
            raise NoAnswer("too slow")
        if not request.url.endswith(LIST):
            return self.signed(b'{"echo_message":"hi"}', self.signs_with)
        # As ours does: with the key that is asked for, if it has it.
        wanted = request.headers.get("Wechatpay-Serial", "")
        certificates = json.dumps({"data": [self.seal(one) for one in self.listed]}).encode()
        known = {self.signs_with, *(one.serial_no for one in self.listed)}
        reply = self.lists(self.signed(certificates, wanted if wanted in known else self.signs_with))
        if isinstance(reply, QuanmaError):
            raise reply
        return reply

    def seal(self, one: keys.Certified) -> dict[str, Any]:
        nonce = one.serial_no[:12]
        return {
            "serial_no": one.serial_no,
            "effective_time": "2025-11-23T08:00:00+08:00" if one is OLD else "2026-11-23T08:00:00+08:00",
            "expire_time": "2031-11-24T08:00:00+08:00",
            "encrypt_certificate": {
                "algorithm": "AEAD_AES_256_GCM",
                "nonce": nonce,
                "associated_data": "certificate",
                "ciphertext": sealed.seal(self.apiv3_key, nonce, "certificate", one.certificate),
            },
        }

    def signed(self, body: bytes, serial: str, private_key: keys.PrivateKey | None = None) -> Reply:
        timestamp, nonce = str(int(NOW.timestamp() + self.now)), "593BEC0C930BF1AFEB40B4A08C8FB242"
        made = signature.sign(private_key or PRIVATE.get(serial, KEY), signature.answer_message(timestamp, nonce, body))
        names = {"Serial": serial, "Nonce": nonce, "Timestamp": timestamp, "Signature": made}
        return Reply(200, [(f"Wechatpay-{name}", value) for name, value in names.items()], body)

    def close(self) -> None:
        pass

    def client(self, *known: keys.Certified, **options: Any) -> Any:
        return self._made(Wechatpay, self, *known, **options)

    def async_client(self, *known: keys.Certified, **options: Any) -> Any:
        return self._made(AsyncWechatpay, AsyncPlatform(self), *known, **options)

    def _made(
        self,
        kind: Any,
        transport: Any,
        *known: keys.Certified,
        apiv3_key: str | None = APIV3_KEY,
        deadline_seconds: float = 30.0,
        attempts_max: int = 1,
    ) -> Any:
        merchant = Merchant(
            mchid="1900000001",
            serial_no="ABCDEF",
            private_key=PEM.decode(),
            apiv3_key=apiv3_key,
            base_url="https://platform.test",
            platform_keys={one.serial_no: one.certificate.decode() for one in known},
        )
        clocks = Clocks(lambda: NOW.timestamp() + self.now, lambda: self.now)
        patience = Patience(deadline_seconds=deadline_seconds, attempts_max=attempts_max)
        return kind(merchant, patience=patience, clocks=clocks, transport=transport)


def echo(wxpay: Any) -> str:
    message: str = wxpay.v3.security.echo.post(echo_message="hi").echo_message
    return message


def names(wxpay: Any) -> list[str]:
    ring: list[str] = wxpay._identity.ring.names
    return ring


@pytest.mark.slow
def test_a_client_without_platform_keys_fetches_them_first() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client()
    assert [echo(wxpay), echo(wxpay)] == ["hi", "hi"]
    assert platform.paths == [LIST, ECHO, ECHO]
    assert platform.asked[1].headers["Wechatpay-Serial"] == OLD.serial_no


@pytest.mark.slow
def test_a_client_without_platform_keys_works_with_our_platform(platform: InProcess) -> None:
    # Ours signs with its public key, which is in no list: the list is asked for again, signed with what it lists.
    merchant = config.load(merchant_config(platform.world))
    bridge = platform.wechatpay()._transport
    with Wechatpay(msgspec.structs.replace(merchant, platform_keys={}), transport=bridge) as wxpay:
        assert echo(wxpay) == "hi"


def test_a_list_that_is_signed_with_a_key_outside_it_is_asked_for_again_and_once() -> None:
    platform = Platform(PUBLIC_KEY_ID, OLD, NEW)
    platform.lists = lambda reply: platform.signed(reply.body, PUBLIC_KEY_ID)
    wxpay = platform.client()
    with pytest.raises(NotSent, match="could not be fetched"):
        echo(wxpay)
    assert platform.paths == [LIST, LIST]
    assert names(wxpay) == []


@pytest.mark.slow
def test_a_client_without_platform_keys_and_apiv3_key_sends_nothing() -> None:
    platform = Platform(OLD.serial_no, OLD)
    with pytest.raises(
        Misconfigured, match=r"nothing was sent: name the platform's in platform_keys, or set apiv3_key"
    ):
        echo(platform.client(apiv3_key=None))
    assert platform.paths == []


@every_row("problem", [NotSent("no connection"), NoAnswer("broken")])
def test_while_the_platform_is_away_the_call_is_not_sent_and_no_setting_is_blamed(problem: QuanmaError) -> None:
    platform = Platform(OLD.serial_no, OLD)
    platform.lists = lambda reply: problem
    wxpay = platform.client()
    with pytest.raises(NotSent, match=r"could not be fetched \((no connection|broken)") as ended:
        echo(wxpay)
    assert ended.value.may_have_executed is False
    assert platform.paths == [LIST]


class Playing:
    """A call, step by step, on the platform's clock."""

    def __init__(self, platform: Platform, wxpay: Any) -> None:
        self.platform = platform
        self.waits: list[float] = []
        request = SendEcho(echo_message="hi")
        self._talk = wxpay._talk(Echo.post, codec.encode_request(Echo.post, request))
        self._reply: Reply | Failed | None = None

    def step(self) -> Any:
        step, self._reply = self._talk.send(self._reply), None
        return step

    def sent(self, step: Send) -> None:
        try:
            self._reply = self.platform.send(step.request, step.timeout_seconds)
        except QuanmaError as error:
            self._reply = Failed(error)

    def play(self, step: Any = None) -> str:
        """Go on to the end. Waits take no time but the platform's."""
        try:
            while True:
                step = step or self.step()
                if isinstance(step, Send):
                    self.sent(step)
                elif isinstance(step, Wait):
                    self.waits.append(step.seconds)
                    self.platform.now += step.seconds
                else:
                    assert step.over.done(), "nobody would end this wait"
                step = None
        except StopIteration as over:
            message: str = over.value.data.echo_message
            return message

    def cancel(self) -> None:
        self._talk.close()


def failing(platform: Platform, *replies: Reply | QuanmaError) -> None:
    """Answer so, before the list is given again."""
    rest = list(replies)
    platform.lists = lambda reply: rest.pop(0) if rest else reply


BUSY = Reply(503, [], b"")


@every_row("problem", [BUSY, Reply(429, [], b""), NotSent("no connection"), NoAnswer("broken")], ids=str)
def test_a_fetch_that_fails_is_repeated_within_the_call(problem: Reply | QuanmaError) -> None:
    platform = Platform(OLD.serial_no, OLD)
    failing(platform, problem)
    playing = Playing(platform, platform.client(attempts_max=4))
    assert playing.play() == "hi"
    assert platform.paths == [LIST, LIST, ECHO]
    assert 0.8 <= playing.waits[0] <= 1.2


def test_after_a_rotation_too_a_fetch_that_fails_is_repeated_within_the_call() -> None:
    platform = Platform(NEW.serial_no, NEW)
    failing(platform, BUSY)
    assert Playing(platform, platform.client(OLD, attempts_max=4)).play() == "hi"
    assert platform.paths == [ECHO, LIST, LIST]


def test_a_platform_that_was_away_is_asked_again_by_the_next_call_after_a_second() -> None:
    platform = Platform(OLD.serial_no, OLD)
    failing(platform, *[NotSent("no connection")] * 4)
    wxpay = platform.client(attempts_max=4)
    with pytest.raises(NotSent, match="could not be fetched"):
        Playing(platform, wxpay).play()
    failed_at = platform.now
    assert Playing(platform, wxpay).play() == "hi"
    assert platform.now - failed_at < 6
    assert platform.paths == [LIST] * 5 + [ECHO]


def test_the_next_call_does_not_ask_before_the_platform_said() -> None:
    platform = Platform(OLD.serial_no, OLD)
    failing(platform, Reply(429, [("Retry-After", "40")], b""))
    wxpay = platform.client()
    for _ in range(2):  # The second has 30 s, so it is not for it.
        with pytest.raises(NotSent, match="send it again in 40 s"):
            Playing(platform, wxpay).play()
    assert platform.paths == [LIST]
    platform.now = 30
    playing = Playing(platform, wxpay)
    assert playing.play() == "hi"
    assert platform.now >= 40


def test_a_call_that_comes_during_a_fetch_waits_for_it_and_no_longer_than_it_may() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client()
    first, second = Playing(platform, wxpay), Playing(platform, wxpay)
    fetching = first.step()
    platform.now = 10.0
    waiting = second.step()
    assert isinstance(waiting, Join)
    assert waiting.seconds == 20  # Until the first has to be over.
    assert first.play(fetching) == "hi"
    assert second.play() == "hi"
    assert platform.paths == [LIST, ECHO, ECHO]


def test_those_who_wait_for_a_fetch_that_fails_have_failed_too_and_ask_nothing() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client()
    first, second = Playing(platform, wxpay), Playing(platform, wxpay)
    fetching = first.step()
    assert isinstance(second.step(), Join)
    failing(platform, BUSY)
    for playing, step in ((first, fetching), (second, None)):
        with pytest.raises(NotSent, match="503"):
            playing.play(step)
    assert platform.paths == [LIST]


def test_a_fetch_that_is_cancelled_counts_for_nothing_and_one_of_those_who_wait_takes_it_over() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client()
    first, second, third = (Playing(platform, wxpay) for _ in range(3))
    assert isinstance(first.step(), Send)
    waiting = second.step()
    assert isinstance(waiting, Join)
    first.cancel()
    assert waiting.over.done()
    assert [second.play(), third.play()] == ["hi", "hi"]
    assert platform.paths == [LIST, ECHO, ECHO]
    assert second.waits == third.waits == []


def test_a_fetch_whose_call_runs_out_of_time_is_taken_over_by_one_with_more() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client(deadline_seconds=30, attempts_max=4)
    wxpay._patience = wxpay._patience._replace(deadline_seconds=0.5)
    short = Playing(platform, wxpay)
    fetching = short.step()
    wxpay._patience = wxpay._patience._replace(deadline_seconds=30)
    long = Playing(platform, wxpay)
    assert isinstance(long.step(), Join)
    failing(platform, BUSY)
    with pytest.raises(NotSent, match="503"):
        short.play(fetching)
    assert long.play() == "hi"


def test_a_fetch_that_nobody_goes_on_with_is_waited_for_until_it_had_to_be_over() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client()
    lost = Playing(platform, wxpay)
    lost.step()  # And never again: a task of a loop that was stopped.
    platform.now = 30.0
    assert Playing(platform, wxpay).play() == "hi"


def test_a_list_that_does_not_open_is_not_asked_for_again_and_the_setting_is_named() -> None:
    platform = Platform(OLD.serial_no, OLD)
    platform.apiv3_key = "k" * 32
    with pytest.raises(NotSent, match="sealed with another APIv3 key"):
        Playing(platform, platform.client(attempts_max=4)).play()
    assert platform.paths == [LIST]


class AsyncPlatform:
    """The same, awaited."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    async def send(self, request: Request, timeout_seconds: float) -> Reply:
        await asyncio.sleep(0.02)
        return self.platform.send(request, timeout_seconds)

    async def close(self) -> None:
        pass


def at_once(count: int, call: Callable[[], str]) -> list[str]:
    with ThreadPoolExecutor(count) as threads:
        barrier = threading.Barrier(count)

        def go() -> str:
            barrier.wait()
            return call()

        return [one.result() for one in [threads.submit(go) for _ in range(count)]]


async def tasks(wxpay: Any, count: int) -> list[str]:
    answers = await asyncio.gather(*[wxpay.v3.security.echo.post(echo_message="hi") for _ in range(count)])
    return [answer.echo_message for answer in answers]


KNOWN = every_row("known", [(), (OLD,)], ids=["first calls", "the signer changed"])


@KNOWN
def test_threads_that_need_the_list_at_once_share_one_fetch(known: tuple[keys.Certified, ...]) -> None:
    platform = Platform(NEW.serial_no, NEW)
    platform.pauses_seconds = 0.02  # So that they meet.
    wxpay = platform.client(*known)
    assert at_once(8, lambda: echo(wxpay)) == ["hi"] * 8
    assert platform.paths.count(LIST) == 1


@KNOWN
def test_tasks_that_need_the_list_at_once_share_one_fetch(known: tuple[keys.Certified, ...]) -> None:
    platform = Platform(NEW.serial_no, NEW)
    wxpay = platform.async_client(*known)
    assert asyncio.run(tasks(wxpay, 8)) == ["hi"] * 8
    assert platform.paths.count(LIST) == 1


@KNOWN
def test_tasks_in_the_loops_of_several_threads_share_one_fetch(known: tuple[keys.Certified, ...]) -> None:
    platform = Platform(NEW.serial_no, NEW)
    wxpay = platform.async_client(*known)
    assert at_once(3, lambda: " ".join(asyncio.run(tasks(wxpay, 3)))) == ["hi hi hi"] * 3
    assert platform.paths.count(LIST) == 1


def test_a_task_that_is_cancelled_while_it_fetches_leaves_the_fetch_to_the_others() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.async_client()

    async def story() -> list[str]:
        cancelled = asyncio.create_task(tasks(wxpay, 1))
        await asyncio.sleep(0.01)
        others = asyncio.create_task(tasks(wxpay, 3))
        waits_too = asyncio.create_task(tasks(wxpay, 1))
        for _ in range(5):  # Until they wait for the fetch.
            await asyncio.sleep(0)
        cancelled.cancel()
        waits_too.cancel()
        return await others

    assert asyncio.run(story()) == ["hi"] * 3


def test_after_a_rotation_the_new_certificate_is_learned_within_the_call() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client(OLD)
    assert echo(wxpay) == "hi"
    platform.signs_with, platform.listed = NEW.serial_no, (NEW,)
    assert echo(wxpay) == "hi"
    assert platform.paths == [ECHO, ECHO, LIST]
    platform.signs_with = OLD.serial_no  # Part of the traffic, during a change-over.
    assert echo(wxpay) == "hi"
    assert sorted(names(wxpay)) == sorted([OLD.serial_no, NEW.serial_no])


def sealed_by_another(platform: Platform) -> None:
    platform.apiv3_key = "k" * 32


def signed_by_another(platform: Platform) -> None:
    platform.lists = lambda reply: platform.signed(reply.body, NEW.serial_no, KEY)


def under_another_name(platform: Platform) -> None:
    platform.lists = lambda reply: platform.signed(reply.body.replace(NEW.serial_no.encode(), b"ABCDEF"), OLD.serial_no)


def unsigned(platform: Platform) -> None:
    platform.lists = lambda reply: Reply(200, [], reply.body)


def changed_after_signing(platform: Platform) -> None:
    platform.lists = lambda reply: reply._replace(body=reply.body + b" ")


def of_an_hour_ago(platform: Platform) -> None:
    def stale(reply: Reply) -> Reply:
        platform.now -= 3600
        old = platform.signed(reply.body, OLD.serial_no)
        platform.now += 3600
        return old

    platform.lists = stale


def a_failure(platform: Platform) -> None:
    platform.lists = lambda reply: reply._replace(status_code=404)


def no_text(platform: Platform) -> None:
    platform.lists = lambda reply: platform.signed(b'{"data":"\xff"}', OLD.serial_no)


def without_an_end(platform: Platform) -> None:
    platform.lists = lambda reply: platform.signed(b'{"x":' + b"[" * 100_000, OLD.serial_no)


def no_certificate(platform: Platform) -> None:
    platform.listed = (NEW._replace(certificate=b"-----BEGIN CERTIFICATE-----"),)


def empty(platform: Platform) -> None:
    platform.listed = ()


FORGED = [
    sealed_by_another,
    signed_by_another,
    under_another_name,
    unsigned,
    changed_after_signing,
    of_an_hour_ago,
    a_failure,
    no_text,
    without_an_end,
    no_certificate,
    empty,
]


@every_row("forged", FORGED)
def test_a_forged_or_broken_list_adds_nothing_and_takes_nothing_away(forged: Callable[[Platform], None]) -> None:
    platform = Platform(NEW.serial_no, NEW)
    wxpay = platform.client(OLD)
    forged(platform)
    with pytest.raises(AnswerUntrusted, match="which is not in platform_keys"):
        echo(wxpay)
    assert names(wxpay) == [OLD.serial_no]


def test_forged_serials_cost_one_fetch_a_minute() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client(OLD)
    for second in range(0, 180, 5):
        platform.now, platform.signs_with = second, f"{second:040X}"
        with pytest.raises(AnswerUntrusted):
            echo(wxpay)
    assert platform.paths.count(LIST) == 3
    platform.signs_with = OLD.serial_no
    assert echo(wxpay) == "hi"


def test_without_an_apiv3_key_an_unknown_serial_costs_nothing() -> None:
    platform = Platform(NEW.serial_no, NEW)
    with pytest.raises(AnswerUntrusted):
        echo(platform.client(OLD, apiv3_key=None))
    assert platform.paths == [ECHO]


def test_certificates_are_fetched_anew_twice_a_day_before_they_are_needed() -> None:
    platform = Platform(OLD.serial_no, OLD, NEW)
    wxpay = platform.client(OLD)
    fetched = []
    for hour in range(0, 37, 4):
        platform.now = hour * 3600
        assert echo(wxpay) == "hi"
        if platform.paths[-1] == LIST:
            fetched.append(hour)
    assert fetched == [12, 24, 36]
    assert names(wxpay) == [NEW.serial_no, OLD.serial_no]
    assert platform.asked[-1].headers["Wechatpay-Serial"] == NEW.serial_no  # The newest is asked for, and encrypts.


def test_a_ring_of_public_keys_alone_is_not_refreshed() -> None:
    platform = Platform(PUBLIC_KEY_ID, OLD)
    public_key = keys.Certified(b"", keys.public_pem(KEY), PUBLIC_KEY_ID)
    wxpay = platform.client(public_key)
    for hour in (0, 13, 26):
        platform.now = hour * 3600
        assert echo(wxpay) == "hi"
    assert platform.paths == [ECHO, ECHO, ECHO]


def test_a_refresh_that_fails_fails_no_call() -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client(OLD)
    assert echo(wxpay) == "hi"
    platform.now, platform.lists = 13 * 3600, lambda reply: NoAnswer("broken")
    assert echo(wxpay) == "hi"
    assert platform.paths == [ECHO, ECHO, LIST]


@every_row("known", [(), (OLD,)], ids=["first", "refresh"])
def test_a_fetch_takes_no_longer_than_the_call_may(known: tuple[keys.Certified, ...]) -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client(*known, deadline_seconds=10)
    platform.takes_seconds = 100
    with pytest.raises(QuanmaError):
        echo(wxpay)
    assert platform.now == 10
    assert len(platform.asked) == 1
