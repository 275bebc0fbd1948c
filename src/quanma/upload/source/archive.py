"""What a workbook would unpack to, looked at before anything is unpacked: a few kilobytes can become gigabytes.

A workbook is a zip file, and its directory says how large each part is; no reader gets more out of a part than that.
The limits are ours. Codes come near none of them: a full sheet of a million codes in one column is about 60 MB of XML,
a fifth or a tenth of that packed.
"""

from __future__ import annotations

import zipfile
from typing import IO, Final

from ...errors import SourceUnreadable
from .workbook.markup import Attributes, Markup
from .workbook.package import Package, key

PARTS_MAX: Final = 10_000
SHEET_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Of a sheet, which is read row by row."""
PART_BYTES_MAX: Final = 128 * 1024 * 1024
"""Of any other part. The texts of all cells, xl/sharedStrings.xml, are held in memory."""
LISTING_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of [Content_Types].xml, which says what each part is."""
RATIO_MAX: Final = 100
RATIO_FROM_BYTES: Final = 16 * 1024 * 1024
"""Smaller parts may be packed as tightly as they like."""
_LISTING: Final = "[Content_Types].xml"
_OVERRIDE: Final = "http://schemas.openxmlformats.org/package/2006/content-types Override"
_WORKSHEET: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
_OTHERWISE: Final = "save the sheet with the codes alone as .xlsx, or as .csv"


def look_into(name: str, file: IO[bytes]) -> None:
    """Look at a workbook's directory.

    Raises:
        SourceUnreadable: a part would unpack to too much, or to too much for its size.
        Damaged: it is no workbook.
    """
    package = Package(file)
    parts = package.parts
    if len(parts) > PARTS_MAX:
        raise SourceUnreadable(f"{name} has {len(parts):,} parts, and at most {PARTS_MAX:,} are read: {_OTHERWISE}")
    for part in parts:
        if part.filename.lstrip("/").casefold() == _LISTING.casefold() and part.file_size > LISTING_BYTES_MAX:
            raise _too_large(name, part, LISTING_BYTES_MAX)
    sheets = _sheets(package)
    for part in parts:
        bytes_max = SHEET_BYTES_MAX if key(part.filename) in sheets else PART_BYTES_MAX
        if part.file_size > bytes_max:
            raise _too_large(name, part, bytes_max)
        if part.file_size > RATIO_FROM_BYTES and part.file_size > RATIO_MAX * max(part.compress_size, 1):
            ratio = part.file_size // max(part.compress_size, 1)
            raise SourceUnreadable(
                f"{name}: {part.filename!r} in it would unpack to {part.file_size:,} bytes, {ratio:,} times its size, "
                f"and at most {RATIO_MAX} times is read: {_OTHERWISE}"
            )


def _too_large(name: str, part: zipfile.ZipInfo, bytes_max: int) -> SourceUnreadable:
    return SourceUnreadable(
        f"{name}: {part.filename!r} in it would unpack to {part.file_size:,} bytes, and at most {bytes_max:,} are "
        f"read: {_OTHERWISE}"
    )


def _sheets(package: Package) -> set[str]:
    """The parts that are sheets and nothing else. What is named twice, or lies elsewhere, may be read as another."""
    types: dict[str, set[str]] = {}

    def start(name: str, attributes: Attributes) -> None:
        if name == _OVERRIDE:
            types.setdefault(key(attributes.get("PartName", "")), set()).add(attributes.get("ContentType", ""))

    Markup(start).read(package.pieces(_LISTING))
    return {part for part, kinds in types.items() if kinds == {_WORKSHEET} and part.startswith("xl/worksheets/")}
