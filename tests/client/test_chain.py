"""Paths that are not declared: each value goes out as it was meant, or nothing goes out."""

from __future__ import annotations

import dataclasses
import enum
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from quanma.api.operation import Operation
from quanma.api.stockrules import StockSendRule
from quanma.client.chain import Chain
from quanma.errors import RequestInvalid
from quanma.wire import codec
from tests.support.every import every_row

BEIJING = timezone(timedelta(hours=8))
Called = tuple[Operation[..., Any, Any, Any], codec.Parts]


def chain(path: str = "v3/x/y", host: str | None = None) -> Chain[Called]:
    return Chain(path, lambda operation, parts: (operation, parts), host)


class Pair(NamedTuple):
    left: int
    right: int


class Colour(enum.Enum):
    RED = "red"


class Mode(str, enum.Enum):  # noqa: UP042  # Its str() is not its text: that is what is tested.
    UPLOAD = "MERCHANT_UPLOAD"


class Count(enum.IntEnum):
    TWO = 2


@dataclasses.dataclass
class Amount:
    total: int
    currency: str = "CNY"


@every_row(
    ("value", "sent"),
    [
        (None, b"null"),
        (True, b"true"),
        (0, b"0"),
        (2**70, b"1180591620717411303424"),
        (1.5, b"1.5"),
        ("", b'""'),
        ("券/A", '"券/A"'.encode()),
        ([], b"[]"),
        (("A1", ["B2"]), b'["A1",["B2"]]'),
        ({}, b"{}"),
        (OrderedDict(b=1, a=2), b'{"b":1,"a":2}'),
        (MappingProxyType({"a": (1,)}), b'{"a":[1]}'),
        (Colour.RED, b'"red"'),
        (Mode.UPLOAD, b'"MERCHANT_UPLOAD"'),
        (Count.TWO, b"2"),
        (Amount(888), b'{"total":888,"currency":"CNY"}'),
        (StockSendRule(max_coupons_per_user=1), b'{"max_coupons_per_user":1}'),
        (datetime(2026, 1, 1, tzinfo=BEIJING), b'"2026-01-01T00:00:00+08:00"'),
        (datetime(2026, 1, 1, tzinfo=UTC), b'"2026-01-01T00:00:00+00:00"'),
        (date(2026, 1, 1), b'"2026-01-01"'),
    ],
    ids=repr,
)
def test_a_body_says_what_it_was_given(value: Any, sent: bytes) -> None:
    _, parts = chain().post({"a": value})
    assert parts == codec.Parts("POST", "/v3/x/y", b'{"a":' + sent + b"}")


@every_row(
    ("value", "target"),
    [
        (True, "/v3/x/y?a=true"),
        (0, "/v3/x/y?a=0"),
        (1.5, "/v3/x/y?a=1.5"),
        ("A/1 +&券", "/v3/x/y?a=A%2F1%20%2B%26%E5%88%B8"),
        ("", "/v3/x/y?a="),
        (None, "/v3/x/y"),
        (Colour.RED, "/v3/x/y?a=red"),
        (Mode.UPLOAD, "/v3/x/y?a=MERCHANT_UPLOAD"),
        (Count.TWO, "/v3/x/y?a=2"),
        (datetime(2026, 1, 1, tzinfo=BEIJING), "/v3/x/y?a=2026-01-01T00%3A00%3A00%2B08%3A00"),
        (date(2026, 1, 1), "/v3/x/y?a=2026-01-01"),
    ],
    ids=repr,
)
def test_a_query_says_what_it_was_given(value: Any, target: str) -> None:
    _, parts = chain().get(a=value)
    assert parts == codec.Parts("GET", target, b"")


HOLDS_ITSELF: list[Any] = []
HOLDS_ITSELF.append(HOLDS_ITSELF)
UNSAYABLE = [
    *(float("nan"), float("inf"), -float("inf"), Decimal("1.50"), Fraction(1, 3), 1j),
    *(b"A1", bytearray(b"A1"), memoryview(b"A1"), {"A1"}, frozenset(["A1"]), "A\ud800"),
    *(datetime(2026, 1, 1), time(12), timedelta(1), UUID(int=1), object(), Amount, len, (one for one in "A1")),  # noqa: DTZ001
    *([float("nan")], {"b": b"A1"}, {1: "A1"}, {None: 1}, {b"b": 1}, HOLDS_ITSELF),
]


@every_row("value", UNSAYABLE, ids=lambda value: type(value).__name__)
def test_what_json_can_not_say_is_refused_in_a_body_and_in_a_query(value: Any) -> None:
    calls: list[Callable[[], Called]] = [
        lambda: chain().post({"a": value}),
        lambda: chain().get(a=value),
        lambda: chain("v3/{a}").get(a=value),
    ]
    for call in calls:
        with pytest.raises(RequestInvalid) as refused:
            call()
        assert "A1" not in str(refused.value)


