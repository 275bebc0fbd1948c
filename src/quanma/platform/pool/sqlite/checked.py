"""Rows with a checksum: a flipped bit in one is an error when it is read, and no wrong answer.

Each table ends in two columns. `commit_no` says which commit wrote the row last; the highest one in the file is how
many commits it has had, and costs no page of its own. `checksum` is the CRC-32 of all columns before it.

All reading and writing goes through `Rows`, so no statement can forget them. A row that was written around it keeps
the default checksum, -1, which holds for nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import apsw
import msgspec

from ....errors import StoreUnavailable
from ..tide import Tide

R = TypeVar("R", bound=tuple[Any, ...])

_encode = msgspec.msgpack.Encoder().encode


def checksum(*row: object) -> int:
    """The checksum of a table's name and a row's values, in the order of its columns: one table's row is no other's."""
    return zlib.crc32(_encode(row[1:]), zlib.crc32(str(row[0]).encode()))


def damaged(what: str) -> StoreUnavailable:
    return StoreUnavailable(f"the store is damaged: {what}: restore a backup")


class Table(Generic[R]):
    """A table: its name, its rows' type, and its columns in order, of which the first `key` name a row.

    A row is changed only where the columns `stands` still are as they were read.
    """

    def __init__(
        self, name: str, row: Callable[..., R], columns: tuple[str, ...], key: int = 1, stands: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.row = row
        self.columns = columns
        self.key = key
        self.seed = zlib.crc32(name.encode())
        everything = (*columns, "commit_no", "checksum")
        self.select = f"SELECT {', '.join(everything)} FROM {name}"
        self.insert = f"INSERT INTO {name} ({', '.join(everything)}) VALUES ({', '.join('?' * len(everything))})"
        rest, named = everything[key:], (*columns[:key], *stands)
        self.named = tuple(columns.index(column) for column in named)
        self.update = f"UPDATE {name} SET {', '.join(f'{it} = ?' for it in rest)} WHERE " + " AND ".join(
            f"{it} = ?" for it in named
        )

    def sealed(self, row: tuple[Any, ...], commit_no: int) -> tuple[Any, ...]:
        """A row as `insert` takes it."""
        values = (*row, commit_no)
        return (*values, zlib.crc32(_encode(values), self.seed))

    def opened(self, read: tuple[Any, ...]) -> R:
        """A row as `select` gives it. Raises StoreUnavailable: it is not as it was written."""
        self.check(read)
        return self.row(*read[:-2])

    def check(self, read: tuple[Any, ...]) -> None:
        if zlib.crc32(_encode(read[:-1]), self.seed) != read[-1]:
            raise damaged(f"a row of {self.name} is not as it was written")


class Rows:
    """The rows of the file. Every method is called in the journal's turn."""

    def __init__(self, db: apsw.Connection, tide: Tide | None = None) -> None:
        self._db = db
        self.tide = tide or Tide()
        """Its commit is being gathered: what is written now carries its number."""
        self._next: dict[str, int] = {}

    def forget(self) -> None:
        """After a rollback: rows that were numbered, or written, may never have been."""
        self.tide.writes = 0
        self._next.clear()

    def read(self, table: Table[R], where: str, *values: object) -> list[R]:
        """Return the rows that a condition names.

        Raises:
            StoreUnavailable: one is not as it was written. So does each method that reads.
        """
        return [table.opened(row) for row in self._db.execute(f"{table.select} WHERE {where}", values).fetchall()]

    def scan(self, table: Table[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield every row in the order of its key, as plain columns: there may be many."""
        check, latest = table.check, 0
        row: Any
        for row in self._db.execute(f"{table.select} ORDER BY {', '.join(table.columns[: table.key])}"):
            check(row)
            if row[-2] > latest:
                latest = row[-2]
            yield row
        self.tide.commit_no = max(self.tide.commit_no, latest + 1)

    def values(self, table: Table[Any], column: str, where: str) -> list[Any]:
        """Return each value of a column among the rows of a condition, once: one look at an index for each value.

        The index must begin with the column and be of that condition. It has no checksum: read the rows themselves.
        """
        found: list[Any] = []
        least = f"SELECT min({column}) FROM {table.name} WHERE {where}"
        value = self._db.execute(least).get
        while value is not None:
            found.append(value)
            value = self._db.execute(f"{least} AND {column} > ?", (value,)).get
        return found

    def number(self, table: Table[Any]) -> int:
        """Take the next number of a table whose rows are numbered from 1. What is undone leaves a gap."""
        number = self._next.get(table.name)
        if number is None:
            number = int(self._db.execute(f"SELECT max({table.columns[0]}) FROM {table.name}").get or 0) + 1
        self._next[table.name] = number + 1
        return number

    def add(self, table: Table[R], row: R) -> None:
        self._db.execute(table.insert, table.sealed(row, self.tide.commit_no))
        self.tide.writes += 1

    def add_many(self, table: Table[Any], rows: Iterable[tuple[Any, ...]]) -> None:
        """As `add`, and quicker than one by one."""
        sealed = [table.sealed(row, self.tide.commit_no) for row in rows]
        self._db.executemany(table.insert, sealed)
        self.tide.writes += len(sealed)

    def change(self, table: Table[R], row: R, **values: object) -> R:
        """Write other values into a row that was read in this turn, and return what it is now."""
        unknown = values.keys() - set(table.columns[table.key :])
        now = table.row(*(values.get(column, was) for column, was in zip(table.columns, row, strict=True)))
        sealed = table.sealed(now, self.tide.commit_no)
        self._db.execute(table.update, (*sealed[table.key :], *(row[column] for column in table.named)))
        if unknown or self._db.changes() != 1:
            raise AssertionError(f"a row of {table.name} did not stand where the decision saw it")
        self.tide.writes += 1
        return now
