"""Certificates learned from the platform: when they are fetched, what is believed, and what a forger gains."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from quanma import Wechatpay
from quanma.client import config
from quanma.client.config import Merchant
from quanma.client.exchange import Clocks, Patience
from quanma.client.transport import Reply, Request
from quanma.errors import AnswerUntrusted, Misconfigured, NoAnswer, NotSent, QuanmaError
from quanma.wire import keys, sealed, signature
from tests.support.deliveries import APIV3_KEY, KEY, PEM
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

    @property
    def paths(self) -> list[str]:
        return [request.url.removeprefix("https://platform.test") for request in self.asked]

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        self.asked.append(request)
        if self.takes_seconds:
            self.now += min(self.takes_seconds, timeout_seconds)
            raise NoAnswer("too slow")
        if not request.url.endswith(LIST):
            return self.signed(b'{"message":"hi"}', self.signs_with)
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

    def client(self, *known: keys.Certified, apiv3_key: str | None = APIV3_KEY, deadline_seconds: float = 30.0) -> Any:
        merchant = Merchant(
            mchid="1900000001",
            serial_no="ABCDEF",
            private_key=PEM.decode(),
            apiv3_key=apiv3_key,
            base_url="https://platform.test",
            platform_keys={one.serial_no: one.certificate.decode() for one in known},
        )
        clocks = Clocks(lambda: NOW.timestamp() + self.now, lambda: self.now)
        patience = Patience(deadline_seconds=deadline_seconds, attempts_max=1)
        return Wechatpay(merchant, patience=patience, clocks=clocks, transport=self)


def echo(wxpay: Any) -> str:
    message: str = wxpay.v3.security.echo.post(message="hi").message
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


@pytest.mark.parametrize("problem", [NotSent("no connection"), NoAnswer("broken")])
def test_while_the_platform_is_away_the_call_is_not_sent_and_no_setting_is_blamed(problem: QuanmaError) -> None:
    platform = Platform(OLD.serial_no, OLD)
    platform.lists = lambda reply: problem
    wxpay = platform.client()
    for _ in range(2):
        with pytest.raises(NotSent, match="could not be fetched"):
            echo(wxpay)
    assert platform.paths == [LIST]
    platform.lists = lambda reply: reply
    platform.now = 60
    assert echo(wxpay) == "hi"


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


@pytest.mark.parametrize("forged", FORGED)
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


@pytest.mark.parametrize("known", [(), (OLD,)], ids=["first", "refresh"])
def test_a_fetch_takes_no_longer_than_the_call_may(known: tuple[keys.Certified, ...]) -> None:
    platform = Platform(OLD.serial_no, OLD)
    wxpay = platform.client(*known, deadline_seconds=10)
    platform.takes_seconds = 100
    with pytest.raises(QuanmaError):
        echo(wxpay)
    assert platform.now == 10
    assert len(platform.asked) == 1
