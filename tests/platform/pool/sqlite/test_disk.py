"""The SQLite pool over a disk that fails, fills up or loses power: nothing acknowledged is lost (C2, C3, C4)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quanma.errors import StoreUnavailable
from quanma.platform.pool import open_pool
from quanma.platform.pool.sqlite import writer
from tests.contract.driver import DrivenPool
from tests.platform.pool.sqlite.disk import Disk, plugged_in, put_back
from tests.support.rounds import rounds


@pytest.fixture
def disk() -> Iterator[Disk]:
    with plugged_in() as disk:
        yield disk


class Acknowledged:
    """What a pool said yes to. Each is asked for again under its number, and must be answered as before."""

    def __init__(self) -> None:
        self.uploads: dict[tuple[str, str], tuple[list[str], Any]] = {}
        self.coupons: dict[tuple[str, str, str], str] = {}

    def upload(self, pool: DrivenPool, stock_id: str, no: str, codes: list[str]) -> None:
        self.uploads[stock_id, no] = codes, pool.upload(stock_id, codes, no)

    def send(self, pool: DrivenPool, stock_id: str, openid: str, numbers: list[str]) -> int:
        """Many at the same moment. Returns how many were refused because of the store."""
        outcomes = pool.together(*(pool.sending(stock_id, openid, no) for no in numbers))
        for no, outcome in zip(numbers, outcomes, strict=True):
            if isinstance(outcome, str):
                self.coupons[stock_id, openid, no] = outcome
            else:
                assert isinstance(outcome, StoreUnavailable)
        return sum(isinstance(outcome, StoreUnavailable) for outcome in outcomes)

    def check(self, pool: DrivenPool) -> None:
        for (stock_id, no), (codes, answer) in self.uploads.items():
            assert pool.upload(stock_id, codes, no) == answer
        for (stock_id, openid, no), code in self.coupons.items():
            assert pool.send(stock_id, openid, no) == code
        carried = [(stock_id, code) for (stock_id, _, _), code in self.coupons.items()]
        assert len(set(carried)) == len(carried)


def codes(first: int, count: int) -> list[str]:
    return [f"CODE-{number:012}-0123456789abcd" for number in range(first, first + count)]


Opened = Callable[[Path], DrivenPool]


@pytest.fixture
def opened(disk: Disk) -> Iterator[Opened]:
    """Opens the pool in a folder; what a test leaves open is closed."""
    pools: list[DrivenPool] = []

    def opened(folder: Path) -> DrivenPool:
        pools.append(DrivenPool(lambda: open_pool("sqlite:///pool.db", folder)))
        return pools[-1]

    yield opened
    disk.room_bytes = None
    for pool in pools:
        pool.close()


@pytest.mark.slow
def test_after_a_failed_fsync_nothing_more_is_acknowledged_not_even_what_was_waiting(
    disk: Disk, opened: Opened, tmp_path: Path
) -> None:
    yes = Acknowledged()
    pool = opened(tmp_path)
    stock_id = pool.create(max_coupons_per_user=100)
    for upload in range(5):
        yes.upload(pool, stock_id, f"u{upload}", codes(upload * 200, 200))
    stuck = [f"s{number}" for number in range(100)]
    disk.sync_fails = "-wal"
    # Three groups and more, all asked for before the first one's fsync fails.
    outcomes = pool.together(*(pool.sending(stock_id, f"o{user}", no) for user in range(8) for no in stuck))
    assert disk.failures == 1
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    with pytest.raises(StoreUnavailable, match="restart"):
        pool.upload(stock_id, ["LATER"])
    with pytest.raises(StoreUnavailable):
        pool.counts(stock_id)
    with pytest.raises(StoreUnavailable):
        pool.run(pool.pool.check())
    platter = disk.platter(tmp_path)
    pool.close()
    put_back(platter, tmp_path)
    again = opened(tmp_path)
    yes.check(again)
    assert again.counts(stock_id) == (1000, 1000)
    again.close()


def _story(disk: Disk, opened: Opened, folder: Path, seed: int, fails_in: int) -> bool:
    """Load, until the sync `fails_in` from now fails; then power loss, and everything acknowledged must be there."""
    chance = random.Random(seed)
    yes = Acknowledged()
    pool = opened(folder)
    stock_id = pool.create(max_coupons_per_user=100)
    disk.fails_at_sync = disk.syncs + fails_in
    failures, refused = disk.failures, 0
    try:
        for step in range(12):
            yes.upload(pool, stock_id, f"u{step}", codes(step * 20, 20))
            count = chance.choice([1, 3, 9])
            refused += yes.send(pool, stock_id, f"o{step % 3}", [f"s{step}x{number}" for number in range(count)])
            if refused:
                break
    except StoreUnavailable:
        refused += 1
    failed = disk.failures > failures
    assert failed == (refused > 0)
    disk.fails_at_sync = 0
    platter = disk.platter(folder)
    pool.close()
    put_back(platter, folder)
    again = opened(folder)
    yes.check(again)
    again.close()
    return failed


@pytest.mark.slow
@pytest.mark.parametrize("fails_in", [1, 2, 5, 9])
def test_every_acknowledged_row_is_there_after_a_failed_fsync_and_a_power_loss(
    disk: Disk, opened: Opened, tmp_path: Path, fails_in: int
) -> None:
    assert _story(disk, opened, tmp_path, fails_in, fails_in)


@pytest.mark.slow
def test_c3_whichever_fsync_fails(disk: Disk, opened: Opened, tmp_path: Path) -> None:
    """Every fsync of the story in turn, until none is left to fail."""
    fails_in, failed = 0, True
    while failed:
        fails_in += 1
        (tmp_path / str(fails_in)).mkdir()
        failed = _story(disk, opened, tmp_path / str(fails_in), fails_in, fails_in)
    assert fails_in > 20


@pytest.mark.slow
def test_a_failed_fsync_of_a_checkpoint_ends_the_acknowledging_too(disk: Disk, opened: Opened, tmp_path: Path) -> None:
    yes = Acknowledged()
    pool = opened(tmp_path)
    stock_id = pool.create()
    disk.sync_fails = "pool.db"
    uploads = 0
    while not disk.failures:
        uploads += 1
        try:
            yes.upload(pool, stock_id, f"u{uploads}", codes(uploads * 200, 200))
        except StoreUnavailable:
            assert disk.failures
    assert len(yes.uploads) == uploads - 1
    with pytest.raises(StoreUnavailable):
        pool.counts(stock_id)
    platter = disk.platter(tmp_path)
    pool.close()
    put_back(platter, tmp_path)
    again = opened(tmp_path)
    yes.check(again)
    again.close()


@pytest.mark.slow
def test_a_full_disk_is_an_outage_and_not_a_loss(disk: Disk, opened: Opened, tmp_path: Path) -> None:
    yes = Acknowledged()
    pool = opened(tmp_path)
    stock_id = pool.create()
    yes.upload(pool, stock_id, "u0", codes(0, 200))
    disk.room_bytes = 30_000
    refused = 0
    for upload in range(1, 20):
        try:
            yes.upload(pool, stock_id, f"u{upload}", codes(upload * 200, 200))
        except StoreUnavailable:
            refused += 1
        refused += yes.send(pool, stock_id, "oAnna", [f"s{upload}x{number}" for number in range(3)])
    assert refused > 20
    with pytest.raises(StoreUnavailable, match="full"):
        pool.run(pool.pool.check())
    disk.room_bytes = None
    # By itself: what was refused is asked for again, and every yes still stands.
    for upload in range(1, 20):
        yes.upload(pool, stock_id, f"u{upload}", codes(upload * 200, 200))
    pool.run(pool.pool.check())
    assert yes.send(pool, stock_id, "oBob", [f"s{number}" for number in range(50)]) == 0
    yes.check(pool)
    total, available = pool.counts(stock_id)
    assert (total, available) == (4000, 4000 - len(yes.coupons))
    platter = disk.platter(tmp_path)
    pool.close()
    put_back(platter, tmp_path)
    again = opened(tmp_path)
    assert again.counts(stock_id) == (total, available)
    yes.check(again)
    again.close()


def test_a_full_disk_gets_well_again_without_a_request(
    disk: Disk, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a load balancer that asks /healthz would never send one again."""
    monkeypatch.setattr(writer, "LOOK_AGAIN_SECONDS", 0.01)
    pool = opened(tmp_path)
    stock_id = pool.create()
    disk.room_bytes = 0
    with pytest.raises(StoreUnavailable, match="full"):
        pool.upload(stock_id, codes(0, 200))

    async def well() -> None:
        while True:
            try:
                return await pool.pool.check()
            except StoreUnavailable:
                await asyncio.sleep(0.005)

    with pytest.raises(TimeoutError):
        pool.run(asyncio.wait_for(well(), 0.1))
    disk.room_bytes = None
    pool.run(asyncio.wait_for(well(), 10))
    pool.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_c2_power_loss_at_any_moment_loses_nothing_acknowledged(
    disk: Disk, opened: Opened, tmp_path: Path, seed: int
) -> None:
    _lose_power(disk, opened, tmp_path, seed)


@pytest.mark.slow
def test_c2_power_loss_at_any_moment_time_after_time(disk: Disk, opened: Opened, tmp_path: Path) -> None:
    for seed in range(3, rounds(60, 200)):  # The same each run; the first ones are tried above.
        (tmp_path / str(seed)).mkdir()
        _lose_power(disk, opened, tmp_path / str(seed), seed)


def _lose_power(disk: Disk, opened: Opened, folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    yes = Acknowledged()
    pool = opened(folder)
    stock_id = pool.create(max_coupons_per_user=100)
    yes.upload(pool, stock_id, "first", codes(0, 100))
    for step in range(chance.randrange(1, 8)):
        yes.upload(pool, stock_id, f"u{step}", codes(1000 * (step + 1), chance.randrange(1, 60)))
        yes.send(pool, stock_id, f"o{step % 2}", [f"s{step}x{number}" for number in range(chance.randrange(1, 20))])
    platter = disk.platter(folder)
    pool.close()
    put_back(platter, folder)
    again = opened(folder)
    yes.check(again)
    assert again.counts(stock_id)[1] == again.counts(stock_id)[0] - len(yes.coupons)
    again.close()
