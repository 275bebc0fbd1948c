"""Times as the wire writes them: RFC 3339 with an offset. The platform prints +08:00, and its days are Beijing's."""

from __future__ import annotations

import datetime
import re

_AHEAD_SECONDS = 8 * 3600
BEIJING = datetime.timezone(datetime.timedelta(seconds=_AHEAD_SECONDS))
DAY_SECONDS = 86400

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")


def rfc3339(unix_seconds: int) -> str:
    return datetime.datetime.fromtimestamp(unix_seconds, BEIJING).isoformat(timespec="seconds")


def unix_seconds(text: str) -> int:
    """Read any of the documented forms, `Z` or an offset, with or without a fraction, which is dropped.

    Raises:
        ValueError: not such a time.
    """
    if not _FORM.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a time like 2015-05-20T13:29:35+08:00")
    return int(datetime.datetime.fromisoformat(text).timestamp())


def beijing_day(unix_seconds: int) -> int:
    """The number of the day in Beijing, for limits by day."""
    return (unix_seconds + _AHEAD_SECONDS) // DAY_SECONDS


def beijing_midnight(day: int) -> int:
    """When a day of that number begins in Beijing, in Unix seconds."""
    return day * DAY_SECONDS - _AHEAD_SECONDS
