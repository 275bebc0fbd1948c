"""A printed command is read by a shell as the words it was made of, whatever they hold."""

from __future__ import annotations

import os
import subprocess

from hypothesis import example, given, settings
from hypothesis import strategies as st

from quanma.storage import paths

WORDS = st.binary(min_size=1, max_size=8).map(lambda octets: octets.replace(b"\0", b"n"))


@settings(max_examples=25, deadline=None)
@example(["优惠券.csv".encode("gbk"), "优惠 券's.csv".encode(), b"-x", b"a\\b'c\nd", b"$HOME", b"~", "１".encode()])
@given(st.lists(WORDS, min_size=1, max_size=6))
def test_bash_reads_the_words_again(words: list[bytes]) -> None:
    line = paths.command(map(os.fsdecode, words))
    assert "\n" not in line
    line.encode()
    read = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    assert read.split(b"\0")[:-1] == words


def test_a_plain_path_is_shown_as_it_is() -> None:
    assert (
        paths.command(["quanma", "report", "优惠券.csv.98065001.quanma"]) == "quanma report 优惠券.csv.98065001.quanma"
    )
    assert paths.shown(os.fsdecode("优.csv".encode("gbk"))) == "\\xd3\\xc5.csv"
