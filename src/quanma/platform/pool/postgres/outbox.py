"""Events in the PostgreSQL pool: written with their coupon, taken when due, delivered or given up."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence

from ....errors import ResourceNotExists
from ...life import CouponFacts
from ..contract import CallbackAddress, DueEvent, EventState
from .codes import coupons_by_code
from .link import Connection, Link
from .turn import Turn, stock_of

ERROR_CHARACTERS = 200
EVENTS_MAX = 2**63 - 1
CLOCKS_APART_SECONDS = 10
"""How far the clocks of two hosts may be apart. Further, and one could post what the other is posting."""


async def set_callback(connection: Connection, caller: str, mchid: str, notify_url: str, now: int) -> None:
    await connection.execute(
        "INSERT INTO callback (caller, mchid, notify_url, updated_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (caller, mchid) DO UPDATE SET notify_url = excluded.notify_url, updated_at = excluded.updated_at",
        caller,
        mchid,
        notify_url,
        now,
    )


async def callback(connection: Connection, caller: str, mchid: str) -> CallbackAddress:
    row = await connection.fetchrow(
        "SELECT notify_url, updated_at FROM callback WHERE caller = $1 AND mchid = $2", caller, mchid
    )
    if row is None:
        raise ResourceNotExists(f"回调地址不存在: merchant {caller} has set no notify_url for {mchid}")
    return CallbackAddress(*row)


async def add(turn: Turn, coupons: Sequence[CouponFacts]) -> None:
    """Write the events of new coupons: in the same turn as the coupons."""
    await turn.connection.execute(
        "INSERT INTO event (stock_id, mchid, id, coupon_id, coupon_code, created_at, due_at)"
        " SELECT $1, $2, *, due FROM unnest($3::text[], $4::bigint[], $5::text[], $6::bigint[]) u(id, no, code, due)",
        turn.stock_id,
        turn.facts.mchid,
        [str(uuid.uuid4()) for _ in coupons],
        [coupon.coupon_id for coupon in coupons],
        [coupon.coupon_code for coupon in coupons],
        [coupon.sent_at for coupon in coupons],
    )


async def take_due(link: Link, now: int, limit: int, retry_seconds: int) -> list[DueEvent]:
    """Take events to be delivered now. Each is due again later, whatever becomes of this attempt or this process.

    Nothing is ever due further ahead than one retry, but for what a host took whose clock is a little ahead of ours:
    what is, was taken before the clock was set back.
    """

    async def waiting(connection: Connection) -> list[str]:
        # The one statement that looks at all stocks. No request waits for it.
        rows = await connection.fetch(_WAITING, now, now + retry_seconds + CLOCKS_APART_SECONDS, limit)
        return [stock_id for (stock_id,) in rows]

    due: list[DueEvent] = []
    for stock_id in await link.call(waiting):
        if len(due) >= limit:
            break
        due += await _take_of(link, stock_id, now, limit - len(due), retry_seconds)
    return due


_WAITING = (
    "SELECT DISTINCT stock_id FROM ("
    " (SELECT stock_id FROM event WHERE due_at <= $1 ORDER BY due_at LIMIT $3)"
    " UNION ALL (SELECT stock_id FROM event WHERE due_at > $2 ORDER BY due_at DESC LIMIT $3)) waiting"
)


async def _take_of(link: Link, stock_id: str, now: int, limit: int, retry_seconds: int) -> list[DueEvent]:
    """Of one stock. What another host takes at this moment is passed over."""

    async def take(connection: Connection) -> list[DueEvent]:
        facts = await stock_of(connection, stock_id)
        taken = await connection.fetch(
            "WITH due AS MATERIALIZED (SELECT id FROM event WHERE stock_id = $1 AND (due_at <= $2 OR due_at > $5)"
            " ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)"
            " UPDATE event e SET attempts = attempts + 1, due_at = $3 FROM due WHERE e.stock_id = $1 AND e.id = due.id"
            " RETURNING e.id, e.created_at, e.attempts, e.coupon_code",
            stock_id,
            now,
            now + retry_seconds,
            limit,
            now + retry_seconds + CLOCKS_APART_SECONDS,
        )
        if not taken:
            return []
        coupons = await coupons_by_code(connection, stock_id, [row["coupon_code"] for row in taken])
        notify_url = (await callback(connection, facts.mchid, facts.mchid)).notify_url
        config = facts.request.notify_config
        notify_appid = config.notify_appid if config else None
        return [
            DueEvent(event_id, facts.mchid, created_at, attempts, notify_url, coupons[coupon_code], notify_appid)
            for event_id, created_at, attempts, coupon_code in taken
        ]

    return await link.transaction(take)


async def delivered(connection: Connection, event: DueEvent, now: int) -> None:
    await connection.execute(
        "UPDATE event SET due_at = NULL, delivered_at = $3, last_error = NULL WHERE stock_id = $1 AND id = $2",
        event.coupon.stock_id,
        event.id,
        now,
    )


async def failed(connection: Connection, event: DueEvent, error: str, attempts_max: int) -> None:
    """Note a failed attempt. The last one gives the event up."""
    await connection.execute(
        "UPDATE event SET last_error = $3, due_at = CASE WHEN attempts >= $4 THEN NULL ELSE due_at END"
        " WHERE stock_id = $1 AND id = $2",
        event.coupon.stock_id,
        event.id,
        error[:ERROR_CHARACTERS],
        attempts_max,
    )


async def list_events(connection: Connection, link: Link, mchid: str, offset: int, limit: int) -> list[EventState]:
    """The latest first."""
    until = min(offset + limit, EVENTS_MAX)
    if not link.many_nodes:
        rows = await connection.fetch(
            f"SELECT e.* FROM ({_MADE_BY}) s, LATERAL ({_LATEST.format(stock_id='s.stock_id')} OFFSET 0) e"
            " ORDER BY e.created_at DESC, e.written_at DESC LIMIT $3 OFFSET $4",
            mchid,
            until,
            limit,
            offset,
        )
        return [EventState(*row[1:]) for row in rows]
    found: list[tuple[int, datetime.datetime, EventState]] = []
    for (stock_id,) in await connection.fetch(_MADE_BY, mchid):
        rows = await connection.fetch(_LATEST.format(stock_id="$1"), stock_id, until)
        found += [(row["created_at"], row["written_at"], EventState(*row[1:])) for row in rows]
    found.sort(key=lambda one: one[:2], reverse=True)
    return [state for _, _, state in found[offset : offset + limit]]


async def resend(connection: Connection, link: Link, mchid: str, event_id: str, now: int) -> None:
    """Make an event due again, under its old id, with all its attempts before it."""
    if not link.many_nodes:
        found = await connection.fetch(
            f"SELECT e.stock_id FROM ({_MADE_BY}) s, LATERAL ("
            "SELECT stock_id FROM event WHERE id = $2 AND stock_id = s.stock_id OFFSET 0) e",
            mchid,
            event_id,
        )
    else:
        found = await connection.fetch(_MADE_BY, mchid)
    for (stock_id,) in found:
        again = await connection.execute(
            "UPDATE event SET due_at = $3, attempts = 0, delivered_at = NULL WHERE stock_id = $1 AND id = $2",
            stock_id,
            event_id,
            now,
        )
        if again == "UPDATE 1":
            return
    raise ResourceNotExists(f"there is no event {event_id[:40]}")


_MADE_BY = "SELECT stock_id FROM stock WHERE mchid = $1"
# Coupons are numbered in their stock: between stocks, events of one second go by when they were written.
_LATEST = (
    "SELECT c.written_at, e.id, e.created_at, e.attempts, e.due_at, e.delivered_at, e.last_error"
    " FROM event e JOIN coupon c ON c.stock_id = {stock_id} AND c.coupon_code = e.coupon_code"
    " WHERE e.stock_id = {stock_id} ORDER BY e.coupon_id DESC LIMIT $2"
)
