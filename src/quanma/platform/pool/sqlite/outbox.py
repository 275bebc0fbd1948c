"""Events in the SQLite pool: written with their coupon, taken when due, delivered or given up."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from ....errors import ResourceNotExists
from ..contract import CallbackAddress, DueEvent, EventState
from .store import Store

ERROR_CHARACTERS = 200


def set_callback(store: Store, caller: str, mchid: str, notify_url: str, now: int) -> None:
    store.rows(
        "INSERT INTO callback VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET notify_url = excluded.notify_url, updated_at = excluded.updated_at",
        caller,
        mchid,
        notify_url,
        now,
    )
    store.callbacks[caller, mchid] = CallbackAddress(notify_url, now)


def callback(store: Store, caller: str, mchid: str) -> CallbackAddress:
    if (address := store.callbacks.get((caller, mchid))) is None:
        raise ResourceNotExists(f"回调地址不存在: merchant {caller} has set no notify_url for {mchid}")
    return address


def add(store: Store, mchid: str, coupon_ids: Sequence[int], now: int) -> None:
    """Write the events of coupons, if their stock's creator wants any: in the same turn as the coupons."""
    if (mchid, mchid) in store.callbacks:
        store.db.executemany(
            "INSERT INTO event (id, mchid, coupon_id, created_at, due_at) VALUES (?, ?, ?, ?, ?)",
            [(str(uuid.uuid4()), mchid, coupon_id, now, now) for coupon_id in coupon_ids],
        )


def take_due(store: Store, now: int, limit: int) -> list[DueEvent]:
    """Take events to be delivered now. Each is due again later, whatever becomes of this attempt or this process.

    Nothing is ever due further ahead than one retry: what is, was taken before the clock was set back.
    """
    taken = store.rows(
        "UPDATE event SET attempts = attempts + 1, due_at = ? WHERE event_no IN"
        " (SELECT event_no FROM event WHERE due_at <= ? OR due_at > ? ORDER BY due_at LIMIT ?)"
        " RETURNING id, mchid, coupon_id, created_at, attempts",
        now + store.retries.seconds,
        now,
        now + store.retries.seconds,
        limit,
    )
    due: list[DueEvent] = []
    for event_id, mchid, coupon_id, created_at, attempts in taken:
        coupon = store.coupon(coupon_id)
        stock = store.stocks[coupon.stock_id].facts.request
        notify_appid = stock.notify_config.notify_appid if stock.notify_config else None
        notify_url = callback(store, mchid, mchid).notify_url
        due.append(DueEvent(event_id, mchid, created_at, attempts, notify_url, coupon, notify_appid))
    return due


def delivered(store: Store, event: DueEvent, now: int) -> None:
    store.rows("UPDATE event SET due_at = NULL, delivered_at = ?, last_error = NULL WHERE id = ?", now, event.id)


def failed(store: Store, event: DueEvent, error: str) -> None:
    """Note a failed attempt. The last one gives the event up."""
    store.rows(
        "UPDATE event SET last_error = ?, due_at = iif(attempts >= ?, NULL, due_at) WHERE id = ?",
        error[:ERROR_CHARACTERS],
        store.retries.attempts_max,
        event.id,
    )


def list_events(store: Store, mchid: str, offset: int, limit: int) -> list[EventState]:
    """The latest first."""
    rows = store.rows(
        "SELECT id, created_at, attempts, due_at, delivered_at, last_error FROM event WHERE mchid = ?"
        " ORDER BY event_no DESC LIMIT ? OFFSET ?",
        mchid,
        limit,
        offset,
    )
    return [EventState(*row) for row in rows]


def resend(store: Store, mchid: str, event_id: str, now: int) -> None:
    """Make an event due again, under its old id, with all its attempts before it."""
    again = store.changed(
        "UPDATE event SET due_at = ?, attempts = 0, delivered_at = NULL WHERE mchid = ? AND id = ?",
        now,
        mchid,
        event_id,
    )
    if not again:
        raise ResourceNotExists(f"there is no event {event_id[:40]}")
