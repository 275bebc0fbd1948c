"""Retry-After: when a platform, or what stands before it, wants to be asked again. Source: RFC 9110, 10.2.3."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from email.utils import parsedate_tz

SECONDS_MAX = 100 * 365 * 86400.0
"""What is longer counts as this: it stays a number that can be added to a clock."""

_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_DATE = re.compile(r"[A-Za-z]{3,9},? .*[0-9]{2}:[0-9]{2}:[0-9]{2}.*")


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long to wait from now, or None: nothing is asked for, or not in a form that is known.

    `headers`: names in lower case. `now`: Unix seconds, for a date in an answer that has no Date of its own.

    Whole seconds and the three forms of a date are legal. A fraction is not, and is sent by some all the same. Several
    values, from several that the answer passed, are separated by commas: the longest wait counts.
    """
    value = headers.get("retry-after", "").strip()
    if _DATE.fullmatch(value):
        asked = _unix_seconds(value)
        sent = _unix_seconds(headers.get("date", "").strip())
        # By the clock of whoever named the date, where it is told: ours may be wrong.
        return None if asked is None else min(max(asked - (now if sent is None else sent), 0.0), SECONDS_MAX)
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and _SECONDS.fullmatch(part) for part in parts):
        return None
    return min(max(float(part) for part in parts), SECONDS_MAX)


def _unix_seconds(text: str) -> float | None:
    parsed = parsedate_tz(text)
    if parsed is None:
        return None
    year, month, day, hour, minute, second, *_, offset = parsed
    try:
        named = datetime.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=datetime.UTC)
        return named.timestamp() - (offset or 0)
    except (ValueError, OverflowError):
        return None
