"""What stands between: answers that are not the platform's, and what became of a request on its way."""

from __future__ import annotations

import json
import pickle

from quanma.api.couponcodes import CouponCodeNode, ShowCode
from quanma.api.coupons import ShowCoupon, UserCouponAppid
from quanma.client import between
from quanma.client.transport import Reply
from quanma.errors import (
    AnswerUntrusted,
    GatewayFailed,
    NotThePlatform,
    PlatformError,
    PlatformUnavailable,
    QuanmaError,
    RateLimited,
    ResourceNotExists,
    SignError,
)
from quanma.wire import codec
from tests.client.test_exchange import DONE, Played, signed
from tests.support.every import every_row

APACHE = b"""<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">
<html><head>
<title>404 Not Found</title>
</head><body>
<h1>Not Found</h1>
<p>The requested URL was not found on this server.</p>
</body></html>
"""
PAGE = b"<html><head><title>403 Forbidden</title></head><body><center>nginx</center></body></html>"


def refusal(status_code: int, body: bytes, *headers: tuple[str, str]) -> QuanmaError:
    error = Played(Reply(status_code, list(headers), body), *[DONE] * 3).error
    assert error is not None
    return error


@every_row(
    "body",
    [
        APACHE,
        PAGE,
        b"",
        b"404 page not found\n",
        b'{"message":"no Route matched with those values"}',
        b'{"code":404,"message":"Not Found"}',
        b'{"code":"404","message":"Not Found"}',
        b'{"timestamp":1,"status":404,"error":"Not Found","path":"/v3/x"}',
        b'{"error":{"code":"ResourceNotFound"}}',
        b"[]",
        b'"RESOURCE_NOT_EXISTS"',
        b"null",
        "找不到".encode("gbk"),
        b'{"code":"RESOURCE_NOT_EXISTS","mess',
    ],
    ids=lambda body: repr(body)[2:30],
)
def test_an_unsigned_answer_that_is_not_the_platforms_json_is_something_in_between(body: bytes) -> None:
    for status_code in (400, 401, 403, 404, 405, 407, 413, 414, 421, 431, 451):
        error = refusal(status_code, body)
        assert type(error) is NotThePlatform
        assert not isinstance(error, PlatformError)
        assert str(error).startswith(f"HTTP {status_code} from something in between, and not from the platform")
        assert error.status_code == status_code
        assert error.may_have_executed is True


@every_row("status_code", [500, 501, 502, 503, 504, 520, 524])
def test_a_gateway_that_failed_says_so_and_not_as_if_the_platform_had(status_code: int) -> None:
    error = Played(*[Reply(status_code, [("Server", "nginx/1.22.1")], b"<html>\r\n502\r\n</html>\r\n")] * 4).error
    assert type(error) is GatewayFailed
    assert isinstance(error, PlatformUnavailable)
    assert (error.code, error.status_code, error.may_have_executed) == ("", status_code, True)
    assert str(error) == (
        f"{status_code}: HTTP {status_code} from something in between, and not from the platform: it is not signed and "
        "not its JSON (server nginx/1.22.1)"
    )


def test_a_gateway_that_asks_for_patience_is_given_it() -> None:
    played = Played(Reply(429, [("Retry-After", "3")], b"slow down"), DONE)
    assert played.answer.data.success_count == 1
    assert played.waits[0] >= 3
    error = Played(*[Reply(429, [("Retry-After", "3")], b"slow down")] * 4).error
    assert isinstance(error, RateLimited)
    assert (error.code, error.retry_after_seconds) == ("", 3.0)


def test_what_a_gateway_refuses_is_not_sent_again() -> None:
    assert len(Played(Reply(413, [], PAGE), DONE).sent) == 1


@every_row("body", [PAGE, b"", b"ok", b"[1]"])
def test_a_portal_that_answers_200_is_something_in_between_unless_it_says_nothing(body: bytes) -> None:
    error = Played(*[Reply(200, [], body)] * 4).error
    assert isinstance(error, AnswerUntrusted)
    assert isinstance(error, NotThePlatform) is (body != b"")


def test_an_unsigned_refusal_in_the_platforms_form_is_taken_for_the_platforms() -> None:
    error = refusal(404, b'{"code":"RESOURCE_NOT_EXISTS","message":"\xe6\x89\xb9\xe6\xac\xa1"}')
    assert isinstance(error, ResourceNotExists)
    assert error.verified is False


def test_a_signed_refusal_without_json_is_the_platforms() -> None:
    error = Played(signed(404, b"")).error
    assert isinstance(error, ResourceNotExists)
    assert error.verified is True


def test_a_null_message_does_not_cost_the_code() -> None:
    error = Played(signed(400, b'{"code":"PARAM_ERROR","message":null}')).error
    assert isinstance(error, PlatformError)
    assert error.code == "PARAM_ERROR"


@every_row(
    ("headers", "body", "described"),
    [
        ([("Content-Type", "text/html; charset=iso-8859-1")], APACHE, '(text/html, "404 Not Found")'),
        ([("Server", "Apache")], b"<html>", "(server Apache)"),
        ([], b"default backend - 404", '("default backend - 404")'),
        ([], b"", "(an empty body)"),
        # Pages that repeat the address, and so a code.
        ([], b"<title>/v3/x was not found</title>", "not its JSON;"),
        ([], b"<title>no such thing: couponcodes</title>", "not its JSON;"),
        ([], b"cannot GET %2Fv3", '("cannot GET %2Fv3")'),
    ],
)
def test_the_message_tells_who_it_may_be_and_never_the_address(
    headers: list[tuple[str, str]], body: bytes, described: str
) -> None:
    assert described in str(refusal(404, body, *headers))


