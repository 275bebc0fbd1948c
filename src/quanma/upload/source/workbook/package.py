"""The zip file that a workbook is: its parts, and how they name each other."""

from __future__ import annotations

import posixpath
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
        try:
            self._zip = zipfile.ZipFile(file)
        except _ZIP_ERRORS as cause:
            raise Damaged(f"it is no whole zip file ({cause})") from cause
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


def key(part: str) -> str:
    """A part's name in the form in which two names of one part are the same."""
    return part.replace("\\", "/").lstrip("/").casefold()


# RuntimeError: a part with a password. NotImplementedError: a zip file of a later version. OSError: a wrong offset.
_ZIP_ERRORS: Final = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OSError)
