"""Requests and answers as bytes: where fields travel, what survives the journey, what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from quanma.api.certificates import Certificates, ListCertificates
from quanma.api.couponcodes import CouponCodeNode, CouponCodes, DeleteCode, ListCodes, ShowCode, UploadCodes
from quanma.api.coupons import Send, ShowCoupon, UserCouponAppid
from quanma.api.media import ImageUpload, UploadImage
from quanma.api.operation import Operation
from quanma.api.stocks import StockNode
from quanma.api.tree import OPERATIONS
from quanma.errors import ParamError, PlatformError, RequestInvalid
from quanma.wire import codec
from tests.support.every import every, every_row

STOCK = "/v3/marketing/busifavor/stocks/98065001"
EVERY_SIGN = "A1 -_\\/=|b"


def received(operation: Operation[..., Any, Any, Any], parts: codec.Parts) -> Any:
    """The request as the platform reads it from the bytes."""
    path, _, query = parts.target.partition("?")
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.path))
    match = re.fullmatch(pattern, path)
    assert match is not None
    return codec.decode_request(operation, match.groupdict(), query.encode(), parts.body, parts.content_type)


def decode(body: str | bytes, operation: Operation[..., Any, Any, Any] = CouponCodes.post) -> Any:
    content = body.encode() if isinstance(body, str) else body
    return codec.decode_request(operation, {"stock_id": "98065001"}, b"", content)


@every_row(
    ("operation", "request_", "target", "body"),
    [
        (
            CouponCodes.post,
            UploadCodes(stock_id="98065001", coupon_code_list=["A1"], upload_request_no="n1"),
            f"{STOCK}/couponcodes",
            b'{"coupon_code_list":["A1"],"upload_request_no":"n1"}',
        ),
        (
            CouponCodes.get,
            ListCodes(stock_id="98065001", status="AVAILABLE"),
            f"{STOCK}/couponcodes?limit=20&offset=0&status=AVAILABLE",
            b"",
        ),
        (
            CouponCodeNode.delete,
            DeleteCode(stock_id="98065001", coupon_code="AB/C D", delete_request_no="del-0001"),
            f"{STOCK}/couponcodes/AB%2FC%20D?delete_request_no=del-0001",
            b"",
        ),
        (
            CouponCodeNode.get,
            ShowCode(stock_id="98065001", coupon_code=EVERY_SIGN),
            f"{STOCK}/couponcodes/A1%20-_%5C%2F%3D%7Cb",
            b"",
        ),
        (
            UserCouponAppid.get,
            ShowCoupon(openid="o", coupon_code="A1", appid="wx"),
            "/v3/marketing/busifavor/users/o/coupons/A1/appids/wx",
            b"",
        ),
        (Certificates.get, ListCertificates(), "/v3/certificates", b""),
    ],
)
def test_a_field_travels_in_the_path_the_query_or_the_body(
    operation: Operation[..., Any, Any, Any], request_: Any, target: str, body: bytes
) -> None:
    assert codec.encode_request(operation, request_) == codec.Parts(operation.verb, target, body)


def test_a_picture_travels_in_parts_and_its_description_is_signed() -> None:
    parts = codec.encode_request(ImageUpload.post, UploadImage(file=b"\x89PNG", filename="a.png"))
    assert (parts.verb, parts.target) == ("POST", "/v3/marketing/favor/media/image-upload")
    assert parts.content_type.startswith("multipart/form-data; boundary=")
    assert parts.signed == codec.signed_body(ImageUpload.post, parts.content_type, parts.body)
    assert parts.signed.startswith(b'{"filename":"a.png","sha256":"')


@every_row("code", [*"/\\|= -_", "//", EVERY_SIGN, " A ", "a" * 32])
def test_a_code_with_any_legal_sign_arrives_as_it_left(code: str) -> None:
    show = ShowCode(stock_id="98065001", coupon_code=code)
    upload = UploadCodes(stock_id="98065001", coupon_code_list=[code], upload_request_no=code)
    delete = DeleteCode(stock_id="98065001", coupon_code="A1", delete_request_no=code)
    assert received(CouponCodeNode.get, codec.encode_request(CouponCodeNode.get, show)) == show
    assert received(CouponCodes.post, codec.encode_request(CouponCodes.post, upload)) == upload
    assert received(CouponCodeNode.delete, codec.encode_request(CouponCodeNode.delete, delete)) == delete


def test_a_space_that_javas_client_writes_as_a_plus_is_a_space() -> None:
    in_path = {"stock_id": "98065001", "coupon_code": "A+1%3D"}
    assert codec.decode_request(CouponCodeNode.get, in_path, b"", b"").coupon_code == "A 1="


def values_of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Legal values of a declared type, within its limits."""
    match kind:
        case inspect.Metadata():
            return values_of(kind.type)
        case inspect.StrType(pattern=None):
            # Not "." and "..": they can't stand in a path. Not surrogates: they are no characters.
            signs = st.characters(exclude_categories=["Cs"])
            text = st.text(signs, min_size=max(1, kind.min_length or 0), max_size=kind.max_length or 8)
            return text.filter(lambda value: value not in (".", ".."))
        case inspect.StrType():
            text = st.from_regex(kind.pattern or "")
            return text.filter(lambda value: (kind.min_length or 1) <= len(value) <= (kind.max_length or 99))
        case inspect.IntType():
            return st.integers(kind.ge, kind.le)
        case inspect.BoolType():
            return st.booleans()
        case inspect.BytesType():
            return st.binary()
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.ListType():
            return st.lists(values_of(kind.item_type), min_size=1, max_size=min(4, kind.max_length or 4))
        case inspect.StructType():
            return st.builds(kind.cls, **{field.name: values_of(field.type) for field in kind.fields})
        case inspect.UnionType():
            return st.one_of([values_of(one) for one in kind.types])
        case inspect.NoneType():
            return st.none()
        case _:
            raise NotImplementedError(kind)


