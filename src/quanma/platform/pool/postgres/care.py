"""A PostgreSQL pool while nobody is asked for: its schema brought up to date, its fence looked at and lifted."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator

import asyncpg

from ....errors import Misconfigured, StoreUnavailable
from ....wire.times import rfc3339
from .. import reconciling
from ..issued_codes import IssuedFile
from ..reconciling import Decision, Fate, Pair
from ..standing import Standing
from . import schema
from .link import CONNECT_SECONDS, SETTINGS, Connection, Link, check_ground, with_primary
from .turn import Turn


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


async def standing(url: str) -> Standing:
    async with connected(url) as connection:
        await schema.check(connection)
        fenced = await schema.fence(connection)
        totals = await connection.fetchrow(
            "SELECT coalesce(sum(uploaded - deleted), 0), coalesce(sum(free - stale), 0), coalesce(sum(sent), 0)"
            " FROM (SELECT DISTINCT ON (stock_id) * FROM tally ORDER BY stock_id, turn_no DESC) latest"
        )
        codes, available, coupons = map(int, totals)
        stocks = await connection.fetchval("SELECT count(*) FROM stock")
        last_upload_at = await connection.fetchval("SELECT max(success_at) FROM upload")
        last_coupon_at = await connection.fetchval("SELECT max(sent_at) FROM coupon")
        latest = [None if at is None else rfc3339(at) for at in (last_upload_at, last_coupon_at)]
        return Standing(fenced, reconciling.NOT_KNOWN, stocks, codes, available, coupons, *latest)


async def reconcile(
    url: str, issued: IssuedFile | None, now: int, *, accept_short: int | None, dry_run: bool
) -> Decision:
    """Take codes that were given out elsewhere out of the pool, then lift the fence: all of it, or nothing."""
    async with connected(url) as connection:
        await schema.check(connection)
        async with connection.transaction():
            fenced = await schema.fence(connection) is not None
            codes: dict[str, list[str]] = defaultdict(list)
            for stock_id, coupon_code in sorted(reconciling.pairs(issued, reconciling.NOT_KNOWN)):
                codes[stock_id].append(coupon_code)
            stocks = {str(stock_id) for (stock_id,) in await connection.fetch("SELECT stock_id FROM stock")}
            turns: dict[str, Turn] = {}
            fates: dict[Pair, Fate] = {}
            positions: dict[Pair, int] = {}
            link = Link(url)
            for stock_id, of_stock in codes.items():
                if stock_id not in stocks:
                    fates.update(((stock_id, coupon_code), Fate.NO_STOCK) for coupon_code in of_stock)
                    continue
                turn = turns[stock_id] = await Turn.begin(connection, link, stock_id)
                for coupon_code, position, given, barred in await connection.fetch(_FATES, stock_id, of_stock):
                    absent = Fate.ABSENT if turn.facts.takes_uploads else Fate.OPEN
                    free = Fate.FREE if position is not None else Fate.KEPT_OUT if barred else absent
                    fates[stock_id, coupon_code] = Fate.GIVEN if given else free
                    if position is not None:
                        positions[stock_id, coupon_code] = int(position)
            decision = reconciling.decide(
                issued, reconciling.NOT_KNOWN, fates, stocks, fenced=fenced, accept_short=accept_short
            )
            if decision.refused or dry_run:
                return decision
            for stock_id, turn in turns.items():
                free_codes = [coupon_code for of, coupon_code in decision.take_out if of == stock_id]
                kept_out = [coupon_code for of, coupon_code in decision.keep_out if of == stock_id] + free_codes
                await connection.execute(
                    "INSERT INTO deletion (stock_id, delete_request_no, position, coupon_code, deleted_at)"
                    " SELECT $1, no, position, coupon_code, $5 FROM unnest($2::text[], $3::bigint[], $4::text[])"
                    " AS gone(no, position, coupon_code)",
                    stock_id,
                    [reconciling.delete_request_no(coupon_code) for coupon_code in free_codes],
                    [positions[stock_id, coupon_code] for coupon_code in free_codes],
                    free_codes,
                    now,
                )
                await connection.execute(
                    "DELETE FROM code WHERE stock_id = $1 AND coupon_code = ANY($2::text[])", stock_id, free_codes
                )
                await connection.execute(
                    "INSERT INTO barred (stock_id, coupon_code, barred_at)"
                    " SELECT $1, coupon_code, $3 FROM unnest($2::text[]) AS kept(coupon_code) ON CONFLICT DO NOTHING",
                    stock_id,
                    kept_out,
                    now,
                )
                turn.tally.deleted += len(free_codes)
                turn.tally.stale += len(free_codes)
                await turn.end()
            if fenced:
                await schema.lift_fence(connection)
            return decision


_FATES = """
SELECT o.coupon_code,
       (SELECT c.position FROM code c WHERE c.stock_id = $1 AND c.coupon_code = o.coupon_code),
       EXISTS (SELECT FROM coupon k WHERE k.stock_id = $1 AND k.coupon_code = o.coupon_code),
       EXISTS (SELECT FROM barred b WHERE b.stock_id = $1 AND b.coupon_code = o.coupon_code)
  FROM unnest($2::text[]) AS o(coupon_code)
"""


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection, None]:
    """A connection whose statements may take as long as they take. Raises Misconfigured: there is none to be had."""
    try:
        connection = await asyncpg.connect(with_primary(url), timeout=int(CONNECT_SECONDS), server_settings=SETTINGS)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
        raise Misconfigured(f"the database can't be reached ({type(problem).__name__}): correct the URL") from None
    try:
        await check_ground(connection)
        # A step may take long, and what it reads is all of a table.
        await connection.execute("SET statement_timeout = 0; SET enable_seqscan = on")
        yield connection
    except asyncpg.PostgresError as problem:
        raise StoreUnavailable(f"the database refused ({type(problem).__name__}: {problem})") from None
    finally:
        await connection.close()
