"""The misuse file can fail: without its ignores, a checker complains of every marked line, and of no other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISUSE = (ROOT / "typing_tests" / "misuse.py").read_text("utf-8")


@pytest.mark.slow
def test_mypy_catches_every_marked_mistake_and_nothing_else(tmp_path: Path) -> None:
    stripped = tmp_path / "misuse.py"
    stripped.write_text(re.sub(r"  # (type|pyright): ignore\[.*\]", "", MISUSE), "utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--no-pretty", str(stripped)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.stderr == ""
    assert set(re.findall(r"misuse\.py:(\d+): error: .*\[([\w-]+)\]", run.stdout)) == set(marked("type"))


def test_both_checkers_are_held_to_the_same_mistakes() -> None:
    # Only mypy sees a plain call whose await was forgotten.
    alone = {line for line, code in marked("type") if code == "unused-awaitable"}
    assert {line for line, _ in marked("pyright")} == {line for line, _ in marked("type")} - alone
    assert len(alone) == 1


def marked(checker: str) -> list[tuple[str, str]]:
    """Line numbers and codes of a checker's ignores."""
    lines = enumerate(MISUSE.splitlines(), 1)
    return [
        (str(number), code) for number, line in lines for code in re.findall(rf"# {checker}: ignore\[([\w-]+)\]", line)
    ]
