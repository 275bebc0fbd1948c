"""The ledger of one upload: what was planned, sent and answered, in one SQLite file. Its states: ledger.sql.

A batch's number is written before its first send, and a batch is settled by one statement. Every write is durable
when the method returns, or at the end of `together`. One process runs an upload; others may read its ledger meanwhile.

Every method raises StoreUnavailable where the file can't be read or written; after that nothing more is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import apsw
import msgspec

from ..errors import LedgerBusy, LedgerRefused, StoreUnavailable
from ..storage.private import remove_database
from . import ledgerfile
from .plan import Duplicate, Planned, PlannedBatch
from .sorting import Rejected
from .source import Reading
from .target import Outcome

ATTEMPTS_FIRST = 3
"""An unknown batch goes before new ones for so many attempts."""


class Input(msgspec.Struct, frozen=True):
    """One input as it was planned: a resume must find it unchanged."""

    name: str
    fingerprint: str


class Inputs(Reading, frozen=True, kw_only=True):
    """What was planned, and how it was read."""

    sources: list[Input]
    command: str = ""
    """What resumes the upload, as a shell reads it."""

    @property
    def reading(self) -> Reading:
        return Reading(**{name: getattr(self, name) for name in Reading.__struct_fields__})

    @classmethod
    def read(cls, reading: Reading, sources: list[Input], command: str = "") -> Inputs:
        return cls(sources=sources, command=command, **msgspec.structs.asdict(reading))


class Batch(NamedTuple):
    """A batch to be sent."""

    batch_no: int
    upload_request_no: str
    codes: list[str]
    attempts: int
    """Before this one."""
    unknown_attempts: int
    """Before this one, how many may have taken effect without our knowing."""
    unknown_of_number: int
    """Of these, how many under the number that it has now."""
    renumbered: int


class Totals(NamedTuple):
    """Where every row is. They add up: rows = stored + existed + duplicate + rejected + pending."""

    rows: int
    stored: int
    existed: int
    duplicate: int
    rejected: int
    pending: int
    requests: int
    retries: int
    seconds: float
    batches_open: int


class Settled(msgspec.Struct, omit_defaults=True):
    """The codes of an answered batch that were not newly stored."""

    existed: list[str] = []
    refused: list[tuple[str, str, str]] = []
    """code, error code, message"""
    whole: tuple[str, str] | None = None
    """The platform refused the request: its error code and message, for every code of the batch."""


class AnsweredBatch(NamedTuple):
    """A batch as the report needs it."""

    upload_request_no: str
    state: str
    codes: list[str]
    rows: str
    attempts: int
    unknown_attempts: int
    answered_at: float | None
    settled: Settled


# Back to where a batch was before it was sent. One that was ever unknown stays so.
_BACK = "state = iif(unknown_attempts > 0, 'unknown', 'planned')"
_UNKNOWN = "state = 'unknown', unknown_attempts = unknown_attempts + 1, unknown_of_number = unknown_of_number + 1"


class Ledger:
    """Open one with `create` or `resume` to run an upload, with `look` to read."""

    def __init__(self, path: Path, db: apsw.Connection, held: IO[bytes] | None) -> None:
        self.path = path
        self._db = db
        self._held = held
        self._failed: str | None = None
        self._joined = False
        self._number_prefix: str | None = None

    # Opening

    @classmethod
    def create(cls, path: Path, *, target: str, mchid: str, stock_id: str, restart: bool = False) -> Self:
        """Start a ledger. `restart` throws away the one that is there: what it sent stays sent.

        Raises:
            LedgerRefused: one is there, or the file can't be made.
            LedgerBusy: another process runs it.
        """
        held = ledgerfile.lock(path, create=True)
        try:
            db = ledgerfile.connect(path)
            begun = ledgerfile.is_begun(path, db)
            if begun and not restart:
                raise LedgerRefused(
                    f"{path} is there already: --resume goes on with it, --restart begins anew "
                    "(what was sent stays sent)"
                )
            with _telling(path):
                ledgerfile.make_durable(db)
                ledgerfile.start(db, target, mchid, stock_id)
        except BaseException:
            held.close()
            raise
        return cls(path, db, held)

    @classmethod
    def resume(cls, path: Path, *, target: str, mchid: str, stock_id: str) -> Self:
        """Go on with a ledger. A batch that was being sent when its process died is unknown.

        A file that its process died too early to begin is begun now.

        Raises:
            LedgerRefused: there is none, or it is of another stock, merchant or kind.
            LedgerBusy: another process runs it.
        """
        if not path.exists():
            raise LedgerRefused(f"there is no ledger {path} to resume: start without --resume")
        held = ledgerfile.lock(path, create=False)
        try:
            db = ledgerfile.connect(path)
            begun = ledgerfile.is_begun(path, db)
            with _telling(path):
                ledgerfile.make_durable(db)
                if not begun:
                    ledgerfile.start(db, target, mchid, stock_id)
                    return cls(path, db, held)
            (found,) = _rows(db, "SELECT target, mchid, stock_id FROM upload")
            if found != (target, mchid, stock_id):
                raise LedgerRefused(
                    f"{path} belongs to {found[0]} stock {found[2]} of merchant {found[1]}, "
                    f"not to {target} stock {stock_id} of merchant {mchid}: name another with --ledger"
                )
            with _telling(path), db:
                db.execute(f"UPDATE batch SET {_UNKNOWN} WHERE state = 'sending'")
        except BaseException:
            held.close()
            raise
        return cls(path, db, held)

    @classmethod
    def look(cls, path: Path) -> Self:
        """Open a ledger to read, also while it runs. Raises LedgerRefused: there is none."""
        if not path.exists():
            raise LedgerRefused(f"there is no ledger {path}")
        db = ledgerfile.connect(path, read_only=True)
        if not ledgerfile.is_begun(path, db):
            raise LedgerRefused(f"{path} holds no upload yet")
        return cls(path, db, None)

    def close(self) -> None:
        self._db.close()
        if self._held is not None:
            self._held.close()

    def discard(self) -> None:
        """Close it and remove its file: nothing was sent."""
        self._db.close()
        remove_database(self.path)
        if self._held is not None:
            self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # The plan

    @property
    def planned(self) -> bool:
        return bool(self._db.execute("SELECT state = 'planned' FROM upload").get)

    @property
    def stock_id(self) -> str:
        return str(self._db.execute("SELECT stock_id FROM upload").get)

    @property
    def target(self) -> str:
        return str(self._db.execute("SELECT target FROM upload").get)

    @property
    def inputs(self) -> Inputs:
        return msgspec.json.decode(self._db.execute("SELECT inputs FROM upload").get, type=Inputs)

    def begin_plan(self) -> None:
        """Forget a plan that was not finished: nothing of it was sent. All of the next one is one transaction."""
        with _telling(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            ledgerfile.bring_up_to_date(self._db)
            for table in ("batch", "duplicate", "rejected"):
                self._db.execute(f"DELETE FROM {table}")

    def keep_batches(self, batches: Sequence[PlannedBatch]) -> None:
        self._insert(
            "INSERT INTO batch (code_count, codes, rows) VALUES (?, ?, ?)",
            [(len(batch.codes), "\n".join(batch.codes), batch.rows) for batch in batches],
        )

    def keep_duplicates(self, rows: Sequence[Duplicate]) -> None:
        self._insert("INSERT INTO duplicate VALUES (?, ?, ?)", rows)

    def keep_rejected(self, rows: Sequence[Rejected]) -> None:
        self._insert("INSERT INTO rejected VALUES (?, ?, ?, ?)", rows)

    def _insert(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with _telling(self.path):
            self._db.executemany(statement, rows)

    def end_plan(self, planned: Planned, inputs: Inputs) -> None:
        """planning → planned: from here on batches are sent."""
        with _telling(self.path):
            self._db.execute(
                "UPDATE upload SET state = 'planned', inputs = ?, row_count = ?, duplicate_count = ?,"
                " rejected_count = ?, open_batches = (SELECT count(*) FROM batch) WHERE state = 'planning'",
                (msgspec.json.encode(inputs).decode(), planned.rows, planned.duplicate, planned.rejected),
            )
            self._db.execute("COMMIT")

    def drop_plan(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # Sending

    def take(self, now: float) -> Batch | None:
        """planned or unknown → sending, for the next batch; None where no batch is waiting.

        Unknown ones come first: what they did is a question, and the answer may be near. After a few attempts the
        others have their turn: the platform may fail on that batch alone.
        """
        with self._writing():
            row = _rows(
                self._db,
                "UPDATE batch SET state = 'sending', attempts = attempts + 1, sent_at = ? WHERE batch_no = coalesce("
                f" (SELECT min(batch_no) FROM batch WHERE state = 'unknown' AND attempts < {ATTEMPTS_FIRST}),"
                " (SELECT min(batch_no) FROM batch WHERE state = 'planned'),"
                " (SELECT batch_no FROM batch WHERE state = 'unknown' ORDER BY sent_at, batch_no LIMIT 1))"
                " RETURNING batch_no, codes, attempts - 1, unknown_attempts, unknown_of_number, renumbered",
                (now,),
            )
            if not row:
                return None
            batch_no, codes, attempts, unknown_attempts, unknown_of_number, renumbered = row[0]
            self._db.execute(
                "UPDATE upload SET requests = requests + 1, retries = retries + ?", (1 if attempts > 0 else 0,)
            )
        number = self._number(batch_no, renumbered)
        return Batch(batch_no, number, codes.split("\n"), attempts, unknown_attempts, unknown_of_number, renumbered)

    def settle(self, batch: Batch, outcome: Outcome, now: float) -> None:
        """sending → answered. Codes that existed are ours if an earlier attempt may have stored them."""
        existed = 0 if batch.unknown_attempts else len(outcome.existed)
        refused = len(outcome.refused)
        others = Settled(
            existed=outcome.existed, refused=[(one.coupon_code, one.code, one.message) for one in outcome.refused]
        )
        self._answered(batch, now, len(batch.codes) - existed - refused, existed, refused, others)

    def settle_refused(self, batch: Batch, code: str, message: str, now: float) -> None:
        """sending → answered: the platform refused the whole request, and no attempt of it was ever unknown."""
        self._answered(batch, now, 0, 0, len(batch.codes), Settled(whole=(code, message)))

    def _answered(self, batch: Batch, now: float, stored: int, existed: int, rejected: int, others: Settled) -> None:
        text = msgspec.json.encode(others).decode() if others != Settled() else None
        with self._writing():
            self._move(batch, "state = 'answered', answered_at = ?, others = ?", (now, text))
            self._db.execute(
                "UPDATE upload SET stored_count = stored_count + ?, existed_count = existed_count + ?,"
                " rejected_count = rejected_count + ?, open_batches = open_batches - 1",
                (stored, existed, rejected),
            )

    def unknown(self, batch: Batch) -> None:
        """sending → unknown: it may have taken effect. The next attempt has the same number and bytes."""
        with self._writing():
            self._move(batch, _UNKNOWN)

    def not_accepted(self, batch: Batch) -> None:
        """sending → what it was: it certainly had no effect."""
        with self._writing():
            self._move(batch, _BACK)

    def renumber(self, batch: Batch, *, used: bool) -> None:
        """sending → what it was, under a new number: the platform refused the old one.

        `used`: because it had seen the old one before. Nobody else makes our numbers, so an attempt of ours took
        effect, whoever answered it: unknown.
        """
        back = "state = 'unknown', unknown_attempts = max(unknown_attempts, 1)" if used else _BACK
        with self._writing():
            self._move(batch, f"{back}, renumbered = renumbered + 1, unknown_of_number = 0")

    def _move(self, batch: Batch, change: str, values: tuple[object, ...] = ()) -> None:
        self._db.execute(
            f"UPDATE batch SET {change} WHERE batch_no = ? AND state = 'sending'", (*values, batch.batch_no)
        )
        if self._db.changes() != 1:
            raise LedgerBusy(f"batch {batch.batch_no} of {self.path} was moved by another process: stop one of them")

    def spent(self, seconds: float, learned_rate: float | None) -> None:
        """Add the time of this run, and keep the rate that was found."""
        with self._writing():
            self._db.execute(
                "UPDATE upload SET seconds = seconds + ?, learned_rate = coalesce(?, learned_rate)",
                (seconds, learned_rate),
            )

    @contextlib.contextmanager
    def together(self) -> Generator[None, None, None]:
        """Make one transaction of the steps inside: all of them are durable at its end, or none was made."""
        with self._writing():
            self._joined = True
            try:
                yield
            finally:
                self._joined = False

    @contextlib.contextmanager
    def _writing(self) -> Generator[None, None, None]:
        """One transaction, durable at its end; inside `together`, a part of that one."""
        if self._joined:
            yield
            return
        # What a failed write or fsync left behind is not known: only a new start reads it again.
        if self._failed is not None:
            raise StoreUnavailable(self._failed)
        try:
            with self._db:
                yield
        except _FAULTS as problem:
            unavailable = _unavailable(self.path, problem)
            self._failed = str(unavailable)
            raise unavailable from problem

    @property
    def learned_rate(self) -> float | None:
        rate = self._db.execute("SELECT learned_rate FROM upload").get
        return None if rate is None else float(rate)

    # Reading

    def totals(self) -> Totals:
        with _telling(self.path):
            (row,) = _rows(
                self._db,
                "SELECT row_count, stored_count, existed_count, duplicate_count, rejected_count,"
                " row_count - stored_count - existed_count - duplicate_count - rejected_count,"
                " requests, retries, seconds, open_batches FROM upload",
            )
        return Totals(*row)

    def batches(self) -> Iterator[AnsweredBatch]:
        """Every batch, in input order."""
        statement = (
            "SELECT batch_no, renumbered, state, codes, rows, attempts, unknown_attempts, answered_at, others"
            " FROM batch ORDER BY batch_no"
        )
        for batch_no, renumbered, state, codes, rows, attempts, unknown, answered_at, others in self._db.execute(
            statement
        ):
            settled = msgspec.json.decode(others, type=Settled) if others else Settled()
            number = self._number(batch_no, renumbered)
            yield AnsweredBatch(number, state, codes.split("\n"), rows, attempts, unknown, answered_at, settled)

    def duplicates(self) -> Iterator[Duplicate]:
        statement = "SELECT row, first_row, text FROM duplicate ORDER BY row"
        yield from (Duplicate(*row) for row in self._db.execute(statement))

    def rejected(self) -> Iterator[Rejected]:
        code = "reason_code" if ledgerfile.version(self._db) >= ledgerfile.WITH_REASON_CODE else "''"
        statement = f"SELECT row, text, reason, {code} FROM rejected ORDER BY row"
        yield from (Rejected(*row) for row in self._db.execute(statement))

    def _number(self, batch_no: int, renumbered: int) -> str:
        if self._number_prefix is None:
            self._number_prefix = str(self._db.execute("SELECT number_prefix FROM upload").get)
        prefix = self._number_prefix
        return f"{prefix}-{batch_no}" if not renumbered else f"{prefix}-{batch_no}-{renumbered}"


def _rows(db: apsw.Connection, statement: str, values: Sequence[object] = ()) -> list[Any]:
    """Untyped: what a statement's columns hold, only the statement says."""
    return db.execute(statement, tuple(values)).fetchall()


_FAULTS = (apsw.Error, OSError)
"""What SQLite and the disk say."""


@contextlib.contextmanager
def _telling(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except _FAULTS as problem:
        raise _unavailable(path, problem) from problem


def _unavailable(path: Path, problem: BaseException) -> StoreUnavailable:
    return StoreUnavailable(
        f"the ledger {path} can't be written or read ({type(problem).__name__}: {problem}): "
        "free the disk or correct what is wrong, then --resume"
    )
