"""A disk that fails on demand, under the real SQLite: fsyncs that fail, room that runs out, power that goes.

What was written and not yet synced is lost when the power goes, and so is what a failed fsync was to save, whatever
later ones say: as Linux does it.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw


class Disk(apsw.VFS):
    """SQLite's default disk for as long as it is plugged in."""

    def __init__(self) -> None:
        self.room_bytes: int | None = None
        """How much more the files may grow. At 0 nothing can be written over either, as where a copy is written."""
        self.sync_fails = ""
        """The next sync of a file whose name ends so fails, once: `-wal`, `.db`, or any for `*`."""
        self.failures = 0
        self.syncs = 0
        self.fails_at_sync = 0
        self._durable: dict[str, bytearray] = {}
        self._pending: dict[str, list[tuple[int, bytes | None]]] = {}
        super().__init__("faulty disk", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:  # A temporary file: nobody misses it.
            return super().xOpen(name, flags)
        # Only a write-ahead log is deleted and made anew.
        if path not in self._durable or not os.path.exists(path):
            there = os.path.exists(path)
            with open(path, "rb") if there else open(os.devnull, "rb") as file:
                self._durable[path] = bytearray(file.read())
            self._pending[path] = []
        return _File(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._durable.pop(filename, None)
        super().xDelete(filename, syncdir)

    def platter(self, folder: Path) -> dict[str, bytes]:
        """What every file in the folder would be if the power went now.

        The marks as they were written last: at their furthest, if the kernel happened to write them out.
        """
        marks = {str(path): path.read_bytes() for path in folder.glob("*.mark")}
        return {path: bytes(content) for path, content in self._durable.items() if Path(path).parent == folder} | marks

    def written(self, path: str, offset: int, data: bytes) -> None:
        self._pending[path].append((offset, data))

    def truncated(self, path: str, size: int) -> None:
        self._pending[path].append((size, None))

    def grow(self, by_bytes: int) -> None:
        if self.room_bytes is not None:
            if by_bytes > self.room_bytes or not self.room_bytes:
                raise apsw.FullError("no room")
            self.room_bytes -= max(0, by_bytes)

    def sync(self, path: str) -> None:
        self.syncs += 1
        pending, self._pending[path] = self._pending[path], []
        if self.syncs == self.fails_at_sync or (
            self.sync_fails and (self.sync_fails == "*" or path.endswith(self.sync_fails))
        ):
            self.sync_fails = ""
            self.failures += 1
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        durable = self._durable[path]
        for offset, data in pending:
            if data is None:
                del durable[offset:]
            else:
                durable.extend(bytes(max(0, offset - len(durable))))
                durable[offset : offset + len(data)] = data


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, path: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._path = path
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.grow(offset + len(data) - self.xFileSize())
        super().xWrite(data, offset)
        self._disk.written(self._path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._disk.truncated(self._path, newsize)

    def xSync(self, flags: int) -> None:
        self._disk.sync(self._path)
        super().xSync(flags)


def put_back(platter: dict[str, bytes], folder: Path) -> None:
    """Make the folder's files what was on the platter. Nothing may have them open."""
    for path in folder.glob("*.db*"):
        if not path.name.endswith(".lock") and str(path) not in platter:
            path.unlink()
    for name, content in platter.items():
        path = Path(name)
        path.write_bytes(content)
        path.chmod(0o600)


@contextmanager
def plugged_in() -> Generator[Disk, None, None]:
    disk = Disk()
    try:
        yield disk
    finally:
        disk.room_bytes = None
        disk.unregister()
