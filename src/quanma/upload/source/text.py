"""Plain text, one coupon code a line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Final

from ...errors import SourceUnreadable
from .block import Block
from .content import HEAD_BYTES
from .encoding import BOM, Text
from .layout import Layout, find
from .reading import Reading
from .table import cell_text

LINE_BYTES_MAX: Final = 1024 * 1024
"""A longer line is no row of codes, and reading it whole could fill the memory."""


class PlainText:
    """Lines of a text, each one a code. Lines that are empty or hold only blanks are left out."""

    def __init__(self, text: Text, layout: Layout, reading: Reading) -> None:
        self.name = text.name
        self.notes = [*text.notes, "text, one code a line"]
        if layout.header is not None:
            self.notes.append(f"row {layout.header_row}, '{layout.header[0].strip()}', is a header and not a code")
        if layout.titles:
            self.notes.append("what stands above it is a title and no code")
        self._text = text
        self._layout = layout
        self._reading = reading

    def blocks(self) -> Iterator[Block]:
        begin = self._layout.header_row
        for first_row, text in whole_lines(self.name, self._text.pieces()):
            rows, codes = split(first_row, text, trim=self._reading.trim)
            if codes and rows[0] <= begin:
                at = bisect_right(rows, begin)
                rows, codes = rows[at:], codes[at:]
            if codes:
                yield self._block(rows, codes)

    @property
    def values_seen(self) -> Mapping[str, Sequence[str]]:
        return {}

    def fingerprint(self) -> str:
        return self._text.fingerprint()

    def _block(self, rows: Sequence[int], codes: list[str]) -> Block:
        if not self._layout.words_row and self._reading.digits is None:
            return Block(rows, codes)
        remarks: list[tuple[str, int]] = []
        if self._layout.words_row and self._layout.words_row in rows:
            remarks.append(("FIRST_ROW_WORDS", self._layout.words_row))
        if self._reading.digits is not None:
            taken = [cell_text(code, self._reading) for code in codes]
            codes = [one.text for one in taken]
            remarks += [(one.remark, row) for row, one in zip(rows, taken, strict=True) if one.remark is not None]
        return Block(rows, codes, remarks=remarks)


def open_plain_text(text: Text, sample: str, reading: Reading) -> PlainText:
    """Open a text of one code a line. A header, and titles above it, are found as in a table.

    Raises:
        SourceUnreadable: `--where` names a column; or a header may stand below codes.
    """
    if reading.where:
        raise SourceUnreadable(f"{text.name} is a text with one code a line, and has no columns for --where")
    rows, lines = split(1, sample)
    first_rows = [(row, [line]) for row, line in zip(rows[:SAMPLE_ROWS], lines, strict=False)]
    return PlainText(text, find(text.name, first_rows, reading), reading)


SAMPLE_ROWS: Final = 200


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


def beginning(text: Text) -> str:
    """Return the first lines of an input, to find out what it holds. At most HEAD_BYTES.

    They are whole lines, unless the first one that is not blank is longer than that.

    Raises:
        SourceUnreadable: the beginning shows that this is no text.
    """
    _refuse_what_is_no_text(text.name, text)
    head = text.head
    if len(head) >= HEAD_BYTES:
        end = head.rfind(b"\n", 0, HEAD_BYTES) + 1
        anything = head[:end].removeprefix(BOM).strip()
        head = head[:end] if anything else head[:HEAD_BYTES].decode("utf-8", "ignore").encode()
    return "".join(lines for _, lines in whole_lines(text.name, [head]))


# What str.strip takes away of ASCII, less LF.
_ASCII_BLANKS: Final = " \t\r\v\f\x1c\x1d\x1e\x1f"


def _has_blank(text: str) -> bool:
    return not text.isascii() or any(blank in text for blank in _ASCII_BLANKS)


def _decoded(name: str, row: int, offset: int, data: bytes) -> str:
    start = len(BOM) if offset == 0 and data.startswith(BOM) else 0
    try:
        return str(data[start:] if start else data, "utf-8")
    except UnicodeDecodeError as cause:
        at = start + cause.start
        line = data[data.rfind(b"\n", 0, at) + 1 :].split(b"\n", 1)[0]
        row_at = row + data.count(b"\n", 0, at)
        gbk = _is_gbk(line)
        raise SourceUnreadable(
            f"{name}: row {row_at} is not UTF-8 (byte 0x{data[at]:02X} at offset {offset + at:,}"
            f"{', perhaps GBK' if gbk else ''}); "
            f"{'read it with --encoding gb18030, or ' if gbk else ''}"
            'save the file as UTF-8, in Excel as "CSV UTF-8"'
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
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or name a workbook .xlsx"),
    (b"PAR1", "Parquet; name it .parquet"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook, or one with a password; save it as .xlsx without one"),
)


def _refuse_what_is_no_text(name: str, text: Text) -> None:
    head = text.raw_head
    for magic, what in _NOT_TEXT:
        if head.startswith(magic):
            raise SourceUnreadable(f"{name} is {what}")
    if text.encoding.startswith("utf-16"):
        return
    # UTF-16 without a mark: every second byte of ASCII text is zero.
    start = head[:1024]
    for zeros in (start[0::2], start[1::2]):
        if len(zeros) >= 4 and not zeros.strip(b"\0"):
            raise SourceUnreadable(
                f"{name} is UTF-16 without a byte order mark; read it with --encoding utf-16-le, or save it as UTF-8"
            )
