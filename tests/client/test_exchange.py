"""One call as a conversation, played by hand: what is sent again, when, and what its end says. Nothing sleeps."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

from quanma.api.couponcodes import CouponCodeNode, CouponCodes, ShowCode, UploadCodes
from quanma.api.operation import Operation
from quanma.client.attempts import Watch
from quanma.client.chain import Undeclared
from quanma.client.exchange import Clocks, Failed, Identity, Patience, Send, Wait, exchange
from quanma.client.transport import Reply
from quanma.errors import (
    AnswerUntrusted,
    ClockWrong,
    NoAnswer,
    NotSent,
    ParamError,
    PlatformFailed,
    QuanmaError,
    RateLimited,
    ResourceNotExists,
    SignError,
    StockNotReady,
)
from quanma.wire import codec, keys, signature
from tests.support.every import every_row

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "wire" / "vectors.json").read_text("utf-8"))
DER = base64.b64decode(VECTORS["sha256_rsa2048_sign"]["private_key_pkcs8_der_base64"])
PEM = keys.private_pem(DER, "the published key").encode()
KEY = keys.load_private_key(PEM, "the published key")
RING = signature.KeyRing({"F5765756002FDD77": KEY.public_key(), "PUB_KEY_ID_01": KEY.public_key()})
IDENTITY = Identity("1900000001", "ABCDEF", KEY, RING)
HOSTS = ("https://api.mch.weixin.qq.com", "https://api2.mch.weixin.qq.com")
STORED = b'{"stock_id":"1","total_count":1,"success_count":1,"success_time":"2015-05-20T13:29:35+08:00"}'
UPLOAD = UploadCodes(stock_id="1", coupon_code_list=["A1"], upload_request_no="n1")
WALL = 1554208460


class Played:
    """A conversation: replies in, steps out. Waits pass on a clock that only moves here."""

    def __init__(
        self,
        *replies: Reply | QuanmaError,
        operation: Operation[..., Any, Any, Any] = CouponCodes.post,
        request: Any = UPLOAD,
        patience: Patience = Patience(),  # noqa: B008  # It holds nothing.
        reply_seconds: float = 0.0,
        oversleep_seconds: float = 0.0,
        watch: Watch | None = None,
        number: str | None = None,
    ) -> None:
        self.sent: list[Send] = []
        self.waits: list[float] = []
        self.answer: Any = None
        self.error: QuanmaError | None = None
        self._now = 0.0
        parts = (
            codec.Parts("POST", "/v3/x", b"{}")
            if isinstance(operation, Undeclared)
            else codec.encode_request(operation, request)
        )
        clocks = Clocks(lambda: WALL + self._now, lambda: self._now)
        talk = exchange(IDENTITY, HOSTS, patience, clocks, operation, parts, None, number, watch)
        rest = iter(replies)
        reply: Any = None
        try:
            while True:
                step = talk.send(reply)
                if isinstance(step, Wait):
                    self.waits.append(step.seconds)
                    self._now += step.seconds + oversleep_seconds
                    reply = None
                else:
                    assert isinstance(step, Send)  # Nothing is fetched here.
                    self.sent.append(step)
                    self._now += reply_seconds
                    reply = next(rest)
                    reply = Failed(reply) if isinstance(reply, QuanmaError) else reply
        except StopIteration as over:
            self.answer = over.value
        except QuanmaError as error:
            self.error = error


def signed(status_code: int, body: bytes, *headers: tuple[str, str], timestamp: int = WALL) -> Reply:
    nonce = "593BEC0C930BF1AFEB40B4A08C8FB242"
    made = signature.sign(KEY, signature.answer_message(str(timestamp), nonce, body))
    signing = [("Serial", "PUB_KEY_ID_01"), ("Nonce", nonce), ("Timestamp", str(timestamp)), ("Signature", made)]
    return Reply(status_code, [*((f"Wechatpay-{name}", value) for name, value in signing), *headers], body)


def refused(status_code: int, code: str, *headers: tuple[str, str]) -> Reply:
    return signed(status_code, json.dumps({"code": code, "message": "no"}).encode(), *headers)


LOST = NoAnswer("the connection broke")
UNREACHED = NotSent("no connection")
BUSY = refused(429, "FREQUENCY_LIMITED")
FAILED = refused(500, "SYSTEM_ERROR")
DONE = signed(200, STORED)


def test_a_call_that_is_answered_sends_one_signed_request() -> None:
    played = Played(signed(200, STORED, ("Request-ID", "08F5-0")))
    (send,) = played.sent
    assert send.request.url == "https://api.mch.weixin.qq.com/v3/marketing/busifavor/stocks/1/couponcodes"
    assert send.request.headers["Wechatpay-Serial"] == "PUB_KEY_ID_01"
    fields = signature.parse_authorization(send.request.headers["Authorization"])
    assert (fields.mchid, fields.serial_no, fields.timestamp) == ("1900000001", "ABCDEF", "1554208460")
    target = "/v3/marketing/busifavor/stocks/1/couponcodes"
    message = signature.request_message("POST", target, fields.timestamp, fields.nonce_str, send.request.body)
    signature.check_signature(KEY.public_key(), fields.signature, message)
    assert (played.answer.data.success_count, played.answer.status_code) == (1, 200)
    assert (played.answer.request_id, played.waits) == ("08F5-0", [])


def test_a_repeat_has_the_same_bytes_a_fresh_signature_and_the_next_host() -> None:
    first, second, third = Played(LOST, FAILED, DONE).sent
    assert first.request.body == second.request.body == third.request.body
    nonces = {signature.parse_authorization(one.request.headers["Authorization"]).nonce_str for one in (first, second)}
    assert len(nonces) == 2
    assert [one.request.url[:29] for one in (first, second, third)] == [HOSTS[0], HOSTS[1][:29], HOSTS[0]]


def test_the_timestamp_of_a_repeat_is_that_of_its_sending() -> None:
    _, second = Played(LOST, DONE, reply_seconds=10).sent
    fields = signature.parse_authorization(second.request.headers["Authorization"])
    assert 1554208470 <= int(fields.timestamp) <= 1554208472


@every_row(
    "reply",
    [
        LOST,
        UNREACHED,
        BUSY,
        refused(429, "RATELIMIT_EXCEEDED"),
        FAILED,
        refused(502, ""),
        refused(503, "SERVICE_UNAVAILABLE"),
        Reply(503, [], b"<html>"),
        Reply(200, [], STORED),
        signed(200, b"{}"),
        signed(200, STORED)._replace(body=STORED.replace(b"1", b"2")),
        Reply(302, [("Location", "http://portal")], b""),
    ],
    ids=str,
)
def test_what_may_be_repeated_is_repeated_under_the_same_number(reply: Reply | QuanmaError) -> None:
    played = Played(reply, DONE)
    assert played.answer.data.success_count == 1
    assert len(played.waits) == 1


@every_row(
    ("reply", "error"),
    [
        (refused(400, "PARAM_ERROR"), ParamError),
        (refused(401, "SIGN_ERROR"), SignError),
        (refused(404, "RESOURCE_NOT_EXISTS"), ResourceNotExists),
        (refused(400, "STATEMENT_CREATING"), StockNotReady),
    ],
)
def test_a_refusal_is_final(reply: Reply, error: type[QuanmaError]) -> None:
    played = Played(reply)
    assert isinstance(played.error, error)
    assert played.error.may_have_executed is False


@every_row(("reply", "error"), [(LOST, NoAnswer), (FAILED, PlatformFailed)])
def test_what_carries_no_number_is_not_repeated_once_it_may_have_been_executed(
    reply: Reply | QuanmaError, error: type[QuanmaError]
) -> None:
    played = Played(reply, operation=Undeclared("POST", "/v3/x"))
    assert type(played.error) is error
    assert len(played.sent) == 1


@every_row("reply", [BUSY, UNREACHED], ids=["429", "no connection"])
def test_what_was_not_accepted_is_repeated_even_without_a_number(reply: Reply | QuanmaError) -> None:
    assert Played(reply, signed(200, b'{"x":1}'), operation=Undeclared("POST", "/v3/x")).answer.data == {"x": 1}


def test_reading_is_repeated() -> None:
    answer = signed(200, b'{"code_information":{"code":"A1","code_status":"AVAILABLE"}}')
    show = ShowCode(stock_id="1", coupon_code="A1")
    assert Played(LOST, answer, operation=CouponCodeNode.get, request=show).answer.status_code == 200


def test_the_waits_double_from_one_second_and_are_spread_by_a_fifth() -> None:
    many = [Played(LOST, LOST, LOST, LOST).waits for _ in range(50)]
    for attempt, seconds in enumerate((1, 2, 4)):
        waits = [waits[attempt] for waits in many]
        assert 0.8 * seconds <= min(waits) < 0.95 * seconds
        assert 1.05 * seconds < max(waits) < 1.201 * seconds


def test_after_four_attempts_the_last_error_ends_it() -> None:
    played = Played(LOST, LOST, LOST, FAILED)
    assert isinstance(played.error, PlatformFailed)
    assert len(played.sent) == 4


def test_a_wait_is_never_shorter_than_the_platform_asked_and_is_spread() -> None:
    busy = refused(429, "", ("Retry-After", "10"))
    waits = [Played(busy, DONE).waits[0] for _ in range(50)]
    assert min(waits) >= 10
    assert max(waits) - min(waits) > 1


@every_row("value", ["3.5", "Tue, 02 Apr 2019 12:34:23 GMT"], ids=["fraction", "date"])
@every_row("status_code", [429, 503])
def test_a_wait_in_any_form_is_heeded(status_code: int, value: str) -> None:
    busy = refused(status_code, "", ("Retry-After", value))
    waits = [Played(busy, DONE).waits[0] for _ in range(50)]
    assert min(waits) >= (3.5 if value == "3.5" else 3)


@every_row("value", ["10000000", "9" * 5000, "Wed, 21 Oct 2037 07:28:00 GMT"], ids=lambda value: value[:9])
def test_a_wait_beyond_the_deadline_ends_the_call_at_once_and_says_when_to_come_again(value: str) -> None:
    played = Played(refused(429, "", ("Retry-After", value)))
    assert isinstance(played.error, RateLimited)
    assert re.search(r"send it again in [\d,]+ days, not before", str(played.error))
    assert (played.waits, len(played.sent)) == ([], 1)


def test_a_wait_that_would_end_after_the_deadline_is_not_begun() -> None:
    played = Played(refused(429, "", ("Retry-After", "30")))
    assert isinstance(played.error, RateLimited)
    assert played.error.retry_after_seconds == 30
    assert played.waits == []


def test_an_attempt_has_no_more_time_than_the_call_has_left() -> None:
    patience = Patience(deadline_seconds=20, attempt_seconds=15)
    first, second = Played(LOST, DONE, patience=patience, reply_seconds=15).sent
    assert first.timeout_seconds == 15
    assert 3.8 <= second.timeout_seconds <= 4.2


def test_a_wait_that_took_longer_than_the_call_has_left_ends_it() -> None:
    played = Played(BUSY, oversleep_seconds=60)
    assert isinstance(played.error, RateLimited)
    assert len(played.sent) == 1


def test_no_connection_after_a_lost_answer_still_ends_in_a_lost_answer() -> None:
    played = Played(LOST, UNREACHED, UNREACHED, UNREACHED)
    assert type(played.error) is NoAnswer
    assert played.error.may_have_executed is True


@every_row("last", [BUSY, refused(404, "RESOURCE_NOT_EXISTS")], ids=["429", "404"])
def test_an_error_after_a_lost_answer_says_that_the_call_may_have_been_executed(last: Reply) -> None:
    played = Played(NoAnswer("the connection broke"), last, patience=Patience(attempts_max=2))
    assert played.error is not None
    assert played.error.may_have_executed is True


def test_no_connection_at_all_ends_in_not_sent() -> None:
    played = Played(*[NotSent("no connection")] * 4)
    assert type(played.error) is NotSent
    assert played.error.may_have_executed is False


ONCE = Patience(attempts_max=1)


@every_row(
    ("reply", "reason"),
    [
        (Reply(200, [("Request-ID", "08F5-0")], STORED), "Request-ID 08F5-0: the answer is not signed"),
        (DONE._replace(body=STORED + b" "), "the body was changed after signing"),
        (FAILED._replace(body=b"{}"), "HTTP 500, Request-ID None: the signature does not fit"),
        (signed(200, b'{"stock_id":"1"}'), "is signed but not what it should be"),
        (signed(200, b""), "is signed but not what it should be"),
        (signed(200, b"[" * 100_000), "nested too deeply"),
        (Reply(302, [], b""), "HTTP 302 is no answer of the platform"),
        (Reply(302, [("Location", "http://portal:8080/login?u=oUser")], b""), "HTTP 302 to http://portal:8080 is no "),
        (Reply(301, [("location", "https://user:s3same@h/v3")], b""), "HTTP 301 to https://h is no answer"),
        (Reply(307, [("Location", "/v3/x/")], b""), "HTTP 307 to another path of the same host is no answer"),
        (Reply(307, [("Location", "http://[x")], b""), "HTTP 307 to an address that can't be read is no answer"),
        (signed(200, b'{"stock_id":"1","stock_id":"2"}'), "a name stands twice"),
        (DONE._replace(headers=[*DONE.headers, ("Content-Encoding", "br")], body=b"\x1b"), "compressed with 'br'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_answer_that_cant_be_relied_on_leaves_the_outcome_unknown(reply: Reply, reason: str) -> None:
    error = Played(reply, patience=ONCE).error
    assert isinstance(error, AnswerUntrusted)
    assert reason in str(error)


def packed(reply: Reply) -> Reply:
    """As a gateway passes it on that compresses what nobody asked for."""
    return Reply(reply.status_code, [*reply.headers, ("Content-Encoding", "gzip")], gzip.compress(reply.body))


def test_an_answer_that_was_compressed_on_the_way_is_read() -> None:
    assert Played(packed(DONE), patience=ONCE).answer.data.success_count == 1


@every_row("reply", [refused(404, "RESOURCE_NOT_EXISTS"), Reply(404, [], b'{"code":"RESOURCE_NOT_EXISTS"}')])
def test_a_refusal_that_was_compressed_on_the_way_is_read(reply: Reply) -> None:
    error = Played(packed(reply)).error
    assert isinstance(error, ResourceNotExists)
    assert error.verified is (len(reply.headers) > 0)


@every_row(
    ("replies", "seconds", "told"),
    [
        ([NoAnswer("no complete answer within 15.0 s")], 15.0, "within 15.0 s (1 attempt in 15.0 s)"),
        ([NoAnswer("no complete answer within 0.2 s")] * 4, 0.2, "within 0.2 s (4 attempts in "),
        ([NotSent("no connection")] * 4, 0.0, "no connection (4 attempts in "),
        ([Reply(200, [], STORED)] * 4, 0.0, "(4 attempts in "),
        ([NoAnswer("it broke"), *[NotSent("no connection")] * 3], 1.0, "it broke (4 attempts in "),
    ],
)
def test_an_error_says_how_many_attempts_there_were_and_how_long_they_took(
    replies: list[Reply | QuanmaError], seconds: float, told: str
) -> None:
    patience = ONCE if len(replies) == 1 else Patience()
    played = Played(*replies, patience=patience, reply_seconds=seconds)
    took = seconds * len(played.sent) + sum(played.waits)
    assert told in str(played.error)
    assert str(played.error).endswith(f" in {took:.1f} s)")


def test_a_refusal_has_its_attempts_and_seconds_beside_its_message() -> None:
    played = Played(LOST, refused(404, "RESOURCE_NOT_EXISTS"), reply_seconds=2)
    assert played.error is not None
    assert played.error.effort == f"2 attempts in {4 + played.waits[0]:.1f} s"


def test_a_probe_is_not_believed() -> None:
    probe = [
        (name, value.replace(value[:4], "WECHATPAY/SIGNTEST/") if "Sign" in name else value)
        for name, value in DONE.headers
    ]
    error = Played(DONE._replace(headers=probe), patience=ONCE).error
    assert "WECHATPAY/SIGNTEST/ probe" in str(error)


def test_a_clock_that_is_301_seconds_off_has_an_error_of_its_own() -> None:
    error = Played(signed(200, STORED, timestamp=WALL - 301), patience=ONCE).error
    assert isinstance(error, ClockWrong)
    assert "301 s behind ours" in str(error)


@every_row(("reply", "verified"), [(refused(400, "PARAM_ERROR"), True), (Reply(400, [], b"{}"), False)])
def test_a_refusal_says_whether_its_signature_held(reply: Reply, verified: bool) -> None:
    error = Played(reply).error
    assert isinstance(error, QuanmaError)
    assert error.verified is verified  # type: ignore[attr-defined]
