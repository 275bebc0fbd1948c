"""The zip file that a workbook is: its parts, and how they name each other."""

from __future__ import annotations

import os
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Final, NamedTuple
from urllib.parse import unquote

from .markup import Attributes, Damaged, Markup

PIECE_BYTES: Final = 1024 * 1024
_RELATIONSHIP: Final = "http://schemas.openxmlformats.org/package/2006/relationships Relationship"


class Relation(NamedTuple):
    """What a part names as belonging to it."""

    kind: str
    """The last word of its type, `worksheet`: the same in the strict form."""
    part: str


class Package:
    """A zip file whose directory was looked at before (see `archive`)."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises Damaged: it is no zip file."""
        self._zip = opened_zip(file)
        self.parts = self._zip.infolist()
        # Part names are compared without regard to case. Source: documented, ECMA-376 part 2, 6.2.2.3.
        self._parts = {key(part.filename): part for part in self.parts}

    def has(self, part: str) -> bool:
        return key(part) in self._parts

    def size(self, part: str) -> int:
        """How many bytes a part unpacks to, as the directory says, and no reader gets more. Raises Damaged: none."""
        return self._found(part).file_size

    def pieces(self, part: str, first_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
        """Read a part, PIECE_BYTES at a time at most, the first piece shorter if wished.

        Raises Damaged: there is no such part, or it can't be unpacked.
        """
        found = self._found(part)
        if found.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Damaged(f"the part {part!r} is packed in a way that no workbook is")
        try:
            with self._zip.open(found) as stream:
                size = first_bytes
                while piece := stream.read(size):
                    yield piece
                    size = PIECE_BYTES
        except _ZIP_ERRORS as cause:
            raise Damaged(f"the part {part!r} can't be unpacked ({str(cause) or 'it is cut off'})") from cause

    def relations(self, part: str) -> dict[str, Relation]:
        """What a part names, by the id that it uses; "" is the package itself. External targets are left out."""
        folder, file = posixpath.split(part)
        found: dict[str, Relation] = {}
        listing = posixpath.join(folder, "_rels", f"{file}.rels")
        if not self.has(listing):
            return found

        def start(name: str, attributes: Attributes) -> None:
            if name == _RELATIONSHIP and attributes.get("TargetMode") != "External":
                kind = attributes.get("Type", "").rpartition("/")[2]
                found[attributes.get("Id", "")] = Relation(kind, self._target(folder, attributes.get("Target", "")))

        Markup(start).read(self.pieces(listing))
        return found

    def _found(self, part: str) -> zipfile.ZipInfo:
        found = self._parts.get(key(part))
        if found is None:
            raise Damaged(f"the part {part!r} is missing")
        return found

    def _target(self, folder: str, target: str) -> str:
        joined = posixpath.normpath(posixpath.join("/", folder, target.replace("\\", "/"))).lstrip("/")
        return joined if self.has(joined) else unquote(joined)


def opened_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """Open a zip file by its directory, all of which is held in memory.

    Raises Damaged: it is none, or its directory is larger than DIRECTORY_BYTES_MAX.
    """
    try:
        if (size := _directory_bytes(file)) > DIRECTORY_BYTES_MAX:
            raise Damaged(f"its directory has {size:,} bytes, and at most {DIRECTORY_BYTES_MAX:,} are read")
        return zipfile.ZipFile(file)
    except _ZIP_ERRORS as cause:
        raise Damaged(f"it is no whole zip file ({cause})") from cause


DIRECTORY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Our choice. An entry takes some hundred bytes, a workbook has a few dozen."""


def _directory_bytes(file: IO[bytes]) -> int:
    """The most that a record at the end of a zip file says of its directory. Source: documented, APPNOTE.TXT 4.3."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - _TAIL_BYTES))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        return 0
    sizes = [int.from_bytes(tail[at + 12 : at + 16], "little") % 0xFFFFFFFF]
    sizes += [
        int.from_bytes(tail[found.start() + 40 : found.start() + 48], "little")
        for found in re.finditer(rb"PK\x06\x06", tail)
    ]
    for found in re.finditer(rb"PK\x06\x07", tail):
        place = int.from_bytes(tail[found.start() + 8 : found.start() + 16], "little")
        if place < length:
            file.seek(place)
            record = file.read(48)
            sizes.append(int.from_bytes(record[40:48], "little") if record.startswith(b"PK\x06\x06") else 0)
    return max(size for size in sizes if size <= length) if min(sizes) <= length else 0


_TAIL_BYTES: Final = 128 * 1024
"""A comment behind the directory has at most half of it."""


def key(part: str) -> str:
    """A part's name in the form in which two names of one part are the same."""
    return part.replace("\\", "/").lstrip("/").casefold()


# RuntimeError: a part with a password. NotImplementedError: a zip file of a later version. OSError: a wrong offset.
_ZIP_ERRORS: Final = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OSError)
