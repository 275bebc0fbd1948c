"""A PostgreSQL pool while nobody is asked for: its schema brought up to date, its fence looked at and lifted."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import asyncpg

from ....errors import Misconfigured, StoreUnavailable
from ....wire.times import rfc3339
from .. import reconciling
from ..reconcile_file import ReconcileFile
from ..reconciling import CodeState, Decision, Pair
from ..status import PoolStatus
from . import between, schema
from .address import addresses_of
from .connections import Connection, unreachable
from .fencing import until_hosts_have_spoken
from .missing import lacking, missing_marks, note_missing, told
from .queries import written_out
from .seen import lineage
from .session import NO_SESSION, begin_session, look_closely
from .stock_transaction import stock_of
from .witness import FOLDER as WITNESS
from .witness import Witness


async def migrate(url: str, *, distributed: bool) -> list[str]:
    """Bring the schema up to date; `distributed`: and spread the tables over a Citus cluster. Returns what was done.

    Raises:
        StoreUnavailable: see `schema.migrate` and `schema.distribute`.
    """
    async with connected(url) as connection:
        done = await schema.migrate(connection)
        if distributed:
            done += [f"distributed {table}" for table in await schema.distribute(connection)]
        return done


async def status(url: str, folder: Path) -> PoolStatus:
    """What the pool says of itself, and what it lacks of what its hosts acknowledged, this one at least."""
    async with connected(url) as connection:
        await schema.check(connection)
        await _compare(connection, folder)
        fenced = await schema.fence(connection)
        totals = await connection.fetchrow(
            "SELECT coalesce(sum(uploaded - deleted), 0), coalesce(sum(free - stale), 0), coalesce(sum(sent), 0)"
            " FROM (SELECT DISTINCT ON (stock_no) * FROM stock_counters ORDER BY stock_no, transaction_no DESC) latest"
        )
        codes, available, coupons = map(int, totals)
        stocks = await connection.fetchval("SELECT count(*) FROM stock")
        last_upload_at = await connection.fetchval("SELECT max(success_at) FROM upload")
        last_coupon_at = await connection.fetchval("SELECT max(sent_at) FROM coupon")
        latest = [None if at is None else rfc3339(at) for at in (last_upload_at, last_coupon_at)]
        return PoolStatus(
            fenced,
            await lacking(connection) if fenced else reconciling.NOT_KNOWN,
            stocks,
            codes,
            available,
            coupons,
            *latest,
        )


async def _compare(connection: Connection, folder: Path) -> None:
    """Compare the pool with this host's witness, if it has one: what is missing is noted, and fences the pool."""
    with _witness(folder, await schema.pool_id(connection)) as witness:
        if witness is None or witness.host.history != await schema.history(connection):
            return  # It was reconciled since, or goes back to before an earlier time that it was.
        many_nodes = await schema.has_many_nodes(connection)
        if missing := await missing_marks(connection, witness, witness.host.history, many_nodes=many_nodes):
            async with connection.transaction():
                if await schema.fence(connection) is None:
                    await schema.raise_fence(connection, told(missing))
                await note_missing(connection, witness, missing)


@contextlib.contextmanager
def _witness(folder: Path, pool_id: str | None) -> Generator[Witness | None, None, None]:
    """This host's, if it has one of the pool."""
    if not pool_id or not (folder / WITNESS / pool_id).is_dir():
        yield None
        return
    with contextlib.closing(Witness(folder, pool_id)) as witness:
        yield witness


async def fence(url: str, why: str) -> None:
    async with connected(url) as connection:
        await schema.check(connection)
        async with connection.transaction():
            if await schema.fence(connection) is None:
                await schema.raise_fence(connection, why)


async def reconcile(
    url: str, folder: Path, issued: ReconcileFile | None, now: int, *, accept_short: int | None, dry_run: bool
) -> Decision:
    """Take codes that were given out elsewhere out of the pool, then lift the fence: all of it, or nothing.

    Raises:
        StoreUnavailable: a host that serves the pool has not said yet what it knows to be missing.
    """
    async with connected(url) as connection:
        await schema.check(connection)
        if await schema.fence(connection) is not None:
            await until_hosts_have_spoken(connection)
        decision = await _reconciled(connection, issued, now, accept_short=accept_short, dry_run=dry_run)
        if not decision.refused and not dry_run:
            # Also where no host of it serves: a copy of before is known for one, though nothing was drawn since.
            with _witness(folder, await schema.pool_id(connection)) as witness:
                history = await schema.history(connection)
                if witness is not None and 0 < lineage(witness.host.history) < lineage(history):
                    witness.change_host(history=history)
        return decision


