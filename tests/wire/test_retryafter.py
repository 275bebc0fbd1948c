"""Every form of Retry-After that is legal, and one that is only usual, is heeded; what is none is left out."""

from __future__ import annotations

from quanma.errors import RateLimited
from quanma.wire import codec
from quanma.wire.retryafter import SECONDS_MAX, retry_after_seconds
from tests.support.every import every_row

NOW = 784111777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110."""


@every_row(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("007", 7),
        ("120", 120),
        ("3.5", 3.5),
        ("10000000", 10_000_000),
        ("9" * 5000, SECONDS_MAX),
        ("3, 120", 120),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30),
        ("Sunday, 06-Nov-94 08:50:07 GMT", 30),
        ("Sun Nov  6 08:50:07 1994", 30),
        ("Mon, 07 Nov 1994 08:49:37 GMT", 86400),
        ("Sun, 06 Nov 1994 16:50:07 +0800", 30),
        ("Wed, 21 Oct 2037 07:28:00 GMT", 1355611103),
        ("Fri, 31 Dec 9999 23:59:59 GMT", SECONDS_MAX),
        ("Sat, 05 Nov 1994 08:49:37 GMT", 0),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_legal_form_is_read(value: str, seconds: float) -> None:
    assert retry_after_seconds({"retry-after": value}, NOW) == seconds


@every_row(
    "value", ["", "-1", "+3", "1e3", "٣", "soon", "3 s", "0x10", ",", "Sun, 99 Nov 1994 99:99:99 GMT", "Sun, 06 Nov"]
)
def test_what_is_no_legal_form_is_left_out(value: str) -> None:
    assert retry_after_seconds({"retry-after": value}, NOW) is None


def test_a_date_counts_from_the_time_at_which_it_was_sent() -> None:
    headers = {"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT", "date": "Sun, 06 Nov 1994 08:50:00 GMT"}
    assert retry_after_seconds(headers, NOW + 3600) == 7


@every_row(
    ("value", "spoken"),
    [
        ("3.5", "in 3.5 s"),
        ("30", "in 30 s"),
        ("600", "in 10 min"),
        ("86401", "in 25 h"),
        ("10000000", "in 116 days"),
        ("9" * 400, "in 36,500 days"),
    ],
)
def test_the_error_says_when_to_come_again(value: str, spoken: str) -> None:
    error = codec.decode_error(429, {"retry-after": value}, b'{"message":"slow"}', verified=True, now=NOW)
    assert isinstance(error, RateLimited)
    assert str(error) == f"429 FREQUENCY_LIMITED: slow; send it again {spoken}, not before"