@pytest.mark.slow
@every(OPERATIONS, repr)
def test_every_legal_request_is_read_as_it_was_written(operation: Operation[..., Any, Any, Any]) -> None:
    @given(values_of(inspect.type_info(operation.request)))
    @settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def check(request_: Any) -> None:
        assert received(operation, codec.encode_request(operation, request_)) == request_

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operation, "check", None)  # Each field by itself: what goes together is another test's.
        check()


@every_row(
    ("operation", "request_", "reason"),
    [
        (CouponCodes.post, UploadCodes(stock_id="1", coupon_code_list=[], upload_request_no="n"), "length >= 1"),
        (CouponCodes.post, UploadCodes(stock_id="1", coupon_code_list=["A"] * 201, upload_request_no="n"), "<= 200"),
        (CouponCodes.post, UploadCodes(stock_id="1", coupon_code_list=["\ud800"], upload_request_no="n"), "surrogates"),
        (CouponCodes.post, UploadCodes(stock_id="1", coupon_code_list=[b"A1"], upload_request_no="n"), "got `bytes`"),  # type: ignore[list-item]
        (CouponCodes.post, UploadCodes(stock_id=1, coupon_code_list=["A"], upload_request_no="n"), "got `int`"),  # type: ignore[arg-type]
        (CouponCodeNode.get, ShowCode(stock_id="1", coupon_code=""), "length >= 1"),
        (CouponCodeNode.get, ShowCode(stock_id="1", coupon_code="."), "can stand between slashes, not '.'"),
        (CouponCodeNode.get, ShowCode(stock_id="..", coupon_code="A"), "can stand between slashes, not '..'"),
        (CouponCodeNode.get, ShowCode(stock_id="1", coupon_code="\ud800"), "surrogates"),
        (CouponCodes.get, ListCodes(stock_id="1", limit=1001), "<= 1000"),
        (CouponCodes.get, ListCodes(stock_id="1", status="FREE"), "'FREE'"),  # type: ignore[arg-type]
    ],
)
def test_what_breaks_its_limits_is_never_sent(
    operation: Operation[..., Any, Any, Any], request_: Any, reason: str
) -> None:
    with pytest.raises(RequestInvalid, match=re.escape(reason)):
        codec.encode_request(operation, request_)


BEGUN = '{"coupon_code_list":["A1"],"upload_request_no":"n1"'


