"""What the workers of a host share about a pool: a small file that any of them may write, one at a time."""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ....errors import StoreUnavailable
from ....storage import locks
from ....storage.descriptors import read_at, write_at
from .mark_file import open_private

_CHECKSUM = struct.Struct("<I")
_LENGTH = struct.Struct("<I")


class Peer(msgspec.Struct, frozen=True, array_like=True):
    """Another host, as it was seen."""

    name: str
    beat: int


class Host(msgspec.Struct, frozen=True):
    """What the workers of this host share."""

    inode: int = 0
    """Of its file: a copy of the folder has another, and is a host of its own."""

    host_id: str = ""
    history: str = ""
    """The history that its marks belong to."""
    epoch: str = ""
    """The epoch that it confirms, as `Seen.epoch`: nothing that was begun in an older one is acknowledged."""
    confirmed: str = ""
    """The epoch that it has confirmed."""
    epoch_number: int = 0
    system: int = 0
    timeline: int = 0
    """The latest timeline seen of that system: a server on an earlier one is an old primary."""
    beat: int = 0
    claimed_at: int = 0
    """When a worker last went to renew the lease, and when that was done: nanoseconds of the monotonic clock."""
    renewed_at: int = 0
    address: str = ""
    """The database's, without user and password."""
    peers: dict[str, Peer] = {}
    """The other hosts, by id. See peers.py."""
    peers_at: int = 0
    """When this host began to look for them, as above. 0: it does not know."""
    met_fence: bool = False
    """The pool was fenced since: a host that nobody knows of may have acknowledged something under the fence."""
    wrote_under_fence: str = ""
    """The history in which it last acknowledged something while the pool was fenced: no mark knows of that."""


class HostFile:
    """A small file that any worker may write, one at a time."""

    BYTES = 4096

    def __init__(self, path: Path, address: str | None) -> None:
        self._path = path
        self._descriptor = open_private(path)
        self._read = b"", Host()
        inode = os.fstat(self._descriptor).st_ino
        with self._locked():
            host = host_in(read_at(self._descriptor, self.BYTES, 0)) or Host()
            if host.inode != inode:
                # New; or a copy of another host's folder. The marks in it stay true.
                host = replace(host, inode=inode, host_id=secrets.token_hex(8), beat=0)
            self._write(host if address is None else replace(host, address=address))

    def read(self) -> Host:
        content = read_at(self._descriptor, self.BYTES, 0)
        if content == self._read[0]:
            return self._read[1]
        for _ in range(1000):
            if (found := host_in(content)) is not None:
                self._read = content, found
                return found
            content = read_at(self._descriptor, self.BYTES, 0)
        raise StoreUnavailable(f"{self._path} is damaged: remove it; quanma then has no witness of older coupons")

    def change(self, **changes: Any) -> Host:
        with self._locked():
            host = replace(self.read(), **changes)
            self._write(host)
            return host

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, host: Host) -> None:
        packed = msgspec.msgpack.encode(host)
        content = (_LENGTH.pack(len(packed)) + packed).ljust(self.BYTES - _CHECKSUM.size, b"\0")
        write_at(self._descriptor, content + _CHECKSUM.pack(zlib.crc32(content)), 0)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None, None, None]:
        locks.wait_and_take(self._descriptor)
        try:
            yield
        finally:
            locks.release(self._descriptor)


def host_in(content: bytes) -> Host | None:
    """None: there is none, or it is half written or damaged."""
    fields, checksum = content[: -_CHECKSUM.size], content[-_CHECKSUM.size :]
    if len(content) != HostFile.BYTES or checksum != _CHECKSUM.pack(zlib.crc32(fields)):
        return None
    (length,) = _LENGTH.unpack_from(fields)
    return msgspec.msgpack.decode(fields[_LENGTH.size : _LENGTH.size + length], type=Host)
