"""Times as the wire writes them: one form is written, all documented ones are read, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanma.wire.times import beijing_day, rfc3339, unix_seconds
from tests.support.every import every_row


def test_a_time_is_written_with_beijings_offset() -> None:
    assert rfc3339(1432099775) == "2015-05-20T13:29:35+08:00"


@every_row(
    "text",
    [
        "2015-05-20T13:29:35+08:00",
        "2015-05-20T13:29:35.000+08:00",
        "2015-05-20T05:29:35Z",
        "2015-05-20T05:29:35.999Z",
        "2015-05-20T05:29:35.123456789Z",
        "2015-05-20T00:29:35-05:00",
    ],
)
def test_every_documented_form_is_read(text: str) -> None:
    assert unix_seconds(text) == 1432099775


@given(st.integers(0, 4102444800))
@settings(deadline=None, max_examples=50)
def test_what_is_written_is_read(seconds: int) -> None:
    assert unix_seconds(rfc3339(seconds)) == seconds


@every_row(
    "text",
    [
        "",
        "2015-05-20T13:29:35",
        "2015-05-20 13:29:35+08:00",
        "2015-05-20T13:29:35+0800",
        "2015-05-20T13:29:35.08:00",
        "2015-05-20T13:29:35+08:00\n",
        "20150520T132935Z",
        "2015-05-20T13:29Z",
        "2015-05-20",
        "2015-W21-3T13:29:35Z",
        "٢٠١٥-05-20T13:29:35Z",
        "2015-05-20T13:29:35z",
        "1432099775",
    ],
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time like 2015-05-20T13:29:35"):
        unix_seconds(text)


@every_row("text", ["2015-02-29T00:00:00Z", "2015-05-20T25:00:00Z", "2015-05-20T13:29:60Z"])
def test_a_time_that_no_calendar_has_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"day is out of range|must be in"):
        unix_seconds(text)


def test_a_day_begins_at_midnight_in_beijing() -> None:
    midnight = unix_seconds("2015-05-21T00:00:00+08:00")
    assert beijing_day(midnight) == beijing_day(midnight - 1) + 1
    assert beijing_day(midnight) == beijing_day(midnight + 86399)
