"""The SQLite pool without HTTP, at 10 thousand, 1 million and 10 million codes, beside rivals in the same groups.

Beside those of 1 million there is an old one: nine tenths of its codes were drawn, and as many uploaded again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import statistics
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
from quanma.platform.pool.sqlite.pool import SqlitePool
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
AGED = 1_000_000
DRAWN_OF_OLD = 0.9

NOTE = (
    "A group: so many requests are in flight, and share a commit. Bare rows: SQLite appending the same as rows, in the "
    "same groups, as durably. Textbook: one table with a random rank. Signing: RSA-2048 on one core."
)


def tables(quick: bool) -> Iterator[Table]:
    sizes = (SMALL, 1_000_000) if quick else (SMALL, 1_000_000, 10_000_000)
    signing = [ceiling.signing_rate().per_second]
    with tempfile.TemporaryDirectory(prefix="quanma-bench-") as folder, contextlib.ExitStack() as stack:
        pools = [stack.enter_context(contextlib.closing(Pool(Path(folder), size))) for size in sizes]
        old = stack.enter_context(contextlib.closing(Pool(Path(folder), AGED, old=True)))
        pools.insert(sizes.index(AGED) + 1, old)
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


async def fill(store: SqlitePool, stock_id: str, codes: work.Codes, count: int) -> float:
    """Bring the stock so many codes, in full uploads. Returns how long the slowest one took, in seconds."""
    todo = (codes.uploads([stock_id], 1)[0] for _ in range(count // CODES_PER_UPLOAD_MAX))
    taken: list[float] = []
    await _in_flight(todo, FILL_IN_FLIGHT, lambda upload: store.upload_codes(MCHID, upload, _now()), taken)
    return max(taken)


class Pool:
    """Our pool and the textbook's at one size, each in a file of its own, and what was measured on them."""

    def __init__(self, folder: Path, size: int, *, old: bool = False) -> None:
        self.size = size
        self.old = old
        self.name = f"{size:,}, old" if old else f"{size:,}"
        self.draws = {group: Rates() for group in DRAWS}
        self.uploads = {group: Rates() for group in UPLOADS}
        self._loop = uvloop.new_event_loop()
        self._codes = work.Codes()
        path = folder / f"pool-{size}-{old}.db"
        self._store = SqlitePool(path)
        self._stock_id = self._new_stock()
        self.slowest_upload_seconds: float = self._run(fill(self._store, self._stock_id, self._codes, size))
        if old:
            self._age()
        self._run(self._store.close())
        self.disk_bytes = path.stat().st_size
        self.restarted: Restarted = restart(path)
        self._store = SqlitePool(path)
        self._textbook = Textbook(folder / f"textbook-{size}-{old}.db")
        self._textbook.fill(self._stock_id, work.Codes().take_sorted(size))

    def _age(self) -> None:
        drawn = round(self.size * DRAWN_OF_OLD)
        step = 9_000
        for _ in range(drawn // step):
            self._send(work.draws(self._stock_id, step), 256)
        self._run(fill(self._store, self._stock_id, self._codes, drawn))

    def _send(self, draws: Sequence[SendCoupon], group: int, taken: list[float] | None = None) -> float:
        issues, now = [_issue(draw) for draw in draws], _now()
        return self._rate(issues, group, lambda issue: self._store.send_coupon(MCHID, issue, now), taken)

    def repeat_draws(self, bare: BareRows, group: int) -> None:
        draws = work.draws(self._drawn_stock(), DRAWS[group])
        rows = bare.coupon_rows(draws, [f"QM{number:012X}" for number in range(len(draws))])
        rates = self.draws[group]
        # In a group of one, each is timed alone: in larger ones, that would be part of what is measured.
        taken: list[float] | None = [] if group == 1 else None
        began = time.process_time()
        rates.ours.append(self._send(draws, group, taken))
        rates.cpu_seconds.append((time.process_time() - began) / len(draws))
        if taken:
            rates.p99_seconds.append(statistics.quantiles(taken, n=100)[98])
        groups = _grouped(rows, group)
        began = time.process_time()
        rates.bare.append(_rate(len(rows), bare.draw, groups))
        rates.bare_cpu_seconds.append((time.process_time() - began) / len(rows))
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

    def _rate(
        self,
        requests: Sequence[T],
        in_flight: int,
        send: Callable[[T], Awaitable[Any]],
        taken: list[float] | None = None,
    ) -> float:
        began = time.perf_counter()
        self._run(_in_flight(requests, in_flight, send, taken))
        return len(requests) / (time.perf_counter() - began)

    def _run(self, awaited: Any) -> Any:
        return self._loop.run_until_complete(awaited)


class Rates:
    """Per second, one of each repeat."""

    def __init__(self) -> None:
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.textbook: list[float] = []
        self.p99_seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.bare_cpu_seconds: list[float] = []


async def _in_flight(
    requests: Iterable[T],
    in_flight: int,
    send: Callable[[T], Awaitable[Any]],
    taken: list[float] | None = None,
) -> None:
    """Send each request, so many at a time. `taken`: where to note how long each one took."""
    todo = iter(requests)

    async def one_after_another() -> None:
        for request in todo:
            await send(request)

    async def one_after_another_timed(taken: list[float]) -> None:
        for request in todo:
            began = time.perf_counter()
            await send(request)
            taken.append(time.perf_counter() - began)

    await asyncio.gather(
        *(one_after_another() if taken is None else one_after_another_timed(taken) for _ in range(in_flight))
    )


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
        (
            "codes",
            "restart s",
            "restart codes/s",
            "index bytes/code",
            "resident bytes/code",
            "of it mapped",
            "disk bytes/code",
            "slowest upload ms",
        ),
        "Codes of 14 characters. Resident: what the process holds more after the restart than before, the part of the "
        "file that it has mapped included. Slowest upload: of all that filled the pool, 50 at a time.",
    )
    for each in pools:
        if each.old:
            continue
        seconds, *sizes = each.restarted
        resident_bytes, mapped_bytes, index_bytes = sizes
        per_code = (index_bytes, resident_bytes, mapped_bytes, each.disk_bytes)
        table.add(
            each.name,
            f"{seconds:.2f}",
            each.size / seconds,
            *(f"{count / each.size:.1f}" for count in per_code),
            f"{each.slowest_upload_seconds * 1000:.0f}",
        )
    return table


