"""What is seen of an upload while it runs: on a terminal, and where there is none."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Generator

import pytest

from quanma.cli import output
from quanma.upload.ledger import Totals
from quanma.upload.uploader import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def terminal() -> Generator[Terminal, None, None]:
    """In the place of standard error, 120 characters wide."""
    shown = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", shown)
        for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "120")
        yield shown


def has_its_cursor(shown: Terminal) -> bool:
    """Whether it was hidden, and is there again."""
    drawn = shown.getvalue()
    return 0 <= drawn.rfind("\x1b[?25l") < drawn.rfind("\x1b[?25h")


def sent(stored: int, *, ceiling: float | None = 20.0, state: str = "sending") -> Progress:
    totals = Totals(
        rows=1200,
        stored=stored,
        existed=7,
        duplicate=0,
        rejected=3,
        pending=1190 - stored,
        requests=5,
        retries=2,
        seconds=1.0,
        batches_open=1,
    )
    return Progress(totals, 12.5, ceiling, 1, state)


def test_a_terminal_shows_the_share_done_the_sums_and_the_pace() -> None:
    with terminal() as shown, output.sending() as show:
        show(sent(590))
        show(sent(1190))
    drawn = shown.getvalue()
    assert "100 %" in drawn
    assert "stored 1,190 existed 7 rejected 3 retries 2  12.5 of 20.0 req/s" in drawn
    assert has_its_cursor(shown)


def test_a_terminal_shows_what_is_waited_for() -> None:
    with terminal() as shown, output.sending() as show:
        show(sent(590, ceiling=None, state="waiting for the stock"))
    assert "12.5 req/s   waiting for the stock" in shown.getvalue()


def test_a_terminal_is_left_as_it_was_when_the_upload_fails() -> None:
    def fail() -> None:
        with output.sending():
            raise ValueError("no more")

    with terminal() as shown, pytest.raises(ValueError, match="no more"):
        fail()
    assert has_its_cursor(shown)


def test_a_terminal_shows_the_rows_that_are_read_where_it_takes_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "READING_SECONDS", 0.0)
    with terminal() as shown, output.reading() as read:
        read(1_234_567)
    assert "reading: 1,234,567 rows" in shown.getvalue()
    assert has_its_cursor(shown)


def test_elsewhere_a_line_is_written_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("quanma.cli.output.time.monotonic", lambda: now[0])
    with output.sending() as show:
        for seconds in (0.0, 9.9, 10.0, 19.9, 20.0):
            now[0] = 100.0 + seconds
            show(sent(round(seconds * 10)))
    assert capsys.readouterr().err.splitlines() == [
        "10/1,200 rows   stored 0 existed 7 rejected 3 retries 2  12.5 of 20.0 req/s",
        "110/1,200 rows   stored 100 existed 7 rejected 3 retries 2  12.5 of 20.0 req/s",
        "210/1,200 rows   stored 200 existed 7 rejected 3 retries 2  12.5 of 20.0 req/s",
    ]


def test_elsewhere_reading_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with output.reading() as read:
        read(1_234_567)
    assert capsys.readouterr().err == ""


def test_a_time_is_told_in_its_two_largest_units() -> None:
    assert [output.duration(seconds) for seconds in (0.04, 59.9, 60, 3599.4, 3600, 90_061)] == [
        "0.0 s",
        "59.9 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
        "25 h 1 min",
    ]
