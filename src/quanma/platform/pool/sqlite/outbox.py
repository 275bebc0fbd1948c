"""Events in the SQLite pool: written with their coupon, taken when due, delivered or given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from ....errors import ResourceNotExists
from ...chance import Chance
from ..contract import CallbackAddress, DueEvent, EventState, Waiting
from .rows import CALLBACK, EVENT, CallbackRow, EventRow
from .store import Store

ERROR_CHARACTERS = 200
_CHANCE = Chance("events")


def set_callback(store: Store, caller: str, mchid: str, notify_url: str, now: int) -> None:
    known = store.rows.read(CALLBACK, "caller = ? AND mchid = ?", caller, mchid)
    if known:
        store.rows.change(CALLBACK, known[0], notify_url=notify_url, updated_at=now)
    else:
        store.rows.add(CALLBACK, CallbackRow(caller, mchid, notify_url, now))
    store.callbacks[caller, mchid] = CallbackAddress(notify_url, now)


def callback(store: Store, caller: str, mchid: str) -> CallbackAddress:
    if (address := store.callbacks.get((caller, mchid))) is None:
        raise ResourceNotExists(f"回调地址不存在: merchant {caller} has set no notify_url for {mchid}")
    return address


def add(store: Store, mchid: str, coupon_ids: Sequence[int], now: int) -> None:
    """Write the events of coupons, if their stock's creator wants any: in the same turn as the coupons."""
    if (mchid, mchid) in store.callbacks:
        number = partial(store.rows.number, EVENT)
        store.rows.add_many(
            EVENT, [(number(), _CHANCE.uuid(), mchid, it, now, 0, now, None, None) for it in coupon_ids]
        )


def waiting(store: Store, now: int) -> list[Waiting]:
    """Return the merchants that have events due. One look at the index for each that has any that are not delivered."""
    pending = store.rows.values(EVENT, "mchid", "due_at IS NOT NULL")
    return [Waiting(mchid, callback(store, mchid, mchid).notify_url) for mchid in pending if _due(store, mchid, now, 1)]


def _due(store: Store, mchid: str, now: int, limit: int) -> list[EventRow]:
    """Return a merchant's events that are due, the longest due first.

    Nothing is ever due further ahead than one retry: what is, was taken before the clock was set back.
    """
    ahead = now + store.retries.seconds
    due = store.rows.read(EVENT, "mchid = ? AND due_at <= ? ORDER BY due_at LIMIT ?", mchid, now, limit)
    return due or store.rows.read(EVENT, "mchid = ? AND due_at > ? ORDER BY due_at LIMIT ?", mchid, ahead, limit)


def take_due(store: Store, now: int, limit: int, shares: Mapping[str, int] | None) -> list[DueEvent]:
    """Take events to be delivered now. Each is due again later, whatever becomes of this attempt or this process."""
    if shares is None:
        shares = {one.mchid: limit for one in waiting(store, now)}
    due: list[DueEvent] = []
    for mchid, share in shares.items():
        for event in _due(store, mchid, now, min(share, limit - len(due))):
            attempts, due_at = event.attempts + 1, now + store.retries.seconds
            taken = store.rows.change(EVENT, event, attempts=attempts, due_at=due_at)
            coupon = store.coupon(taken.coupon_id)
            facts = store.stocks[coupon.stock_id].facts
            notify_url = callback(store, mchid, mchid).notify_url
            due.append(DueEvent(taken.id, mchid, taken.created_at, attempts, notify_url, coupon, facts))
    return due


def not_tried(store: Store, event: DueEvent, now: int) -> None:
    for row in store.rows.read(EVENT, "id = ?", event.id):
        store.rows.change(EVENT, row, attempts=max(0, row.attempts - 1), due_at=now)


def delivered(store: Store, event: DueEvent, now: int) -> None:
    for row in store.rows.read(EVENT, "id = ?", event.id):
        store.rows.change(EVENT, row, due_at=None, delivered_at=now, last_error=None)


def failed(store: Store, event: DueEvent, error: str) -> None:
    """Note a failed attempt. The last one gives the event up."""
    for row in store.rows.read(EVENT, "id = ?", event.id):
        due_at = None if row.attempts >= store.retries.attempts_max else row.due_at
        store.rows.change(EVENT, row, last_error=error[:ERROR_CHARACTERS], due_at=due_at)


def list_events(store: Store, mchid: str, offset: int, limit: int) -> list[EventState]:
    """The latest first."""
    rows = store.rows.read(EVENT, "mchid = ? ORDER BY event_no DESC LIMIT ? OFFSET ?", mchid, limit, offset)
    return [EventState(it.id, it.created_at, it.attempts, it.due_at, it.delivered_at, it.last_error) for it in rows]


def resend(store: Store, mchid: str, event_id: str, now: int) -> None:
    """Make an event due again, under its old id, with all its attempts before it."""
    known = store.rows.read(EVENT, "mchid = ? AND id = ?", mchid, event_id)
    if not known:
        raise ResourceNotExists(f"there is no event {event_id[:40]}")
    store.rows.change(EVENT, known[0], due_at=now, attempts=0, delivered_at=None)
