"""The SQLite pool without HTTP, at 10 thousand, 1 million and 10 million codes, beside rivals in the same groups."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from quanma.api.coupons import SendCoupon
from quanma.api.events import CHANNEL_API
from quanma.api.rules import CODES_PER_UPLOAD_MAX
from quanma.platform.pool.contract import Issue
from quanma.platform.pool.sqlite import SqlitePool
from tests.support.platform import MCHID, new_stock

from . import ceiling, work
from .restart import Restarted, restart
from .rivals import BareRows, Textbook
from .table import Table, median, median_ratio, percent, times

T = TypeVar("T")

DRAWS = {1: 2_000, 32: 6_400, 256: 7_680}
"""By group: how many a repeat makes. All of them fit into a stock of 10 thousand."""
UPLOADS = {1: 200, 50: 1_000}
TEXTBOOK_UPLOADS = {1: 20, 50: 100}
SMALL = 10_000
"""A stock of this size would not last: each repeat has new ones."""
FILL_IN_FLIGHT = 50

NOTE = (
    "A group: so many requests are in flight, and share a commit. Bare rows: SQLite appending the same as rows, in the "
    "same groups, with the same settings. Textbook: one table with a random rank. Signing: RSA-2048 on one core."
)


def tables(quick: bool) -> Iterator[Table]:
    sizes = (SMALL, 1_000_000) if quick else (SMALL, 1_000_000, 10_000_000)
    signing = [ceiling.signing_rate().per_second]
    with tempfile.TemporaryDirectory(prefix="quanma-bench-") as folder, contextlib.ExitStack() as stack:
        pools = [stack.enter_context(contextlib.closing(Pool(Path(folder), size))) for size in sizes]
        bare = stack.enter_context(contextlib.closing(BareRows(Path(folder) / "bare.db")))
        yield _standing(pools)
        for _ in range(2 if quick else 7):
            # The sizes next to each other: what slows the machine for a while slows all of them.
            for group in DRAWS:
                for each in pools:
                    each.repeat_draws(bare, group)
            for group in UPLOADS:
                for each in pools:
                    each.repeat_uploads(bare, group)
            signing.append(ceiling.signing_rate().per_second)
        yield _draws(pools, signing)
        yield _uploads(pools, signing)
        yield _flatness(pools)


async def fill(store: SqlitePool, stock_id: str, codes: work.Codes, count: int) -> None:
    """Bring the stock so many codes, in full uploads."""
    todo = (codes.uploads([stock_id], 1)[0] for _ in range(count // CODES_PER_UPLOAD_MAX))
    await _in_flight(todo, FILL_IN_FLIGHT, lambda upload: store.upload_codes(MCHID, upload, _now()))


class Pool:
    """Our pool and the textbook's at one size, each in a file of its own, and what was measured on them."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self.draws = {group: Rates() for group in DRAWS}
        self.uploads = {group: Rates() for group in UPLOADS}
        self._loop = uvloop.new_event_loop()
        self._codes = work.Codes()
        path = folder / f"pool-{size}.db"
        self._store = SqlitePool(path)
        self._stock_id = self._new_stock()
        self._run(fill(self._store, self._stock_id, self._codes, size))
        self._run(self._store.close())
        self.disk_bytes = path.stat().st_size
        self.restarted: Restarted = restart(path)
        self._store = SqlitePool(path)
        self._textbook = Textbook(folder / f"textbook-{size}.db")
        self._textbook.fill(self._stock_id, work.Codes().take_sorted(size))

    def repeat_draws(self, bare: BareRows, group: int) -> None:
        draws = work.draws(self._drawn_stock(), DRAWS[group])
        rows = bare.coupon_rows(draws, [f"QM{number:012X}" for number in range(len(draws))])
        rates = self.draws[group]
        rates.ours.append(self._rate(draws, group, lambda draw: self._store.send_coupon(MCHID, _issue(draw), _now())))
        rates.bare.append(_rate(len(rows), bare.draw, _grouped(rows, group)))
        rates.textbook.append(_rate(len(draws), self._textbook.draw, _grouped(draws, group)))

    def repeat_uploads(self, bare: BareRows, group: int) -> None:
        """In codes a second."""
        uploads = self._codes.uploads(self._uploaded_stocks(UPLOADS[group]), UPLOADS[group])
        few = self._codes.uploads([self._stock_id], TEXTBOOK_UPLOADS[group])
        rows = bare.code_rows(uploads)
        ours = self._rate(uploads, group, lambda upload: self._store.upload_codes(MCHID, upload, _now()))
        rates = self.uploads[group]
        rates.ours.append(ours * CODES_PER_UPLOAD_MAX)
        rates.bare.append(_rate(len(rows), bare.upload, _grouped(rows, group * CODES_PER_UPLOAD_MAX)))
        textbook = _rate(len(few), self._textbook.upload, _grouped(few, group))
        rates.textbook.append(textbook * CODES_PER_UPLOAD_MAX)

    def close(self) -> None:
        self._run(self._store.close())
        self._loop.close()
        self._textbook.close()

    def _drawn_stock(self) -> str:
        """A stock that holds `size` codes, in our pool and in the textbook's."""
        if self.size > SMALL:
            return self._stock_id
        stock_id = self._new_stock()
        self._run(fill(self._store, stock_id, self._codes, self.size))
        self._textbook.fill(stock_id, work.Codes().take_sorted(self.size))
        return stock_id

    def _uploaded_stocks(self, uploads: int) -> list[str]:
        """The large stock, or enough empty ones that none outgrows `size`."""
        if self.size > SMALL:
            return [self._stock_id]
        return [self._new_stock() for _ in range(-(-uploads * CODES_PER_UPLOAD_MAX // self.size))]

    def _new_stock(self) -> str:
        request = new_stock(secrets.token_hex(8))
        stock_id: str = self._run(self._store.create_stock(MCHID, request, _now())).stock_id
        return stock_id

    def _rate(self, requests: Sequence[T], in_flight: int, send: Callable[[T], Awaitable[Any]]) -> float:
        began = time.perf_counter()
        self._run(_in_flight(requests, in_flight, send))
        return len(requests) / (time.perf_counter() - began)

    def _run(self, awaited: Any) -> Any:
        return self._loop.run_until_complete(awaited)


class Rates:
    """Per second, one of each repeat."""

    def __init__(self) -> None:
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.textbook: list[float] = []


async def _in_flight(requests: Iterable[T], in_flight: int, send: Callable[[T], Awaitable[Any]]) -> None:
    """Send each request, so many at a time."""
    todo = iter(requests)

    async def one_after_another() -> None:
        for request in todo:
            await send(request)

    await asyncio.gather(*(one_after_another() for _ in range(in_flight)))


def _rate(count: int, do: Callable[[Any], None], groups: Sequence[Any]) -> float:
    began = time.perf_counter()
    for group in groups:
        do(group)
    return count / (time.perf_counter() - began)


def _grouped(all_of_them: Sequence[T], size: int) -> list[Sequence[T]]:
    return [all_of_them[first : first + size] for first in range(0, len(all_of_them), size)]


def _issue(draw: SendCoupon) -> Issue:
    return Issue(draw.stock_id, draw.openid, draw.appid, draw.out_request_no, None, MCHID, CHANNEL_API)


def _now() -> int:
    return int(time.time())


def _standing(pools: Sequence[Pool]) -> Table:
    table = Table(
        "The pool at rest: restart, memory, disk",
        ("codes", "restart s", "restart codes/s", "index bytes/code", "resident bytes/code", "disk bytes/code"),
        "Codes of 14 characters. Resident: what the process holds more, after the restart than before.",
    )
    for each in pools:
        seconds, resident_bytes, shelf_bytes = each.restarted
        table.add(
            each.size,
            f"{seconds:.2f}",
            each.size / seconds,
            *(f"{count / each.size:.1f}" for count in (shelf_bytes, resident_bytes, each.disk_bytes)),
        )
    return table


def _draws(pools: Sequence[Pool], signing: Sequence[float]) -> Table:
    table = Table(
        "The pool without HTTP: draws",
        ("codes", "in a group", "draws/s", "of bare rows", "to textbook", "bare rows/s", "textbook/s", "to signing"),
        NOTE,
    )
    for each in pools:
        for group, rates in each.draws.items():
            table.add(each.size, group, *_compared(rates), times(median(rates.ours) / median(signing)))
    return table


def _uploads(pools: Sequence[Pool], signing: Sequence[float]) -> Table:
    table = Table(
        "The pool without HTTP: uploads of 200 codes",
        (
            "codes",
            "in a group",
            "codes/s",
            "of bare rows",
            "to textbook",
            "bare rows/s",
            "textbook/s",
            "uploads to signing",
        ),
        NOTE,
    )
    for each in pools:
        for group, rates in each.uploads.items():
            to_signing = median(rates.ours) / CODES_PER_UPLOAD_MAX / median(signing)
            table.add(each.size, group, *_compared(rates), f"{to_signing:.2f} ×")
    return table


def _compared(rates: Rates) -> tuple[float, str, str, float, float]:
    return (
        median(rates.ours),
        percent(median_ratio(rates.ours, rates.bare)),
        times(median_ratio(rates.ours, rates.textbook)),
        median(rates.bare),
        median(rates.textbook),
    )


def _flatness(pools: Sequence[Pool]) -> Table:
    smallest, largest = pools[0], pools[-1]
    table = Table(
        "Flatness",
        ("", "in a group", f"at {largest.size:,} codes, of {smallest.size:,}"),
        "100 %: the size costs nothing.",
    )
    for name in ("draws", "uploads"):
        small: dict[int, Rates] = getattr(smallest, name)
        large: dict[int, Rates] = getattr(largest, name)
        for group in small:
            table.add(f"{name}/s", group, percent(median_ratio(large[group].ours, small[group].ours)))
    return table
