"""What a file is, by its first bytes: kinds that are not read, named as what they are, with what to do."""

from __future__ import annotations

import re
import zipfile
import zlib
from typing import IO, Final

from .workbook.markup import Damaged
from .workbook.package import opened_zip

HEAD_BYTES: Final = 64 * 1024
_SAVE: Final = "open it in a spreadsheet program and save it as .xlsx"
_PACKED: Final = (
    (b"BZh", "packed with bzip2: unpack it with bunzip2"),
    (b"\xfd7zXZ\0", "packed with xz: unpack it with unxz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it, and give the file in it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it, and give the file in it"),
    (b"%PDF-", "a PDF: ask for the codes as .xlsx or .csv"),
    (b"\x04\x22\x4d\x18", "packed with lz4: unpack it with lz4 -d"),
    (b"SQLite format 3\0", "a SQLite database: take the codes from a query with --sql sqlite:///…"),
)
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_BEGUN: Final = _OLE[:4]
_OLD_EXCEL: Final = f"an old Excel workbook (.xls; WPS: .et): {_SAVE}"
_PASSWORD: Final = "an Excel workbook with a password: open it, take the password off, and save it as .xlsx"
_ZIP: Final = b"PK\x03\x04"
_ZIPPED: Final = (
    ("xl/workbook.bin", f"a binary Excel workbook (.xlsb): {_SAVE}"),
    ("index/document.iwa", "a Numbers document (.numbers): export it as .xlsx or .csv"),
    ("index.zip", "a Numbers document (.numbers): export it as .xlsx or .csv"),
    ("word/document.xml", "a Word document: copy its table into a spreadsheet, as text, and save it as .xlsx"),
    ("ppt/presentation.xml", "a PowerPoint document: ask for the codes as .xlsx or .csv"),
)
_HTML: Final = re.compile(
    rb"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head|body|table|meta)\b", re.IGNORECASE | re.DOTALL
)
_XML_2003: Final = b"urn:schemas-microsoft-com:office:spreadsheet"


def other_kind(file: IO[bytes]) -> str | None:
    """Return what a file is that is neither text nor a workbook nor Parquet: its kind, and what to do. Else None.

    A zip file in which a workbook of ours lies is none of these.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    for magic, what in _PACKED:
        if head.startswith(magic):
            return what
    if head.startswith(_OLE_BEGUN):
        return _PASSWORD if "EncryptedPackage".encode("utf-16-le") in head else _OLD_EXCEL
    if head.startswith(_ZIP):
        return _other_zip(file)
    if _HTML.match(head.removeprefix(b"\xef\xbb\xbf")):
        return f"a web page (HTML), as some back offices name .xls: {_SAVE}"
    if _XML_2003 in head[:2000]:
        return f"an XML spreadsheet of Excel 2003: {_SAVE}"
    return None


def no_workbook(file: IO[bytes]) -> str | None:
    """Return what a file is that is no workbook, and what to do; None: it may be one."""
    other = other_kind(file)
    if other is None:
        file.seek(0)
        head = file.read(4)
        if not head:
            other = "empty: export it again"
        elif head != _ZIP:
            other = "no zip file, as each workbook is: if it is a text, name it .csv or .txt"
    file.seek(0)
    return other


def holds_workbook(file: IO[bytes]) -> bool:
    """Say whether a file, whatever it is named, is a zip file with a workbook in it."""
    file.seek(0)
    return file.read(4) == _ZIP and other_kind(file) is None


def _other_zip(file: IO[bytes]) -> str | None:
    try:
        with opened_zip(file) as archive:
            names = {name.replace("\\", "/").lstrip("/").casefold() for name in archive.namelist()}
            kind = b""
            if "mimetype" in archive.namelist() and archive.getinfo("mimetype").file_size < 200:
                kind = archive.read("mimetype")
    except (Damaged, zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, RuntimeError, EOFError, OSError):
        return "a zip file that is cut off or damaged: copy or export it again"
    if kind.startswith(b"application/vnd.oasis.opendocument"):
        return f"an OpenDocument file (.ods): {_SAVE}"
    for part, what in _ZIPPED:
        if part in names:
            return what
    if "[content_types].xml" in names:
        return None
    return "a zip archive: unpack it, and give the file in it"