@every_row(
    ("body", "reason"),
    [
        ("", "Input data was truncated"),
        ("null", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('"A1"', "not a JSON object"),
        ("{", "Input data was truncated"),
        (BEGUN + "} x", "trailing characters"),
        ('\ufeff{"coupon_code_list":["A1"],"upload_request_no":"n1"}', "invalid character"),
        ('{"coupon_code_list":["A1"],"coupon_code_list":["B2"],"upload_request_no":"n1"}', "a name stands twice"),
        (BEGUN + ',"x":[{"y":1,"y":1}]}', "a name stands twice"),
        (BEGUN + ',"\\u0075pload_request_no":"n2"}', "a name stands twice"),
        (BEGUN + ',"x":' + "[" * 100_000, "recursion"),
        (BEGUN + ',"x":' + '{"y":' * 100_000, "recursion"),
        ('{"coupon_code_list":["\\ud800"],"upload_request_no":"n1"}', "surrogate"),
        (BEGUN + ',"x":NaN}', "invalid character"),
        (BEGUN + ',"x":Infinity}', "invalid character"),
        (BEGUN + ',"x":1e999}', "out of range"),
        (BEGUN + ',"x":' + "9" * 5000 + "}", "out of range"),
        ('{"coupon_code_list":null,"upload_request_no":"n1"}', "Expected `array`, got `null`"),
        ('{"coupon_code_list":"A1","upload_request_no":"n1"}', "Expected `array`, got `str`"),
        ('{"coupon_code_list":[1],"upload_request_no":"n1"}', "Expected `str`, got `int`"),
        ('{"coupon_code_list":[["A1"]],"upload_request_no":"n1"}', "Expected `str`, got `array`"),
        ('{"coupon_code_list":["A1"],"upload_request_no":1}', "Expected `str`, got `int`"),
        ('{"coupon_code_list":["A1"],"upload_request_no":true}', "Expected `str`, got `bool`"),
        ('{"coupon_code_list":["A1"]}', "missing required field `upload_request_no`"),
        (
            BEGUN + ',"stock_id":"98065002"}',
            "stock_id is one thing in the path and another",
        ),
        (BEGUN + ',"stock_id":98065001}', "stock_id is one thing in the path and another"),
        (b'{"coupon_code_list":["\xff"],"upload_request_no":"n1"}', "not UTF-8"),
        (b'{"coupon_code_list":["\xed\xa0\x80"],"upload_request_no":"n1"}', "not UTF-8"),
    ],
    ids=lambda value: repr(value)[-40:],
)
def test_a_body_that_is_not_what_it_should_be_is_a_param_error(body: str | bytes, reason: str) -> None:
    with pytest.raises(ParamError, match=re.escape(reason)):
        decode(body)


@every_row(
    "body",
    [
        BEGUN + "}",
        '  { "upload_request_no":"n1" , "coupon_code_list" : [ "A1" ] }\n',
        '{"coupon_code_list":["\\u00411"],"upload_request_no":"n1"}',
        BEGUN + ',"stock_id":"98065001"}',
        BEGUN + ',"field_of_tomorrow":[1,{"x":null}]}',
    ],
)
def test_the_same_request_may_be_spelt_in_many_ways(body: str) -> None:
    assert decode(body) == UploadCodes(stock_id="98065001", coupon_code_list=["A1"], upload_request_no="n1")


def test_a_param_error_points_to_the_field() -> None:
    with pytest.raises(ParamError) as refused:
        decode('{"coupon_code_list":["A1",2],"upload_request_no":"n1"}')
    assert refused.value.detail == {
        "field": "/coupon_code_list/1",
        "issue": "Expected `str`, got `int`",
        "location": "body",
    }


@every_row(
    ("query", "reason"),
    [
        (b"limit=0", ">= 1"),
        (b"limit=1001", "<= 1000"),
        (b"limit=9223372036854775808", "<= 1000"),
        (b"limit=x", "Expected `int`, got `str`"),
        (b"limit=", "Expected `int`, got `str`"),
        (b"limit", "the query can't be read"),
        (b"limit=5&limit=5", "a name stands twice"),
        (b"limit=5&%6cimit=6", "a name stands twice"),
        (b"status=FREE", "'FREE'"),
        (b"status=null", "status"),
        (b"stock_id=98065002", "stock_id is one thing in the path and another"),
        (b"appid=%FF", "not UTF-8"),
        (b"appid=\xff", "not UTF-8"),
    ],
)
def test_a_query_that_is_not_what_it_should_be_is_a_param_error(query: bytes, reason: str) -> None:
    with pytest.raises(ParamError, match=re.escape(reason)):
        codec.decode_request(CouponCodes.get, {"stock_id": "98065001"}, query, b"")


@every_row("code", ["%FF", "%ED%A0%80"])
def test_an_escape_in_the_path_that_is_no_text_is_a_param_error(code: str) -> None:
    with pytest.raises(ParamError, match="not UTF-8"):
        codec.decode_request(CouponCodeNode.get, {"stock_id": "1", "coupon_code": code}, b"", b"")


def test_a_body_where_none_belongs_and_a_query_where_none_belongs_are_refused() -> None:
    with pytest.raises(ParamError, match="GET takes no body"):
        codec.decode_request(StockNode.get, {"stock_id": "1"}, b"", b"{}")
    with pytest.raises(ParamError, match="POST takes no query"):
        codec.decode_request(CouponCodes.post, {"stock_id": "1"}, b"x=1", b"{}")


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=100)
def test_no_body_ends_in_anything_but_a_request_or_a_param_error(body: bytes) -> None:
    with pytest.raises(ParamError):
        decode(body)


