"""The texts that cells name by number, xl/sharedStrings.xml: a million of them in little memory."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import Final

from .cells import TEXT_CHARACTERS_MAX, meant
from .elements import batches
from .markup import Attributes, Damaged


class Strings:
    """All texts in one run of bytes, and where each begins: 4 bytes beside its own.

    A text of Python's takes 50 more.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._starts = array("I", (0,))
        self._with_nul: dict[int, str] = {}
        self._searched: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._starts) - 1

    def read(self, pieces: Iterator[bytes]) -> None:
        """Add the texts of a part. Raises Damaged: it is none of shared texts."""
        for texts in batches(pieces, _Reader()):
            self._add(texts)

    def may_hold(self, words: Sequence[str]) -> bool:
        """Say whether one of the words stands in any of the texts. Looked for once; say it when all are read."""
        for word in words:
            if word not in self._searched:
                self._searched[word] = word.encode() in self._bytes or bool(self._with_nul)
        return any(self._searched[word] for word in words)

    def many(self, numbers: Sequence[int]) -> list[str | None]:
        """Return the texts of these numbers; None for one that is not there."""
        if not numbers:
            return []
        low, high = min(numbers), max(numbers)
        if low < 0 or high >= len(self) or self._with_nul:
            return [self._one(number) for number in numbers]
        if high - low < 8 * len(numbers) + 100:
            # Numbers near each other, as writers give them: one look at all texts from the lowest to the highest.
            span: list[str | None] = list(self._span(low, high + 1).split(_BETWEEN))
            if len(span) == len(numbers) and numbers == list(range(low, high + 1)):
                return span
            return [span[number - low] for number in numbers]
        return [self._span(number, number + 1) for number in numbers]

    def _one(self, number: int) -> str | None:
        if not 0 <= number < len(self):
            return None
        return self._with_nul.get(number) or self._span(number, number + 1)

    def _span(self, first: int, end: int) -> str:
        return self._bytes[self._starts[first] : self._starts[end] - 1].decode()

    def _add(self, texts: list[bytes]) -> None:
        if not texts:
            return
        joined = _BETWEEN_BYTES.join(texts) + _BETWEEN_BYTES
        if joined.count(_BETWEEN_BYTES) > len(texts):
            for at, text in enumerate(texts, len(self)):
                if _BETWEEN_BYTES in text:
                    self._with_nul[at] = text.decode()
            self._add([b"" if _BETWEEN_BYTES in text else text for text in texts])
            return
        ends = accumulate(map(len, texts), lambda end, length: end + length + 1, initial=len(self._bytes))
        self._starts.extend(islice(ends, 1, None))
        self._bytes += joined


_BETWEEN: Final = "\0"
_BETWEEN_BYTES: Final = b"\0"


class _Reader:
    root = container = "sst"
    element = "si"

    def quick(self, block: bytes) -> list[bytes] | None:
        if not plain(block):
            return None
        alike = block.startswith(_BEFORE) and block.endswith(_BEHIND)
        if alike and len(block.translate(None, _FORBIDDEN)) == len(block):
            # As nearly all are: nothing but the text in each item.
            texts = block[len(_BEFORE) : -len(_BEHIND)].split(_BEHIND + _BEFORE)
            if block.count(b"<") == block.count(b">") == 4 * len(texts):
                return texts
        texts = _ITEM.findall(block)
        # Every tag of the block belongs to an item that the pattern knows whole.
        return texts if block.count(b"<") == 4 * len(texts) + block.count(b"<phoneticPr") else None

    def by_expat(self) -> _Expat:
        return _Expat()


TEXT: Final = rb"[^<>&\x00-\x08\x0b-\x1f]"
"""A character that XML takes as it is: not forbidden, not changed (a carriage return), no markup."""
_FORBIDDEN: Final = bytes((*range(9), *range(11, 32)))
_BEFORE: Final = b"<si><t>"
_BEHIND: Final = b"</t></si>"
_ITEM: Final = re.compile(
    rb'<si><t(?: xml:space="preserve")?>(' + TEXT + rb"*)</t>"
    # Excel in China writes it behind each text.
    rb'(?:<phoneticPr fontId="[0-9]+"(?: type="[a-zA-Z]+")?(?: alignment="[a-zA-Z]+")?/>)?</si>'
)


def plain(block: bytes) -> bool:
    """Say whether its texts may be taken as they stand: UTF-8, no entities, no `_xHHHH_`, no U+FFFE and its like."""
    if b"&" in block or b"_x" in block or b"\xef\xbf" in block:
        return False
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Expat:
    """A text's pieces: those of its runs too, but not how it is spoken (`rPh`)."""

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._text: list[str] = []
        self._characters = 0
        self._spoken = 0
        self._open = False
        self._inside = False
        self._rooted = False

    def start(self, name: str, attributes: Attributes) -> None:
        if not self._rooted:
            self._rooted = True
            if name != "sst":
                raise Damaged(f"it begins with <{name}> and not with <sst>")
        if name == "si":
            self._open, self._text, self._characters = True, [], 0
        elif name == "rPh":
            self._spoken += 1
        elif name == "t":
            self._inside = self._open and not self._spoken

    def end(self, name: str) -> None:
        if name == "t":
            self._inside = False
        elif name == "rPh":
            self._spoken -= 1
        elif name == "si":
            self._open = False
            self._done.append(meant("".join(self._text)).encode())

    def text(self, text: str) -> None:
        if self._inside:
            self._text.append(text)
            self._characters += len(text)
            if self._characters > TEXT_CHARACTERS_MAX:
                raise Damaged(f"a text in it is longer than {TEXT_CHARACTERS_MAX:,} characters")

    def take(self) -> list[bytes]:
        done, self._done = self._done, []
        return done

    def settle(self) -> None: ...
