"""Plain text, one coupon code a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Final

from ...errors import SourceUnreadable
from .block import Block
from .content import HEAD_BYTES, Content

LINE_BYTES_MAX: Final = 1024 * 1024
"""A longer line is no row of codes, and reading it whole could fill the memory."""


class PlainText:
    """Lines of a text, each one a code. Lines that are empty or hold only blanks are left out."""

    def __init__(self, content: Content, notes: list[str], *, header: bool = False, trim: bool = False) -> None:
        self.name = content.name
        self.notes = notes
        self._content = content
        self._header = header
        self._trim = trim

    def blocks(self) -> Iterator[Block]:
        header = self._header
        for first_row, text in whole_lines(self.name, self._content.pieces()):
            rows, codes = split(first_row, text, trim=self._trim)
            if header and codes:
                rows, codes, header = rows[1:], codes[1:], False
            if codes:
                yield Block(rows, codes)

    def fingerprint(self) -> str:
        return self._content.fingerprint()


def split(first_row: int, text: str, *, trim: bool = False) -> tuple[Sequence[int], list[str]]:
    """Return the lines of a text that are not blank, with their row numbers.

    A line ends with LF or CRLF, and with nothing else: a lone CR stays, to be reported.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    rows: Sequence[int] = range(first_row, first_row + len(lines))
    # Almost every text holds no blank at all, and then nothing is done per line.
    if _has_blank(text) and (trim or not all(map(str.strip, lines))):
        stripped = list(map(str.strip, lines))
        rows = list(compress(rows, stripped))
        lines = list(filter(None, stripped)) if trim else list(compress(lines, stripped))
    elif "" in lines:
        rows = list(compress(rows, lines))
        lines = list(filter(None, lines))
    return rows, lines


def whole_lines(name: str, pieces: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Cut bytes into texts of whole lines, each with the row number of its first line.

    A byte order mark at the start is left out. A text ends with LF, except perhaps the last.

    Raises:
        SourceUnreadable: bytes that are not UTF-8, or a line longer than LINE_BYTES_MAX.
    """
    row, offset, begun = 1, 0, b""
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        # Only the line that began in an earlier piece can be too long: a piece is shorter than that.
        if len(begun) + (piece.index(b"\n") if end else len(piece)) > LINE_BYTES_MAX:
            raise SourceUnreadable(
                f"{name}: row {row} is longer than {LINE_BYTES_MAX:,} bytes; "
                "is this a file with one coupon code a line?"
            )
        if not end:
            begun += piece
            continue
        whole = begun + piece[:end]
        begun = piece[end:]
        yield row, _decoded(name, row, offset, whole)
        row += whole.count(b"\n")
        offset += len(whole)
    if begun:
        yield row, _decoded(name, row, offset, begun)


def beginning(content: Content) -> str:
    """Return the first lines of an input, to find out what it holds. At most HEAD_BYTES, whole lines only.

    Raises:
        SourceUnreadable: the beginning shows that this is no UTF-8 text.
    """
    head = content.head
    _refuse_what_is_no_text(content.name, head)
    if len(head) >= HEAD_BYTES:
        head = head[: head.rfind(b"\n", 0, HEAD_BYTES) + 1]
    text = "".join(text for _, text in whole_lines(content.name, [head]))
    if "\r" in text and "\n" not in text and "\r" in text.rstrip("\r"):
        raise SourceUnreadable(
            f"{content.name}: lines end with CR alone, as on old Macs; save the file with the line ending LF or CRLF"
        )
    return text


def notes_on(content: Content) -> list[str]:
    """Return what to tell about the bytes of a text."""
    notes = [f"packed with {content.packing}"] if content.packing else []
    if content.head.startswith(_BOM):
        notes.append("encoding UTF-8 with BOM")
    return notes


_BOM: Final = b"\xef\xbb\xbf"
# What str.strip takes away of ASCII, less LF.
_ASCII_BLANKS: Final = " \t\r\v\f\x1c\x1d\x1e\x1f"


def _has_blank(text: str) -> bool:
    return not text.isascii() or any(blank in text for blank in _ASCII_BLANKS)


def _decoded(name: str, row: int, offset: int, data: bytes) -> str:
    start = len(_BOM) if offset == 0 and data.startswith(_BOM) else 0
    try:
        return str(data[start:] if start else data, "utf-8")
    except UnicodeDecodeError as cause:
        at = start + cause.start
        line = data[data.rfind(b"\n", 0, at) + 1 :].split(b"\n", 1)[0]
        row_at = row + data.count(b"\n", 0, at)
        raise SourceUnreadable(
            f"{name}: row {row_at} is not UTF-8 (byte 0x{data[at]:02X} at offset {offset + at:,}"
            f"{', perhaps GBK' if _is_gbk(line) else ''}); save the file as UTF-8, "
            'in Excel as "CSV UTF-8", or convert it: iconv -f GB18030 -t UTF-8'
        ) from cause


def _is_gbk(line: bytes) -> bool:
    try:
        line.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True


_NOT_TEXT: Final = (
    (b"\xff\xfe\0\0", "UTF-32; save it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32; save it as UTF-8"),
    (b"\xff\xfe", 'UTF-16 (byte order mark at offset 0); save it as UTF-8, in Excel as "CSV UTF-8"'),
    (b"\xfe\xff", 'UTF-16 (byte order mark at offset 0); save it as UTF-8, in Excel as "CSV UTF-8"'),
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or name a workbook .xlsx"),
    (b"PAR1", "Parquet; name it .parquet"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook, or one with a password; save it as .xlsx without one"),
)


def _refuse_what_is_no_text(name: str, head: bytes) -> None:
    for magic, what in _NOT_TEXT:
        if head.startswith(magic):
            raise SourceUnreadable(f"{name} is {what}")
    # UTF-16 without a mark: every second byte of ASCII text is zero.
    start = head[:1024]
    for zeros in (start[0::2], start[1::2]):
        if len(zeros) >= 4 and not zeros.strip(b"\0"):
            raise SourceUnreadable(f"{name} is UTF-16 without a byte order mark; save it as UTF-8")