async def _reconciled(
    connection: Connection, issued: ReconcileFile | None, now: int, *, accept_short: int | None, dry_run: bool
) -> Decision:
    async with connection.transaction():
        # From here on, nobody notes that anything more is missing.
        await connection.fetchval("SELECT 1 FROM about WHERE name = 'fenced' FOR UPDATE")
        fenced = await schema.fence(connection) is not None
        lacks = await lacking(connection) if fenced else reconciling.NOT_KNOWN
        codes: dict[str, list[str]] = defaultdict(list)
        for stock_id, coupon_code in sorted(reconciling.pairs(issued, lacks)):
            codes[stock_id].append(coupon_code)
        stocks = dict(await connection.fetch("SELECT stock_id, stock_no FROM stock"))
        states: dict[Pair, CodeState] = {}
        positions: dict[Pair, int] = {}
        for stock_id, of_stock in codes.items():
            if (stock_no := stocks.get(stock_id)) is None:
                states.update(((stock_id, coupon_code), CodeState.NO_STOCK) for coupon_code in of_stock)
                continue
            # As a transaction of the stock: none comes between.
            await connection.fetchval("SELECT 1 FROM stock_lock WHERE stock_no = $1 FOR UPDATE", stock_no)
            _, facts = await stock_of(connection, stock_id)
            for coupon_code, position, given, barred in await connection.fetch(_STATES, stock_no, of_stock):
                absent = CodeState.ABSENT if facts.takes_uploads else CodeState.OPEN
                free = CodeState.FREE if position is not None else CodeState.KEPT_OUT if barred else absent
                states[stock_id, coupon_code] = CodeState.GIVEN if given else free
                if position is not None:
                    positions[stock_id, coupon_code] = int(position)
        decision = reconciling.decide(issued, lacks, states, {*stocks}, fenced=fenced, accept_short=accept_short)
        if decision.refused or dry_run:
            return decision
        for stock_id in codes:
            if stock_id in stocks:
                await _take_out(connection, stock_id, stocks[stock_id], decision, positions, now)
        if fenced:
            await schema.lift_fence(connection)
        return decision


async def _take_out(
    connection: Connection, stock_id: str, stock_no: int, decision: Decision, positions: dict[Pair, int], now: int
) -> None:
    """Nobody is given these codes any more. They count as deleted, without a number: no caller's can be theirs."""
    free_codes = [coupon_code for of, coupon_code in decision.take_out if of == stock_id]
    kept_out = [coupon_code for of, coupon_code in decision.keep_out if of == stock_id] + free_codes
    await connection.execute(
        "INSERT INTO deletion (stock_no, position, coupon_code, deleted_at)"
        " SELECT $1, position, coupon_code, $4 FROM unnest($2::integer[], $3::text[]) AS gone(position, coupon_code)",
        stock_no,
        [positions[stock_id, coupon_code] for coupon_code in free_codes],
        free_codes,
        now,
    )
    await connection.execute(
        "INSERT INTO barred (stock_no, coupon_code, barred_at)"
        " SELECT $1, coupon_code, $3 FROM unnest($2::text[]) AS kept(coupon_code) ON CONFLICT DO NOTHING",
        stock_no,
        kept_out,
        now,
    )
    await connection.execute(
        "INSERT INTO stock_counters SELECT stock_no, transaction_no + 1, uploaded, deleted + $2, free, stale + $2,"
        " shift, sent, day, sent_on_day FROM stock_counters WHERE stock_no = $1 ORDER BY transaction_no DESC LIMIT 1",
        stock_no,
        len(free_codes),
    )


_STATES = written_out(
    "SELECT o.coupon_code, o.position, {carrier at o.position} IS NOT NULL,"
    " EXISTS (SELECT FROM barred b WHERE b.stock_no = $1 AND b.coupon_code = o.coupon_code)"
    " FROM (SELECT o.coupon_code, {position of o.coupon_code} AS position FROM unnest($2::text[]) AS o(coupon_code)"
    " OFFSET 0) o"
)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection, None]:
    """A connection whose statements may take as long as they take. Raises Misconfigured: there is none to be had."""
    problem: BaseException = OSError()
    for address in addresses_of(url):
        try:
            connection = await begin_session(address, None)
            break
        except NO_SESSION as failed:
            problem = failed
    else:
        raise Misconfigured(unreachable(url, problem)) from None
    try:
        with between.told():
            if connection.is_led:
                await look_closely(connection, address)
            # A step may take long, and what it reads is all of a table.
            await connection.execute("SET statement_timeout = 0; SET enable_seqscan = on")
            yield connection
    except asyncpg.PostgresError as failed:
        raise StoreUnavailable(f"the database refused ({type(failed).__name__}: {failed})") from None
    finally:
        await connection.close()
