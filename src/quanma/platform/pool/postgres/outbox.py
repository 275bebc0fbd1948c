"""Events in the PostgreSQL pool: written with their coupon, taken when due, delivered or given up."""

from __future__ import annotations

import datetime
import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ....errors import ResourceNotExists
from ...coupons.coupon import CouponFacts
from ..contract import CallbackAddress, DueEvent, EventState, Waiting
from .connections import Connection, Connections
from .due_stocks import DueStocks, WaitingStock
from .queries import query
from .rows import coupon_of
from .stock_transaction import StockTransaction, stock_of

ERROR_CHARACTERS = 200
_IS_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}").fullmatch
EVENTS_MAX = 2**63 - 1
CLOCKS_APART_SECONDS = 10
"""How far the clocks of two hosts may be apart. Further, and one could post what the other is posting."""

_SET_CALLBACK, _CALLBACK, _CALLBACKS = query("set_callback"), query("callback"), query("callbacks")
_ADD_EVENTS, _NUMBERED = query("add_events"), query("coupons_numbered")
_WAITING, _STOCKS_WAITING = query("waiting"), query("stocks_waiting")
_TAKE_DUE, _TAKE_AHEAD = query("take_due"), query("take_ahead")
_DELIVERED, _NOT_TRIED, _FAILED = query("event_delivered"), query("event_not_tried"), query("event_failed")
_RESEND, _STOCK_OF_EVENT, _STOCKS_NUMBERED = query("resend_event"), query("stock_of_event"), query("stocks_numbered")
_MADE_BY, _OF_STOCK, _OF_MERCHANT = query("stocks_made_by"), query("events_of_stock"), query("events_of_merchant")


async def set_callback(connection: Connection, caller: str, mchid: str, notify_url: str, now: int) -> None:
    await connection.execute(
        _SET_CALLBACK,
        caller,
        mchid,
        notify_url,
        now,
    )


async def callback(connection: Connection, caller: str, mchid: str) -> CallbackAddress:
    row = await connection.fetchrow(_CALLBACK, caller, mchid)
    if row is None:
        raise ResourceNotExists(f"回调地址不存在: merchant {caller} has set no notify_url for {mchid}")
    return CallbackAddress(*row)


def check_listed(transaction: StockTransaction) -> None:
    """Raises NotListed: where there are many nodes, a stock is listed before events of it are written."""
    if transaction.due_stocks is not None and transaction.notifies:
        transaction.due_stocks.check(transaction.stock_no, transaction.stock_id, transaction.facts.mchid)


