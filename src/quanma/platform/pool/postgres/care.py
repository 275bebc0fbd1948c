"""A PostgreSQL pool while nobody is asked for: its schema brought up to date, its fence looked at and lifted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import asyncpg

from ....api.couponcodes import DeleteCode
from ....errors import Misconfigured, RequestRefused, ResourceNotExists, StoreUnavailable
from ....wire.times import rfc3339
from ..issued_codes import IssuedCode
from ..standing import Reconciled, Standing
from . import PostgresPool, schema
from .address import addresses_of
from .link import CONNECT_SECONDS, Connection
from .session import begin_session


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
        return Standing(fenced, None, stocks, codes, available, coupons, *latest)


async def reconcile(url: str, folder: Path, issued: Sequence[IssuedCode], now: int) -> Reconciled:
    """Take codes that were given out elsewhere out of the pool, then lift the fence. May be repeated from the start."""
    taken_out, known, unknown = 0, list[int](), list[int]()
    async with connected(url) as connection:
        creators = {
            str(stock_id): str(mchid) for stock_id, mchid in await connection.fetch("SELECT stock_id, mchid FROM stock")
        }
        pool = PostgresPool(url, folder)
        try:
            for line, stock_id, coupon_code in issued:
                request = DeleteCode(
                    stock_id=stock_id, coupon_code=coupon_code, delete_request_no=f"reconciled {coupon_code}"
                )
                try:
                    await pool.delete_code(creators.get(stock_id, ""), request, now)
                    taken_out += 1
                except ResourceNotExists:
                    unknown.append(line)
                except RequestRefused:
                    known.append(line)
                    continue
                await connection.execute(
                    "INSERT INTO barred (stock_id, coupon_code, barred_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    stock_id,
                    coupon_code,
                    now,
                )
        finally:
            await pool.close()
        async with connection.transaction():
            await schema.lift_fence(connection)
    return Reconciled(taken_out, known, unknown)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection, None]:
    """A connection whose statements may take as long as they take. Raises Misconfigured: there is none to be had."""
    problem: BaseException = OSError()
    for address in addresses_of(url):
        try:
            connection = await begin_session(address, CONNECT_SECONDS, None)
            break
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as failed:
            problem = failed
    else:
        raise Misconfigured(f"the database can't be reached ({type(problem).__name__}): correct the URL") from None
    try:
        # A step may take long, and what it reads is all of a table.
        await connection.execute("SET statement_timeout = 0; SET enable_seqscan = on")
        yield connection
    except asyncpg.PostgresError as failed:
        raise StoreUnavailable(f"the database refused ({type(failed).__name__}: {failed})") from None
    finally:
        await connection.close()