def failure(body: bytes, status_code: int = 400, **headers: str) -> PlatformError:
    return codec.decode_error(status_code, headers, body, verified=True, now=0.0)


def test_a_failure_is_read_with_all_that_came_with_it() -> None:
    error = codec.decode_error(
        429,
        {"request-id": "08F5-429", "retry-after": "7"},
        b'{"code":"FREQUENCY_LIMITED","message":"slow down","detail":{"field":"x"}}',
        verified=True,
        now=0.0,
    )
    assert (error.code, error.message, error.detail) == ("FREQUENCY_LIMITED", "slow down", {"field": "x"})
    assert (error.request_id, error.retry_after_seconds, error.verified) == ("08F5-429", 7.0, True)


@every_row(
    ("body", "code", "message"),
    [
        (b"", "SYSTEM_ERROR", "HTTP 500 without a message"),
        (b"{}", "SYSTEM_ERROR", "HTTP 500 without a message"),
        (b"<html>Bad Gateway</html>", "SYSTEM_ERROR", "<html>Bad Gateway</html>"),
        (b"\xff\xfe", "SYSTEM_ERROR", "��"),
        (b"[1]", "SYSTEM_ERROR", "[1]"),
        (b'{"code":"NOT_ENOUGH","message":"none left","detail":"text"}', "NOT_ENOUGH", "none left"),
        (b'{"code":"NOT_ENOUGH","message":"none left","detail":null}', "NOT_ENOUGH", "none left"),
        (b'{"code":"NOT_ENOUGH","message":null}', "NOT_ENOUGH", "HTTP 500 without a message"),
        (b'{"code":"NOT_ENOUGH","message":["none left"]}', "NOT_ENOUGH", "HTTP 500 without a message"),
        (b'{"code":"NOT_ENOUGH"}', "NOT_ENOUGH", "HTTP 500 without a message"),
        (b'{"code":null,"message":"none left"}', "SYSTEM_ERROR", "none left"),
        (b'{"code":268435458,"message":"none left"}', "SYSTEM_ERROR", "none left"),
        (b'{"errcode":40001}', "SYSTEM_ERROR", '{"errcode":40001}'),
        (b'{"code":"NOT_ENOUGH","code":"NO_AUTH"}', "SYSTEM_ERROR", '{"code":"NOT_ENOUGH","code":"NO_AUTH"}'),
        (b'{"detail":' + b"[" * 100_000, "SYSTEM_ERROR", '{"detail":' + "[" * 190),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_failure_without_a_readable_body_keeps_its_status_and_text(body: bytes, code: str, message: str) -> None:
    error = failure(body, 500)
    assert (error.code, error.message, error.status_code) == (code, message, 500)


@every_row(
    "body",
    [b"", b"null", b"[]", b'{"stock_id":1}', b"\xff", b"[" * 100_000, b"<html>"],
    ids=lambda body: repr(body)[:20],
)
def test_an_answer_that_is_not_what_it_should_be_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # Its words are the library's.
        codec.decode_answer(Send.post, body)
