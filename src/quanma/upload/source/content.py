"""The bytes of one input: a file, a pipe or standard input, as it is or packed with gzip or zstd."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import IO, Final

from ...errors import SourceUnreadable
from ...storage import paths
from ...storage.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

PIECE_BYTES: Final = 256 * 1024
"""The most that pieces() gives at a time. Larger pieces read no faster."""

HEAD_BYTES: Final = 64 * 1024


class Content:
    """The unpacked bytes of an input.

    head holds its beginning, HEAD_BYTES or more unless the whole is shorter. packing is "gzip", "zstd" or "".
    """

    def __init__(self, path: str) -> None:
        self.name = name_of(path)
        self.packing = ""
        self._path = path
        self._digest: str | None = None
        # A pipe (`<(…)` in a shell) forgets what was read of it, like standard input.
        self.repeatable = path != "-" and _is_regular_file(path)
        unpacked = self._unpacked()
        begun = list(_at_least(HEAD_BYTES, unpacked))
        self.head = b"".join(begun)
        self._rest: Iterator[bytes] | None = None
        if self.repeatable:
            unpacked.close()
        else:
            self._rest = chain(begun, unpacked)

    def pieces(self) -> Iterator[bytes]:
        """Read all bytes from the start, at most PIECE_BYTES at a time."""
        if self.repeatable:
            return self._unpacked()
        if self._rest is None:
            raise SourceUnreadable(f"{self.name} can be read only once; save it as a file to read it again")
        rest, self._rest = self._rest, None
        return rest

    def fingerprint(self) -> str:
        """Return the SHA-256 of the bytes before unpacking. Promises: see Source."""
        if self._digest is None:
            if not self.repeatable:
                raise SourceUnreadable(f"{self.name} has no fingerprint before it is read to its end")
            for _ in self._raw():
                pass
        assert self._digest is not None
        return self._digest

    def _unpacked(self) -> Generator[bytes, None, None]:
        raw = self._raw()
        first = next(raw, b"")
        self.packing = _packing(self._path, self.name, first)
        pieces = chain((first,), raw)
        if self.packing == "gzip":
            yield from _gunzipped(self.name, pieces)
        elif self.packing == "zstd":
            yield from _unzstd(self.name, pieces)
        elif first:
            yield from pieces

    def _raw(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        try:
            with self._open() as stream:
                while piece := stream.read(PIECE_BYTES):
                    digest.update(piece)
                    yield piece
        except OSError as cause:
            raise SourceUnreadable(f"{self.name} cannot be read: {cause.strerror}") from cause
        self._digest = digest.hexdigest()

    def _open(self) -> AbstractContextManager[IO[bytes]]:
        return nullcontext(sys.stdin.buffer) if self._path == "-" else open(self._path, "rb")


def name_of(path: str) -> str:
    """Return what messages and the ledger call an input."""
    if path == "-":
        return STANDARD_INPUT
    if _DESCRIPTOR.match(path):
        return PIPE
    try:
        kind = os.stat(path).st_mode
    except (OSError, ValueError):  # Told when it is opened.
        return paths.shown(path)
    return PIPE if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind) else paths.shown(path)


STANDARD_INPUT: Final = "standard input"
PIPE: Final = "pipe"
"""What is gone once it is read: `<(…)` in a shell, whose path is another one each time, or a named pipe."""
_DESCRIPTOR: Final = re.compile(r"/dev/(?:fd/|stdin$)|/proc/(?:self|[0-9]+)/fd/")


def _is_regular_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as cause:
        raise SourceUnreadable(f"{name_of(path)} cannot be read: {cause.strerror}") from cause


def _at_least(size_bytes: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        size_bytes -= len(piece)
        if size_bytes <= 0:
            return


def _packing(path: str, name: str, first: bytes) -> str:
    # By content, not by name: no text begins with these bytes, and standard input has no name.
    if first.startswith(b"\x1f\x8b"):
        return "gzip"
    # zstd frames; the second kind holds no data, but files made by several threads begin with one.
    if first.startswith(b"\x28\xb5\x2f\xfd") or (first[1:4] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50):
        return "zstd"
    for ending, packing in ((".gz", "gzip"), (".zst", "zstd")):
        if path.lower().endswith(ending):
            raise SourceUnreadable(f"{name} is named {ending}, but its content is not {packing}")
    return ""


def _gunzipped(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    member, begun = zlib.decompressobj(wbits=31), False
    try:
        for piece in pieces:
            # Between members: tape programs fill up with zeros behind the last one.
            while piece := piece if begun else piece.lstrip(b"\0"):
                # A bound on what comes out: a few bytes can unpack to gigabytes.
                unpacked, begun = member.decompress(piece, PIECE_BYTES), True
                if unpacked:
                    yield unpacked
                piece = member.unconsumed_tail
                if member.eof:
                    piece = member.unused_data
                    member, begun = zlib.decompressobj(wbits=31), False
        # What a full output left inside the decompressor.
        while begun and not member.eof and (unpacked := member.decompress(b"", PIECE_BYTES)):
            yield unpacked
    except zlib.error as cause:
        raise SourceUnreadable(f"{name} is damaged: {cause}") from cause
    if begun and not member.eof:
        raise SourceUnreadable(f"{name} ends inside its gzip data: it was cut off, copy it again")


def _unzstd(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    frame, begun = _zstd_frame(), False
    try:
        for piece in pieces:
            while piece or (begun and not frame.needs_input):
                # A bound on what comes out: 256 bytes can unpack to megabytes.
                unpacked, begun = frame.decompress(piece, PIECE_BYTES), True
                if unpacked:
                    yield unpacked
                piece = b""
                if frame.eof:
                    piece = frame.unused_data
                    frame, begun = _zstd_frame(), False
    except ZstdError as cause:
        if "too much memory" in str(cause):
            raise SourceUnreadable(
                f"{name} was packed with a window of more than {2**ZSTD_WINDOW_LOG_MAX // 2**20} MiB: unpack it with "
                "zstd -d --long=31, and give the unpacked file"
            ) from cause
        raise SourceUnreadable(f"{name} is damaged: {cause}") from cause
    if begun:
        raise SourceUnreadable(f"{name} ends inside its zstd data: it was cut off, copy it again")


ZSTD_WINDOW_LOG_MAX: Final = 27
"""What is unpacked takes so much memory. The largest that zstd's own program takes unasked (documented)."""


def _zstd_frame() -> ZstdDecompressor:
    return ZstdDecompressor(options={DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX})
