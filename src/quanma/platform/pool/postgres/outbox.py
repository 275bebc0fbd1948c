"""Events in the PostgreSQL pool: written with their coupon, taken when due, delivered or given up."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping, Sequence

from ....errors import ResourceNotExists
from ...coupons.coupon import CouponFacts
from ..contract import CallbackAddress, DueEvent, EventState, Waiting
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


async def waiting(link: Link, now: int, retry_seconds: int) -> list[Waiting]:
    """Return the merchants that have events due. No request waits for it."""
    ahead = _too_far_ahead(now, retry_seconds)

    async def look(connection: Connection) -> list[Waiting]:
        if link.many_nodes:
            # Over nodes, no look for each merchant can be sent with the merchants: each node looks through its events.
            due = [mchid for (mchid,) in await connection.fetch(_WAITING_ON_NODES, now, ahead)]
            rows = await connection.fetch(
                "SELECT mchid, notify_url FROM callback WHERE caller = mchid AND mchid = ANY($1)", due
            )
        else:
            rows = await connection.fetch(_WAITING, now, ahead)
        return [Waiting(*row) for row in rows]

    return await link.call(look)


# These look at all stocks.
_WAITING = (
    "SELECT c.mchid, c.notify_url FROM callback c CROSS JOIN LATERAL ("
    # In order, so that it is looked for in the index, and not in the whole table for who has none.
    " (SELECT FROM event e WHERE e.mchid = c.mchid AND e.due_at <= $1 ORDER BY e.due_at LIMIT 1)"
    " UNION ALL (SELECT FROM event e WHERE e.mchid = c.mchid AND e.due_at > $2 ORDER BY e.due_at LIMIT 1) LIMIT 1) due"
    " WHERE c.caller = c.mchid"
)
_WAITING_ON_NODES = "SELECT DISTINCT mchid FROM event WHERE due_at <= $1 OR due_at > $2"
_STOCKS_WAITING = (
    "SELECT DISTINCT stock_id FROM ("
    " (SELECT stock_id FROM event WHERE mchid = $1 AND due_at <= $2 ORDER BY due_at LIMIT $4)"
    " UNION ALL (SELECT stock_id FROM event WHERE mchid = $1 AND due_at > $3 ORDER BY due_at DESC LIMIT $4)) waiting"
)


def _too_far_ahead(now: int, retry_seconds: int) -> int:
    """Nothing is ever due further ahead, but for what a host took whose clock is a little ahead of ours: what is, was
    taken before the clock was set back."""
    return now + retry_seconds + CLOCKS_APART_SECONDS


async def take_due(
    link: Link, now: int, limit: int, shares: Mapping[str, int] | None, retry_seconds: int
) -> list[DueEvent]:
    """Take events to be delivered now. Each is due again later, whatever becomes of this attempt or this process."""
    if shares is None:
        shares = {one.mchid: limit for one in await waiting(link, now, retry_seconds)}
    due: list[DueEvent] = []
    for mchid, share in shares.items():
        due += await _take_of_merchant(link, mchid, now, min(share, limit - len(due)), retry_seconds)
    return due


async def _take_of_merchant(link: Link, mchid: str, now: int, limit: int, retry_seconds: int) -> list[DueEvent]:
    async def look(connection: Connection) -> list[str]:
        rows = await connection.fetch(_STOCKS_WAITING, mchid, now, _too_far_ahead(now, retry_seconds), limit)
        return [stock_id for (stock_id,) in rows]

    due: list[DueEvent] = []
    for stock_id in await link.call(look) if limit else []:
        if len(due) >= limit:
            break
        due += await _take_of(link, stock_id, now, limit - len(due), retry_seconds)
    return due


async def _take_of(link: Link, stock_id: str, now: int, limit: int, retry_seconds: int) -> list[DueEvent]:
    """Of one stock. What another host takes at this moment is passed over."""

    async def take(connection: Connection) -> list[DueEvent]:
        facts = await stock_of(connection, stock_id)
        again_at = now + retry_seconds
        taken = await connection.fetch(_TAKE_DUE, stock_id, facts.mchid, again_at, limit, now)
        taken = taken or await connection.fetch(
            _TAKE_AHEAD, stock_id, facts.mchid, again_at, limit, _too_far_ahead(now, retry_seconds)
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


_TAKE_DUE, _TAKE_AHEAD = (
    f"WITH due AS MATERIALIZED (SELECT id FROM event WHERE stock_id = $1 AND mchid = $2 AND due_at {which} $5"
    " ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)"
    " UPDATE event e SET attempts = attempts + 1, due_at = $3 FROM due WHERE e.stock_id = $1 AND e.id = due.id"
    " RETURNING e.id, e.created_at, e.attempts, e.coupon_code"
    for which in ("<=", ">")
)


async def delivered(connection: Connection, event: DueEvent, now: int) -> None:
    await connection.execute(
        "UPDATE event SET due_at = NULL, delivered_at = $3, last_error = NULL WHERE stock_id = $1 AND id = $2",
        event.coupon.stock_id,
        event.id,
        now,
    )


async def not_tried(connection: Connection, event: DueEvent, now: int) -> None:
    await connection.execute(
        "UPDATE event SET attempts = greatest(0, attempts - 1), due_at = $3 WHERE stock_id = $1 AND id = $2",
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
