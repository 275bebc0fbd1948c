"""Compare a ledger with the platform: by the stock's counts, and code by code where the list is open to the merchant.

Each code gets a mark, see `MEANING`. Nothing is called complete while a page is missing: codes that come or go while
the list is read are noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from ..errors import NoAuth, ResourceNotExists
from ..storage import private
from .ledger import Ledger
from .report import lines
from .target import ListedCode, Sender, StockFacts, Target

MEANING = {
    "=": "mine, and there, free to be drawn",
    "*": "mine, and there, in a user's hands",
    "+": "mine, and not there",
    "-": "there, and not mine",
    "?": "mine, not settled yet",
}
PAGE = 1000


class Counts(NamedTuple):
    """What the ledger says is in the pool, and what the stock says it holds."""

    mine: int
    pending: int
    there: int | None


class Compared(NamedTuple):
    """The outcome. `marks` is None where the list is not open; `complete` is False where it moved while it was read."""

    counts: Counts
    marks: dict[str, int] | None
    complete: bool

    @property
    def agrees(self) -> bool:
        """Whether every settled code of mine is there."""
        if self.marks is not None:
            return self.complete and self.marks["+"] == 0
        return self.counts.there is not None and self.counts.there >= self.counts.mine


async def compare(
    ledger: Ledger,
    target: Target,
    client: Sender,
    folder: Path,
    mark: Callable[[str, str], None] = lambda mark, code: None,
) -> Compared:
    """Compare, and call `mark` for each code in turn. `folder` takes a temporary file of the platform's codes.

    Raises:
        QuanmaError: as the client does; nothing is changed anywhere.
    """
    stock_id = ledger.stock_id
    totals = ledger.totals()
    facts = await target.show(client, stock_id)
    counts = Counts(totals.stored + totals.existed, totals.pending, facts.code_total)
    if target.list_codes is None:
        return Compared(counts, None, complete=False)
    there = _There(folder)
    try:
        unmoved = await _read(target, client, stock_id, there)
        after = await target.show(client, stock_id)
        marks = dict.fromkeys(MEANING, 0)
        with there.one_transaction():
            for sign, code in _marked(ledger, there):
                marks[sign] += 1
                mark(sign, code)
        return Compared(counts, marks, complete=unmoved and _stood_still(facts, after, there))
    except (NoAuth, ResourceNotExists):
        # Source: the list is in the SDKs and not in the public function list, so some merchants get 403 or 404.
        return Compared(counts, None, complete=False)
    finally:
        there.close()


async def _read(target: Target, client: Sender, stock_id: str, there: _There) -> bool:
    """Read the list. False where codes moved while it was read: one may have been passed over.

    Each page begins with the last code of the one before. If it is another code, one before it went, and those behind
    it moved up. The stock's count does not tell, where another code came meanwhile.
    """
    assert target.list_codes is not None
    unmoved, position = True, 0
    last: str | None = None
    while page := await target.list_codes(client, stock_id, max(0, position - 1), PAGE):
        begins_as_told = last is None or page[0].code == last
        unmoved = unmoved and begins_as_told
        there.add(page)
        if last is not None and len(page) == 1:
            return unmoved
        position = max(0, position - 1) + len(page)
        last = page[-1].code
    return unmoved and last is None


def _stood_still(before: StockFacts, after: StockFacts, there: _There) -> bool:
    return before.code_total == after.code_total == len(there)


def _marked(ledger: Ledger, there: _There) -> Iterator[tuple[str, str]]:
    for line in lines(ledger):
        if line.outcome in ("stored", "existed"):
            yield there.take(line.code) or "+", line.code
        elif line.outcome == "pending":
            there.take(line.code)
            yield "?", line.code
    for code in there.rest():
        yield "-", code


class _There:
    """The platform's codes, in a temporary database: a pool may be larger than the memory."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".quanma-verify.tmp"
        private.make_database_anew(self._path)
        self._db = apsw.Connection(str(self._path))
        self._db.execute("PRAGMA journal_mode = off; PRAGMA synchronous = off")
        self._db.execute("CREATE TABLE there (code TEXT PRIMARY KEY, given INTEGER, mine INTEGER) WITHOUT ROWID")

    def __len__(self) -> int:
        return int(str(self._db.execute("SELECT count(*) FROM there").get))

    def add(self, page: list[ListedCode]) -> None:
        with self._db:
            self._db.executemany(
                "INSERT OR IGNORE INTO there VALUES (?, ?, 0)", [(one.code, one.given) for one in page]
            )

    def one_transaction(self) -> apsw.Connection:
        """To be entered around many `take`s: each alone would write the file."""
        return self._db

    def take(self, code: str) -> str | None:
        """The mark of a code that is there, which is mine from now on; None where it is not."""
        given = self._db.execute("UPDATE there SET mine = 1 WHERE code = ? RETURNING given", (code,)).get
        return None if given is None else "*" if given else "="

    def rest(self) -> Iterator[str]:
        yield from (str(code) for (code,) in self._db.execute("SELECT code FROM there WHERE mine = 0"))

    def close(self) -> None:
        self._db.close()
        self._path.unlink(missing_ok=True)
