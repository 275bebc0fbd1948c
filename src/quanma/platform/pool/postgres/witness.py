"""What this host acknowledged of a pool, kept outside the database: so that a database that went back is noticed.

A folder beside platform.toml holds, for each pool, a file `host` and a file for each worker of this machine.

A worker writes down, after each COMMIT and before the answers leave, which row proves what it acknowledged last of the
stock: its *mark*. A stock's transactions are serial, and a database goes back to a prefix of what was committed. A mark
that is found in the database proves all before it, of every worker and host. One that is not found: something that was
acknowledged is missing. The last thousand coupons are kept by number and code, to name what is missing.

Nothing is synced but once a second: kill -9 loses nothing of it, and a power failure may leave an older mark, which
proves less and is not wrong. Each file has one writer, so nothing is locked while codes are drawn.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ....errors import Misconfigured
from ....storage import private
from ....storage.descriptors import sync_content
from .host_file import Host, HostFile, host_in
from .mark_file import IssuedCoupon, Mark, MarkFile, is_free
from .seen import lineage

FOLDER = "witness"
WORKERS_MAX = 64


class EpochPassed(Exception):
    """The host knows of another epoch since the transaction began: what was committed may not be in the database."""


class Witness:
    """The marks of this host for one pool, open for one worker."""

    def __init__(self, folder: Path, pool_id: str, address: str | None = None) -> None:
        """`address`: None leaves it as it is noted. Raises Misconfigured: the folder can't be written."""
        self.folder = folder / FOLDER / pool_id
        self._prefix = f"{self.folder}/worker-"
        try:
            private.make_folder(folder / FOLDER)
            private.make_folder(self.folder)
            self._host = HostFile(self.folder / "host", address)
            self._own = self._take_a_file()
        except OSError as problem:
            raise Misconfigured(
                f"{self.folder} can't be written ({problem.strerror}): it keeps what this host acknowledged; "
                "let the platform write beside platform.toml"
            ) from None
        self._others: list[MarkFile] = []
        self._next_place = 0
        """Whose file is looked for next: they are made in the order of their places."""
        self.is_new = self.host.beat == 0 and not any(True for _ in self.marks())

    def _take_a_file(self) -> MarkFile:
        """One that no living worker has, with the marks in it."""
        for number in range(WORKERS_MAX):
            with contextlib.suppress(BlockingIOError):
                return MarkFile(Path(f"{self._prefix}{number:02}"), owned=True)
        raise Misconfigured(f"more than {WORKERS_MAX} workers serve one pool from {self.folder}")

    @property
    def host(self) -> Host:
        return self._host.read()

    def change_host(self, **changes: Any) -> Host:
        """Raises StoreUnavailable: another worker holds the file for too long."""
        return self._host.change(**changes)

    def mark_of(self, stock_id: str, history: str) -> Mark | None:
        """The latest mark of a stock in a history, of all workers of this host."""
        found = [mark for file in self._all() if (mark := file.read(stock_id, history)) is not None]
        return max(found, key=lambda mark: mark.transaction_no) if found else None

    def marks(self) -> Iterator[tuple[str, str, Mark]]:
        """Every mark of every worker: the stock, the history's digest as text, the mark."""
        for file in self._all():
            yield from file.marks()

    def issued(self, history: str) -> list[IssuedCoupon]:
        """The coupons that this host can name, of a history."""
        return [coupon for file in self._all() for coupon in file.issued(history)]

    def reserve(self, stock_id: str) -> None:
        """Make room for a stock's mark, before anything is done. Raises StoreUnavailable: there is none."""
        self._own.reserve(stock_id)

    def note(self, epoch: str, history: str, stock_id: str, mark: Mark, issued: Sequence[IssuedCoupon] = ()) -> None:
        """Write down what was committed, before it is acknowledged.

        Raises:
            EpochPassed: it must not be acknowledged.
        """
        before = self._own.write(stock_id, history, mark)
        # Written first, looked at then: whoever confirms an epoch meanwhile writes first, and then reads the marks.
        if self.host.epoch != epoch:
            self._own.write_back(stock_id, before)
            raise EpochPassed
        self._own.add_issued(history, issued)

    def note_under_fence(self, epoch: str, history: str) -> None:
        """As `note`, while the pool is fenced: the marks stay as they are, for they know what is missing.

        `epoch`: what this host had confirmed when the transaction began.
        """
        later = max(history, self.host.history, key=lineage)
        if self.host.wrote_under_fence != later:
            self.change_host(wrote_under_fence=later)
        if self.host.epoch != epoch:
            raise EpochPassed

    def doubt(self) -> None:
        """A COMMIT has no sure outcome: what it wrote may be seen, and be lost by a failover."""
        self._own.set_doubts(self._own.doubts + 1)

    @property
    def doubts(self) -> int:
        """How many such commits the workers of this host have not proven yet."""
        return self._own.doubts + sum(file.read_doubts() for file in self._found())

    def clear_doubts(self) -> None:
        """A later commit of this worker is sure, so all before it are."""
        self._own.set_doubts(0)

    def sync(self) -> None:
        """Now and then. A worker's file that can't be synced is a weaker witness, and no wrong one."""
        with contextlib.suppress(OSError):
            sync_content(self._own.descriptor)

    def others_serve(self) -> bool:
        """Whether another worker of this host is alive."""
        return any(not is_free(file.path) for file in self._found())

    def close(self) -> None:
        self.sync()
        self._own.close()
        self._host.close()
        for file in self._others:
            file.close()

    def _all(self) -> Iterator[MarkFile]:
        yield self._own
        yield from self._found()

    def _found(self) -> list[MarkFile]:
        """The files of the other workers, those that came meanwhile too."""
        # Looked for in each transaction: text and one call of the system, where a Path would cost more than the rest.
        while os.path.exists(path := f"{self._prefix}{self._next_place:02}"):
            if path != str(self._own.path):
                self._others.append(MarkFile(Path(path), owned=False))
            self._next_place += 1
        return self._others


def known_pools(folder: Path, address: str) -> list[str]:
    """The ids of the pools that this host served at an address."""
    if not (folder / FOLDER).is_dir():
        return []
    hosts = sorted((folder / FOLDER).glob("*/host"))
    return [
        path.parent.name
        for path in hosts
        if (host := host_in(path.read_bytes())) is not None and host.address == address
    ]