@every_row("value", [["A1", "B2"], [], ("A1",), {"b": 1}, {}, Amount(1)], ids=repr)
def test_a_list_or_a_mapping_is_refused_in_a_query_and_in_a_path(value: Any) -> None:
    with pytest.raises(RequestInvalid, match=r"a is a (list|mapping), and one text or number goes there"):
        chain().get(a=value)
    with pytest.raises(RequestInvalid, match=r"a is a (list|mapping), and one text or number goes there"):
        chain("v3/{a}").get(a=value)


def test_the_message_says_where_the_value_stands_and_what_to_do() -> None:
    with pytest.raises(
        RequestInvalid, match=r"the body.amount\[1\].total is of type Decimal.*: make it an int, of fen"
    ):
        chain().post({"amount": [{}, {"total": Decimal(1)}]})
    with pytest.raises(RequestInvalid, match="use_time is a time without its offset: give one with it"):
        chain().get(use_time=datetime(2026, 1, 1))  # noqa: DTZ001


@every_row("body", [b'{"a":1}', '{"a":1}', [{"a": 1}], 7, {"A1"}], ids=repr)
def test_a_body_that_is_no_mapping_is_refused(body: Any) -> None:
    with pytest.raises(RequestInvalid, match="the body"):
        chain().post(body)


@every_row(
    ("call", "verb", "target", "body"),
    [
        (lambda made: made.delete({"reason": "x"}, id="1"), "DELETE", "/v3/x/1", b'{"reason":"x"}'),
        (lambda made: made.delete(id="1", limit=5), "DELETE", "/v3/x/1?limit=5", b""),
        (lambda made: made.post({"a": 1}, id="1", dry_run=True), "POST", "/v3/x/1?dry_run=true", b'{"a":1}'),
        (lambda made: made.post(id="1", limit=5), "POST", "/v3/x/1?limit=5", b""),
        (lambda made: made.put({}, id="1", limit=5), "PUT", "/v3/x/1?limit=5", b"{}"),
        (
            lambda made: made.patch({"a": None}, id="1", self="me", body="b"),
            "PATCH",
            "/v3/x/1?self=me&body=b",
            b'{"a":null}',
        ),
        (lambda made: made.get(id="1", self="me"), "GET", "/v3/x/1?self=me", b""),
    ],
)
def test_every_verb_but_get_takes_a_body_and_each_takes_a_query(
    call: Callable[[Chain[Called]], Called], verb: str, target: str, body: bytes
) -> None:
    operation, parts = call(chain("v3/x/{id}"))
    assert parts == codec.Parts(verb, target, body)
    assert (operation.verb, operation.repeatable) == (verb, verb == "GET")


def test_a_get_with_a_body_is_refused() -> None:
    with pytest.raises(RequestInvalid, match="GET /v3/x/y takes no body"):
        chain().send("GET", {"a": 1}, {})


@every_row("path", ["v3/x/", "/v3/x/y/", "v3/{a}/", "hk/v3/x", "/global/v3/x/", "v3/x/y"])
def test_a_path_is_sent_as_it_was_given(path: str) -> None:
    _, parts = chain(path).get(a="x")
    assert parts.target.partition("?")[0] == "/" + path.lstrip("/").replace("{a}", "x")


@every_row("path", ["v3", "v3/", "v3//", "v3/x//", "hk/v3/", "hk//v3/x", "HK/v3/x", "../v3/x", "a/b/v3/x"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(RequestInvalid, match="is not a path like"):
        chain(path)


@every_row(
    ("host", "hosts"),
    [
        (None, ()),
        ("https://apihk.mch.weixin.qq.com", ("https://apihk.mch.weixin.qq.com",)),
        ("https://APIHK.mch.weixin.qq.com/", ("https://apihk.mch.weixin.qq.com",)),
        ("http://127.0.0.1:8460", ("http://127.0.0.1:8460",)),
        ("http://[::1]:8460/", ("http://[::1]:8460",)),
    ],
)
def test_a_call_may_live_at_another_host(host: str | None, hosts: tuple[str, ...]) -> None:
    operation, _ = chain("hk/v3/x", host).get()
    assert operation.hosts == hosts


@every_row(
    "host",
    [
        *("", "apihk.mch.weixin.qq.com", "ftp://h", "https://", "https://h/v3", "https://h?x", "https://h#x"),
        *("https://h:0", "https://h:65536", "https://h:x", "https://user:s3same@h", "https://h\n", "https://券"),
    ],
)
def test_what_is_no_host_is_refused_and_not_shown(host: str) -> None:
    with pytest.raises(RequestInvalid, match="host is not https://name") as refused:
        chain(host=host)
    assert "s3same" not in str(refused.value)


def test_a_named_tuple_is_a_list_as_json_has_it() -> None:
    _, parts = chain().post({"a": Pair(1, 2)})
    assert msgspec.json.decode(parts.body) == {"a": [1, 2]}
