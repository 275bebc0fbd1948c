"""The text of an input as UTF-8, whatever encoding it is in. Row numbers and line ends stay what they are."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Final

from ...errors import RequestInvalid, SourceUnreadable
from .content import HEAD_BYTES, Content

BOM: Final = b"\xef\xbb\xbf"


class Text:
    """An input's text. head is its beginning; pieces gives all of it; both in UTF-8, with the mark if there is one.

    The encoding is what the user says; else UTF-8, or UTF-16 where its mark stands first, or GB18030 where the
    beginning is no UTF-8 and is GB18030. That the last is right can't be known. It does no harm: a code is ASCII in
    all three, and a text that isn't is refused.
    """

    def __init__(self, content: Content, encoding: str | None = None) -> None:
        """Raises RequestInvalid: there is no such encoding."""
        self.name = content.name
        self.raw_head = content.head
        self._content = content
        self.encoding = _checked(encoding) if encoding is not None else _found(content.head)
        self._guessed = encoding is None
        self.head = content.head if self.encoding == UTF_8 else self._decoded_head()

    @property
    def notes(self) -> list[str]:
        """What to tell about the bytes."""
        notes = [f"packed with {self._content.packing}"] if self._content.packing else []
        if self.encoding == "gb18030" and self._guessed:
            notes.append("encoding GB18030, as it seems: it is no UTF-8 (--encoding says another)")
        elif self.encoding != UTF_8:
            notes.append(f"encoding {self.encoding.upper()}")
        elif self.head.startswith(BOM):
            notes.append("encoding UTF-8 with BOM")
        return notes

    def pieces(self) -> Iterator[bytes]:
        """Read all of it from the start.

        Raises:
            SourceUnreadable: a row is not in this encoding. (Whether it is UTF-8, who reads it finds out.)
        """
        pieces = self._content.pieces()
        return pieces if self.encoding == UTF_8 else self._transcoded(pieces)

    def fingerprint(self) -> str:
        return self._content.fingerprint()

    def _transcoded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        rows = 0
        for piece in _with_end(pieces):
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as cause:
                near = cause.object[: cause.start].decode(self.encoding, "replace").count("\n")
                raise SourceUnreadable(
                    f"{self.name}: row {rows + near + 1} is not {self.encoding.upper()}; say its encoding with "
                    "--encoding, or save the file as UTF-8"
                ) from cause
            rows += text.count("\n")
            # Half a pair of UTF-16 is no character: it becomes one that no code holds.
            yield text.encode("utf-8", "replace")

    def _decoded_head(self) -> bytes:
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        return decoder.decode(self.raw_head).encode("utf-8", "replace")


UTF_8: Final = "utf-8"


def _with_end(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
    yield b""


def _checked(encoding: str) -> str:
    try:
        found = codecs.lookup(encoding)
        if not found._is_text_encoding:  # As open() asks.
            raise LookupError
    except (LookupError, ValueError):
        raise RequestInvalid(f"--encoding {encoding[:40]} is not known: say utf-8, gb18030, utf-16 or big5") from None
    # GBK and GB2312 are parts of it.
    return {"utf-8-sig": UTF_8, "gbk": "gb18030", "gb2312": "gb18030", "ascii": UTF_8}.get(found.name, found.name)


def _found(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and not head.startswith(b"\xff\xfe\0\0"):
        return "utf-16"
    if b"\0" in head or _decodes(head, UTF_8) or not _decodes(head, "gb18030"):
        return UTF_8
    # UTF-8 with a damaged place, or cut off, is no GB18030: most of what is not ASCII there is right.
    text = head.decode(UTF_8, "replace")
    wrong = text.count("\ufffd")
    right = sum(not character.isascii() for character in text) - wrong
    return UTF_8 if right > wrong or _cut_off(head) else "gb18030"


def _cut_off(head: bytes) -> bool:
    """Whether only the end of the last character is missing."""
    try:
        head.decode(UTF_8)
    except UnicodeDecodeError as problem:
        return problem.reason == "unexpected end of data"
    return False


def _decodes(head: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        decoder.decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return False
    return True
