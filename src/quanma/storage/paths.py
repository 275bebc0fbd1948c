"""Names of files in messages and in printed commands. A name is bytes, and need not be a text in any encoding."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path


def shown(path: Path | str) -> str:
    r"""Return a path as text. Bytes of it that are no UTF-8 are told as `\xd3`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def command(words: Iterable[Path | str]) -> str:
    """Return a command line that a shell (bash, zsh, fish ≥ 3.6) reads as these words."""
    return " ".join(map(_word, words))


def _word(word: Path | str) -> str:
    text = str(word)
    if text.isprintable() and text.isascii():
        return shlex.quote(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        if text.isprintable():
            return shlex.quote(text) if re.search(r"[^\w@%+=:,./-]", text) else text
    octets = os.fsencode(text)
    escaped = "".join(chr(one) if 32 <= one < 127 and chr(one) not in "\\'" else f"\\x{one:02x}" for one in octets)
    return f"$'{escaped}'"