def test_an_error_of_something_in_between_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(refusal(404, APACHE, ("Request-ID", "08F5-1"))))
    assert (error.status_code, error.request_id) == (404, "08F5-1")


# What was signed, and what arrived

CODE = codec.encode_request(CouponCodeNode.get, ShowCode(stock_id="98065001", coupon_code="A/B|C\\D E", appid="wx1"))
BASE = "/v3/marketing/busifavor/stocks/98065001/couponcodes"
LENGTH = len(f"GET\n{CODE.target}\n1554208460\n{32 * 'n'}\n\n")


def hint(parts: codec.Parts = CODE, path: str = CouponCodeNode.path, **seen: object) -> str:
    information = {"method": "GET", "url": parts.target, "sign_message_length": LENGTH, **seen}
    return between.what_changed(parts, path, {"sign_information": information})


@every_row(
    ("arrived", "said"),
    [
        (f"{BASE}/A/B%7CC%5CD%20E?appid=wx1", "in coupon_code: …A%2FB… was signed and …A/B… arrived"),
        (f"{BASE}/A%2fB%7CC%5CD%20E?appid=wx1", "in coupon_code: …A%2FB… was signed and …A%2fB… arrived"),
        (f"{BASE}/A%2FB|C%5CD%20E?appid=wx1", "in coupon_code: …B%7CC… was signed and …B|C… arrived"),
        (f"{BASE}/A%2FB%7CC%5CD%20E", "in the query: …?… was signed and its end arrived"),
        (f"{BASE}/A%2FB%7CC%5CD%20E?appid=wx1&x=1", "in appid of the query: its end was signed and …&… arrived"),
        (f"{BASE}/A%2FB%7CC%5CD%20E?appid=wx2", "in appid of the query: …1 was signed and …2 arrived"),
        (f"/pay{CODE.target}", "at character 2: …v… was signed and …p… arrived"),
        (CODE.target.removeprefix("/v3"), "at character 2: …v… was signed and …m… arrived"),
        (BASE, "at character 52: …s/A… was signed and its end arrived"),
    ],
)
def test_a_target_that_was_changed_on_the_way_is_shown_as_signed_and_as_it_arrived(arrived: str, said: str) -> None:
    told = hint(url=arrived)
    assert told.startswith(f"the target was changed on the way, {said}; ")
    assert "proxies.md" in told


def test_a_short_code_is_not_shown_with_its_neighbours() -> None:
    parts = codec.encode_request(CouponCodeNode.get, ShowCode(stock_id="98065001", coupon_code="A/B"))
    assert "in coupon_code: …%2F… was signed and …/… arrived" in hint(parts, url=f"{BASE}/A/B")


def test_a_user_and_a_code_are_not_in_the_message() -> None:
    parts = codec.encode_request(
        UserCouponAppid.get, ShowCoupon(openid="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", coupon_code="SECRET/CODE", appid="wx1")
    )
    told = hint(parts, UserCouponAppid.path, url=parts.target.replace("%2F", "/"))
    assert "in coupon_code: …T%2FC… was signed and …T/C… arrived" in told
    assert "oUpF" not in told
    assert "SECRET" not in told


def test_a_target_that_is_told_only_in_part_is_not_a_difference() -> None:
    parts = codec.Parts("GET", "/v3/x?" + "a=1&" * 100, b"")
    assert "method, target" in hint(parts, "/v3/x", url=parts.target[:256], sign_message_length=None)


def test_a_method_that_was_changed_is_told() -> None:
    assert hint(method="POST").startswith("the method was changed on the way: GET was signed and 'POST' arrived")


def test_a_body_that_was_changed_is_told_by_its_length() -> None:
    told = hint(sign_message_length=LENGTH + 7)
    assert told.startswith(f"{LENGTH} bytes were signed and {LENGTH + 7} arrived")


def test_where_nothing_was_changed_the_rest_is_named() -> None:
    assert "mchid, serial_no, private_key and the clock" in hint()
    assert "Authorization header" in hint()


@every_row("detail", [None, {}, {"sign_information": None}, {"sign_information": []}, {"sign_information": {"url": 1}}])
def test_a_detail_of_another_form_is_no_trouble(detail: dict[str, object] | None) -> None:
    assert isinstance(between.what_changed(CODE, CouponCodeNode.path, detail), str)


def test_a_refused_signature_says_what_was_changed_on_the_way() -> None:
    body = {
        "code": "SIGN_ERROR",
        "message": "错误的签名，导致验签失败",
        "detail": {"sign_information": {"method": "POST", "url": "/v3/marketing//couponcodes"}},
    }
    error = Played(signed(401, json.dumps(body).encode(), ("Request-ID", "08F5-1"))).error
    assert isinstance(error, SignError)
    assert error.message == "错误的签名，导致验签失败"
    assert "(Request-ID 08F5-1); the target was changed on the way" in str(error)