async def add(transaction: StockTransaction, coupons: Sequence[CouponFacts]) -> None:
    """Write the events of new coupons: in the same transaction as the coupons."""
    await transaction.connection.execute(
        _ADD_EVENTS,
        transaction.stock_no,
        transaction.facts.notified,
        [_new_id(transaction.now_us // 1000) for _ in coupons],
        [coupon.coupon_id for coupon in coupons],
        [coupon.sent_at for coupon in coupons],
    )


def _new_id(now_ms: int) -> uuid.UUID:
    """A UUID of version 7: it begins with the time, and so ids of one moment lie together in their index."""
    random = secrets.randbits(74)
    return uuid.UUID(int=now_ms << 80 | 7 << 76 | random >> 62 << 64 | 2 << 62 | random & (1 << 62) - 1)


async def waiting(connections: Connections, now: int, retry_seconds: int) -> list[Waiting]:
    """Return the merchants that have events due. No request waits for it."""
    ahead = _too_far_ahead(now, retry_seconds)

    async def look(connection: Connection) -> list[Waiting]:
        rows = await (connection.fetch(_CALLBACKS, due) if due_stocks else connection.fetch(_WAITING, now, ahead))
        return [Waiting(*row) for row in rows]

    due: list[str] = []
    if due_stocks := await connections.due_stocks():
        due = list({stock.mchid for stock in await due_stocks.look(now, ahead)})
        if not due:
            return []
    return await connections.call(look)


def _too_far_ahead(now: int, retry_seconds: int) -> int:
    """Nothing is ever due further ahead, but for what a host took whose clock is a little ahead of ours: what is, was
    taken before the clock was set back."""
    return now + retry_seconds + CLOCKS_APART_SECONDS


async def take_due(
    connections: Connections, now: int, limit: int, shares: Mapping[str, int] | None, retry_seconds: int
) -> list[DueEvent]:
    """Take events to be delivered now. Each is due again later, whatever becomes of this attempt or this process."""
    if shares is None:
        shares = {one.mchid: limit for one in await waiting(connections, now, retry_seconds)}
    due: list[DueEvent] = []
    if due_stocks := await connections.due_stocks():
        found = await due_stocks.found(now, _too_far_ahead(now, retry_seconds))
        for mchid, share in shares.items():
            stocks = [stock for stock in found if stock.mchid == mchid]
            due += await _take_of_nodes(
                connections, due_stocks, stocks, now, min(share, limit - len(due)), retry_seconds
            )
        return due
    for mchid, share in shares.items():
        due += await _take_of_merchant(connections, mchid, now, min(share, limit - len(due)), retry_seconds)
    return due


async def _take_of_merchant(
    connections: Connections, mchid: str, now: int, limit: int, retry_seconds: int
) -> list[DueEvent]:
    async def look(connection: Connection) -> list[str]:
        rows = await connection.fetch(_STOCKS_WAITING, mchid, now, _too_far_ahead(now, retry_seconds), limit)
        return [stock_id for (stock_id,) in rows]

    due: list[DueEvent] = []
    for stock_id in await connections.call(look) if limit else []:
        if len(due) >= limit:
            break
        due += await _take_of(connections, stock_id, now, limit - len(due), retry_seconds)
    return due


async def _take_of_nodes(
    connections: Connections,
    due_stocks: DueStocks,
    stocks: Sequence[WaitingStock],
    now: int,
    limit: int,
    retry_seconds: int,
) -> list[DueEvent]:
    """Of these stocks, but of those on a node that is away."""
    due: list[DueEvent] = []
    for stock in stocks:
        if len(due) < limit and not due_stocks.is_away(stock.node):
            take = partial(_take_of, connections, stock.stock_id, now, limit - len(due), retry_seconds)
            due += await due_stocks.on_node(stock.node, take) or []
    return due


async def _take_of(connections: Connections, stock_id: str, now: int, limit: int, retry_seconds: int) -> list[DueEvent]:
    """Of one stock. What another host takes at this moment is passed over."""

    async def take(connection: Connection) -> list[DueEvent]:
        stock_no, facts = await stock_of(connection, stock_id)
        again_at = now + retry_seconds
        taken = await connection.fetch(_TAKE_DUE, stock_no, facts.notified, again_at, limit, now)
        taken = taken or await connection.fetch(
            _TAKE_AHEAD, stock_no, facts.notified, again_at, limit, _too_far_ahead(now, retry_seconds)
        )
        if not taken:
            return []
        rows = await connection.fetch(_NUMBERED, stock_no, [row["coupon_id"] for row in taken])
        coupons = {coupon.coupon_id: coupon for coupon in (coupon_of(stock_id, row) for row in rows)}
        notify_url = (await callback(connection, facts.notified, facts.notified)).notify_url
        return [
            DueEvent(str(event_id), facts.notified, created_at, attempts, notify_url, coupons[coupon_id], facts)
            for event_id, created_at, attempts, coupon_id in taken
        ]

    return await connections.transaction(take)


async def delivered(connection: Connection, connections: Connections, event: DueEvent, now: int) -> None:
    await connection.execute(
        _DELIVERED,
        *await _key(connection, connections, event),
        now,
    )


async def not_tried(connection: Connection, connections: Connections, event: DueEvent, now: int) -> None:
    if connections.listing is not None:  # It may be listed for later only.
        await _list(connection, connections.listing, event.mchid, event.coupon.stock_id)
    await connection.execute(
        _NOT_TRIED,
        *await _key(connection, connections, event),
        now,
    )


async def failed(
    connection: Connection, connections: Connections, event: DueEvent, error: str, attempts_max: int
) -> None:
    """Note a failed attempt. The last one gives the event up."""
    await connection.execute(
        _FAILED,
        *await _key(connection, connections, event),
        error[:ERROR_CHARACTERS],
        attempts_max,
    )


async def _key(connection: Connection, connections: Connections, event: DueEvent) -> tuple[int | None, int, str]:
    """Where an event stands, and its id: should the stock's number be another's now, no event there has that id."""
    return await connections.numbers.of(connection, event.coupon.stock_id), event.coupon.coupon_id, event.id


async def list_events(
    connection: Connection, connections: Connections, mchid: str, offset: int, limit: int
) -> list[EventState]:
    """The latest first."""
    until = min(offset + limit, EVENTS_MAX)
    if not connections.many_nodes:
        rows = await connection.fetch(
            _OF_MERCHANT,
            mchid,
            until,
            limit,
            offset,
        )
        return [_state(row) for row in rows]
    found: list[tuple[int, datetime.datetime, EventState]] = []
    for (stock_no,) in await connection.fetch(_MADE_BY, mchid):
        rows = await connection.fetch(_OF_STOCK, stock_no, until)
        found += [(row["created_at"], row["written_at"], _state(row)) for row in rows]
    found.sort(key=lambda one: one[:2], reverse=True)
    return [state for _, _, state in found[offset : offset + limit]]


def _state(row: Any) -> EventState:
    return EventState(str(row["id"]), *row[2:])


async def resend(connection: Connection, connections: Connections, mchid: str, event_id: str, now: int) -> None:
    """Make an event due again, under its old id, with all its attempts before it."""
    absent = ResourceNotExists(f"there is no event {event_id[:40]}")
    if not _IS_ID(event_id):
        raise absent
    if not connections.many_nodes:
        found = await connection.fetch(
            _STOCK_OF_EVENT,
            mchid,
            event_id,
        )
    else:
        found = await connection.fetch(_MADE_BY, mchid)
    for (stock_no,) in found:
        again = await connection.execute(
            _RESEND,
            stock_no,
            event_id,
            now,
        )
        if again == "UPDATE 1":
            if connections.listing is not None:
                for row in await connection.fetch(_STOCKS_NUMBERED, [stock_no]):
                    await connections.listing.list_stock(connection, *row)
            return
    raise absent


async def _list(connection: Connection, listing: DueStocks, mchid: str, stock_id: str) -> None:
    stock_no, _ = await stock_of(connection, stock_id)
    await listing.list_stock(connection, stock_no, stock_id, mchid)
