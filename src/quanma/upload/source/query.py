"""The rows of a SQL query, from SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

from ...errors import SourceUnreadable
from ...extras import needed
from ...settings import addresses
from .block import ROWS_PER_BLOCK, Block
from .layout import choose_by_name
from .reading import PLAIN, Reading
from .records import block_of_records

T = TypeVar("T")


class Query:
    """The values of one column of a query's result; row numbers count result rows from 1.

    The same rows in the same order have the same fingerprint, so give the query an ORDER BY.
    """

    def __init__(self, database: Database, query: str, reading: Reading) -> None:
        self.name = database.name
        columns = database.columns(query)
        self._index = choose_by_name(self.name, columns, reading.column)
        self.notes = [f"query, column '{columns[self._index]}' ({self._index + 1} of {len(columns)})"]
        self._database = database
        self._query = query
        self._reading = reading
        self._digest: str | None = None

    def blocks(self) -> Iterator[Block]:
        row, digest = 1, hashlib.sha256()
        for records in self._database.records(self._query):
            values = [record[self._index] for record in records]
            block = block_of_records(range(row, row + len(values)), values, self._reading)
            digest.update("\0".join(block.codes).encode() + b"\0")
            row += len(block.codes)
            yield block
        self._digest = digest.hexdigest()

    @property
    def values_seen(self) -> Mapping[str, Sequence[str]]:
        return {}

    def fingerprint(self) -> str:
        if self._digest is None:
            for _ in self.blocks():
                pass
        assert self._digest is not None
        return self._digest


def open_query(url: str, query: str, reading: Reading = PLAIN) -> Query:
    """Open a query as a source; nothing is written to the database.

    url is `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://…`. reading.column names or numbers
    the column that holds the codes, if the result has several.

    Raises:
        SourceUnreadable: no such database, or it refuses the query; or several columns and none chosen.
    """
    if reading.where or reading.header_row is not None or reading.encoding is not None:
        raise SourceUnreadable("--where, --header-row and --encoding are for files: say it in the query")
    read = addresses.database(url)
    if isinstance(read, addresses.Wrong):
        raise SourceUnreadable(f"the database to read from {read.reason}")
    database = _Sqlite(read) if read.startswith("sqlite:") else _Postgres(read)
    return Query(database, query, reading)


class Database(Protocol):
    """Where queries are asked."""

    name: str

    def columns(self, query: str) -> list[str]:
        """Return the names of the result's columns."""
        ...

    def records(self, query: str) -> Iterator[list[Any]]:
        """Read the result, at most ROWS_PER_BLOCK rows at a time."""
        ...


class _Sqlite:
    def __init__(self, url: str) -> None:
        self.name = url
        self._path = Path(url.removeprefix("sqlite:///"))

    def columns(self, query: str) -> list[str]:
        # A statement that is no query has no description.
        with self._connected() as connection:
            cursor = self._executed(connection, query)
            if cursor.description is None:
                raise SourceUnreadable(f"{self.name}: the statement returns no rows; give a SELECT")
            return [column[0] for column in cursor.description]

    def records(self, query: str) -> Iterator[list[Any]]:
        with self._connected() as connection:
            cursor = self._executed(connection, query)
            try:
                while records := cursor.fetchmany(ROWS_PER_BLOCK):
                    yield records
            except sqlite3.Error as cause:
                raise SourceUnreadable(f"{self.name}: {cause}") from cause

    def _connected(self) -> closing[sqlite3.Connection]:
        if not self._path.is_file():
            raise SourceUnreadable(f"{self.name}: no such file, {self._path}")
        try:
            uri = f"file:{quote(str(self._path.absolute()))}?mode=ro"
            return closing(sqlite3.connect(uri, uri=True, check_same_thread=False))
        except sqlite3.Error as cause:
            raise SourceUnreadable(f"{self.name} cannot be opened: {cause}") from cause

    def _executed(self, connection: sqlite3.Connection, query: str) -> sqlite3.Cursor:
        try:
            return connection.execute(query)
        except (sqlite3.Error, sqlite3.Warning) as cause:
            raise SourceUnreadable(f"{self.name} refuses the query: {cause}") from cause


class _Postgres:
    def __init__(self, url: str) -> None:
        self.name = addresses.shown_database(url)
        self._url = url
        self._asyncpg = needed("asyncpg", what="PostgreSQL", extra="postgres")

    def columns(self, query: str) -> list[str]:
        with _LoopInThread() as loop, self._explained():
            connection = loop.run(self._connect())
            try:
                statement = loop.run(connection.prepare(query))
                columns = [attribute.name for attribute in statement.get_attributes()]
            finally:
                loop.run(connection.close(timeout=_CONNECT_SECONDS))
        if not columns:
            raise SourceUnreadable(f"{self.name}: the statement returns no rows; give a SELECT")
        return columns

    def records(self, query: str) -> Iterator[list[Any]]:
        with _LoopInThread() as loop, self._explained():
            connection = loop.run(self._connect())
            try:
                # A cursor lives in a transaction; read-only holds the user's query to its word.
                loop.run(connection.transaction(readonly=True).start())
                statement = loop.run(connection.prepare(query))
                cursor = loop.run(_awaited(statement.cursor()))
                while records := loop.run(cursor.fetch(ROWS_PER_BLOCK)):
                    yield records
            finally:
                with suppress(OSError):
                    loop.run(connection.close(timeout=_CONNECT_SECONDS))

    async def _connect(self) -> Any:
        return await self._asyncpg.connect(self._url, timeout=_CONNECT_SECONDS)

    def _explained(self) -> _Explained:
        errors = (self._asyncpg.PostgresError, self._asyncpg.InterfaceError, OSError, ValueError)
        return _Explained(self.name, errors)


_CONNECT_SECONDS: Final = 10.0


class _Explained:
    """Turns the errors of a database into SourceUnreadable."""

    def __init__(self, name: str, errors: tuple[type[Exception], ...]) -> None:
        self._name = name
        self._errors = errors

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, cause: BaseException | None, trace: object) -> None:
        if isinstance(cause, self._errors):
            raise SourceUnreadable(f"{self._name}: {str(cause) or type(cause).__name__}") from cause


class _LoopInThread:
    """An event loop of its own, so that a source can be read from inside another loop too."""

    def __enter__(self) -> _LoopInThread:
        self._thread = ThreadPoolExecutor(1, "quanma-query")
        self._runner = asyncio.Runner()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(self._runner.run, coroutine).result()


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
