"""docs/en/transcript.md and docs/zh/transcript.md hold what the program prints, each in its language."""

from __future__ import annotations

import re

import pytest

from tests.cli.test_languages import english_in
from tools import transcript

LANGUAGES = list(transcript.LOCALES)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_transcript_is_what_the_program_prints(language: str) -> None:
    assert transcript.text(language) == printed(language), "run `python -m tools.transcript`"


def test_the_chinese_transcript_holds_no_english_sentence() -> None:
    lines = [line for line in "".join(shown("zh")).splitlines() if not line.startswith("$ ")]
    assert english_in("\n".join(lines)) == []
    assert len(lines) > 60


def test_both_transcripts_run_the_same_commands_and_end_the_same() -> None:
    english, chinese = (
        [re.findall(r"^\$ .*$|^\d+$", block, re.MULTILINE) for block in shown(language)] for language in LANGUAGES
    )
    assert english == chinese


def printed(language: str) -> str:
    return transcript.page(language).read_text("utf-8")


def shown(language: str) -> list[str]:
    """What is shown of a terminal."""
    return re.findall(r"^```console\n(.*?)^```$", printed(language), re.MULTILINE | re.DOTALL)
