"""`quanma codes`: what is made is what was asked for, and legal everywhere; what is checked is told for each target."""

from __future__ import annotations

import re
from pathlib import Path

from quanma.upload.codes import check_character
from quanma.upload.target import TARGETS
from tests.cli.conftest import Quanma
from tests.support.every import every_row
from tests.support.platform import mode_of


def test_a_code_is_sixteen_unmistakable_characters(quanma: Quanma) -> None:
    ended = quanma("codes", "generate", "20")
    made = ended.out.splitlines()
    assert (ended.status, len(set(made))) == (0, 20)
    assert all(re.fullmatch("[2-9A-HJ-NP-Z]{16}", code) for code in made)


def test_length_prefix_and_check_digit_are_as_asked(quanma: Quanma) -> None:
    made = quanma("codes", "generate", "20", "--length", "20", "--prefix", "QM26", "--check-digit").out.splitlines()
    assert all(re.fullmatch("QM26[2-9A-HJ-NP-Z]{16}", code) for code in made)
    assert all(code[-1] == check_character(code[:-1]) for code in made)


def test_a_file_of_codes_is_private_and_new(quanma: Quanma, tmp_path: Path) -> None:
    ended = quanma("codes", "generate", "3", "--out", "codes.txt")
    assert (ended.status, ended.out, ended.err) == (0, "", "codes.txt: 3 codes\n")
    assert len((tmp_path / "codes.txt").read_text().splitlines()) == 3
    assert mode_of(tmp_path / "codes.txt") == 0o600
    again = quanma("codes", "generate", "3", "--out", "codes.txt")
    assert again.status == 1
    assert "codes.txt can't be written: File exists: name a new file" in again.err


@every_row(
    ("arguments", "status", "reason"),
    [
        (["3", "--length", "5"], 1, "length 5 is not between 6 and 20"),
        (["3", "--length", "21"], 1, "length 21 is not between 6 and 20"),
        (["3", "--prefix", "券"], 1, "has other characters than letters and digits"),
        (["2000", "--length", "6"], 1, "could be guessed: take a longer --length"),
        (["3", "--length", "8", "--prefix", "ABCDEFGH"], 1, "0 random characters"),
        (["0"], 2, "0 is not in the range x>=1"),
    ],
)
def test_codes_that_would_not_do_are_not_made(quanma: Quanma, arguments: list[str], status: int, reason: str) -> None:
    ended = quanma("codes", "generate", *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert reason in ended.err


def test_what_was_made_is_taken_by_every_target(quanma: Quanma) -> None:
    quanma("codes", "generate", "50", "--out", "codes.txt")
    ended = quanma("codes", "check", "codes.txt")
    assert ended.status == 0
    assert ended.out.count("takes 50 of 50 rows") == len(TARGETS)


def test_a_code_that_one_target_refuses_is_told_with_its_row(quanma: Quanma, tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("code,name\n A1 ,x\nB券2,y\nC3,z\n")
    ended = quanma("codes", "check", "codes.csv", "--column", "code", "--trim")
    assert ended.status == 3
    assert "takes 2 of 3 rows" in ended.out
    assert "(row 3): character 2 is" in ended.out
    assert "B券2" not in ended.out