def _draws(pools: Sequence[Pool], signing: Sequence[float]) -> Table:
    table = Table(
        "The pool without HTTP: draws",
        (
            "codes",
            "in a group",
            "draws/s",
            "of bare rows",
            "to textbook",
            "bare rows/s",
            "textbook/s",
            "to signing",
            "p99 ms",
            "CPU µs",
            "of bare rows by CPU",
        ),
        NOTE,
    )
    for each in pools:
        for group, rates in each.draws.items():
            table.add(
                each.name,
                group,
                *_compared(rates),
                times(median(rates.ours) / median(signing)),
                f"{median(rates.p99_seconds) * 1000:.2f}" if rates.p99_seconds else "",
                f"{median(rates.cpu_seconds) * 1e6:.1f}",
                percent(median_ratio(rates.bare_cpu_seconds, rates.cpu_seconds)),
            )
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
            table.add(each.name, group, *_compared(rates), f"{to_signing:.2f} ×")
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
    by_name = {each.name: each for each in pools}
    smallest, largest = pools[0], [each for each in pools if not each.old][-1]
    young, old = by_name[f"{AGED:,}"], by_name[f"{AGED:,}, old"]
    table = Table(
        "Flatness",
        ("", "in a group", f"{largest.name} codes, of {smallest.name}", f"{AGED:,} codes: old, of young"),
        f"100 %: size and age cost nothing. Old: {DRAWN_OF_OLD:.0%} of it drawn, and as many uploaded again.",
    )
    for name in ("draws", "uploads"):
        for group in getattr(smallest, name):
            of_size = median_ratio(_rates(largest, name, group).ours, _rates(smallest, name, group).ours)
            of_age = median_ratio(_rates(old, name, group).ours, _rates(young, name, group).ours)
            table.add(f"{name}/s", group, percent(of_size), percent(of_age))
    slow = [_rates(each, "draws", 1).p99_seconds for each in (largest, smallest, old, young)]
    of_size, of_age = median_ratio(slow[0], slow[1]), median_ratio(slow[2], slow[3])
    table.add("p99 of a draw", 1, percent(of_size), percent(of_age))
    return table


def _rates(pool: Pool, name: str, group: int) -> Rates:
    rates: Rates = getattr(pool, name)[group]
    return rates
