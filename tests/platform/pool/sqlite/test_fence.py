"""A restored older copy gives nothing out (C7); kill -9, power loss and a restart raise no fence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from quanma.errors import NotEnough, PoolFenced, StoreUnavailable
from quanma.platform.pool import maintenance, open_pool
from quanma.platform.pool.sqlite import pool_file
from quanma.platform.pool.sqlite.generation import Generation, MarkDamaged, MarkFile, why_fenced
from tests.contract.driver import DrivenPool
from tests.support.every import every_row

POOL = Generation(b"p" * 16, 100, 50, 7)


@every_row(
    ("mark", "reason"),
    [
        (POOL, None),
        (POOL._replace(commits=99, coupons=49), None),  # After a power failure.
        (POOL._replace(commits=101, coupons=50), "1 acknowledged commit are missing"),
        (POOL._replace(commits=103, coupons=52), "3 acknowledged commits with 2 coupons are missing"),
        (POOL._replace(commits=103, coupons=50), "3 acknowledged commits are missing"),
        (POOL._replace(inode=8), "written for another file"),
        (POOL._replace(pool_id=b"q" * 16), "another pool's"),
        (None, "is not there"),
        (MarkDamaged(), "damaged"),
    ],
)
def test_what_the_mark_says(mark: Generation | None, reason: str | None) -> None:
    said = why_fenced(POOL, mark)
    assert said is None if reason is None else reason in str(said)


def test_a_pool_that_holds_as_much_as_its_mark_and_not_the_same_is_an_older_copy() -> None:
    assert "coupon 50, acknowledged before, is not there" in str(why_fenced(POOL, POOL, "coupon 50"))


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[DrivenPool]:
    pool = opened(tmp_path)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def fenceless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool with a coupon, closed, and its mark: to be copied."""
    folder = tmp_path_factory.mktemp("fenceless")
    pool = opened(folder)
    stocked(pool)
    pool.close()
    return folder


def opened(folder: Path) -> DrivenPool:
    return DrivenPool(lambda: open_pool("sqlite:///quanma.db", folder))


def stocked(pool: DrivenPool) -> str:
    stock_id = pool.create(max_coupons_per_user=100)
    pool.upload(stock_id, [f"A{number}" for number in range(20)], "u1")
    pool.send(stock_id, "o1", "s1")
    return stock_id


def test_an_older_copy_gives_nothing_out_and_answers_all_else(pool: DrivenPool, tmp_path: Path) -> None:
    stock_id = stocked(pool)
    pool.close()
    shutil.copy(tmp_path / "quanma.db", tmp_path / "copy")
    pool = opened(tmp_path)
    first = pool.send(stock_id, "o1", "s1")
    later = {pool.send(stock_id, "o2", f"s{number}") for number in range(5)}
    pool.close()
    shutil.copyfile(tmp_path / "copy", tmp_path / "quanma.db")
    for _ in range(2):  # Whatever is written meanwhile: it stays fenced.
        pool = opened(tmp_path)
        assert "5 acknowledged commits with 5 coupons are missing" in str(pool.pool.fence())
        for openid in ("o1", "o2"):
            with pytest.raises(PoolFenced, match="quanma reconcile"):
                pool.send(stock_id, openid, "s4")
        assert pool.send(stock_id, "o1", "s1") == first
        total, available = pool.counts(stock_id)
        assert total - available == 1
        assert set(pool.codes(stock_id)) >= later
        for number in range(10):
            pool.upload(stock_id, [f"B{number}"])
            pool.run(pool.pool.take_nonce("1900000001"))
        pool.delete(stock_id, "B0")
        pool.upload(stock_id, ["B0"])
        pool.close()


@pytest.mark.parametrize("writes", [True, False])
def test_the_latest_file_in_the_place_of_a_fenced_copy_lacks_what_was_written_to_that(
    pool: DrivenPool, tmp_path: Path, writes: bool
) -> None:
    stock_id = stocked(pool)
    pool.close()
    wrong = (tmp_path / "quanma.db").read_bytes()
    pool = opened(tmp_path)
    pool.send(stock_id, "o2", "s2")
    pool.close()
    right = (tmp_path / "quanma.db").read_bytes()
    (tmp_path / "quanma.db").write_bytes(wrong)
    pool = opened(tmp_path)
    assert pool.pool.fence()
    if writes:
        pool.upload(stock_id, ["LATE"])
    pool.close()
    (tmp_path / "quanma.db").write_bytes(right)
    pool = opened(tmp_path)
    assert bool(pool.pool.fence()) == writes
    pool.close()


def test_without_a_mark_a_pool_with_stocks_is_fenced(pool: DrivenPool, tmp_path: Path) -> None:
    stock_id = stocked(pool)
    pool.close()
    (tmp_path / "quanma.db.mark").unlink()
    pool = opened(tmp_path)
    with pytest.raises(PoolFenced, match="the mark that is written beside a pool is not there"):
        pool.send(stock_id)
    pool.close()


def test_a_whole_folder_that_was_copied_is_fenced(pool: DrivenPool, tmp_path: Path) -> None:
    stocked(pool)
    pool.close()
    shutil.copytree(tmp_path, tmp_path / "elsewhere")
    copy = opened(tmp_path / "elsewhere")
    assert "it is a copy" in str(copy.pool.fence())
    copy.close()
    pool = opened(tmp_path)
    assert pool.pool.fence() is None
    pool.close()


def test_a_folder_that_was_moved_goes_on(pool: DrivenPool, tmp_path: Path) -> None:
    stock_id = stocked(pool)
    pool.close()
    (tmp_path / "elsewhere").mkdir()
    for file in tmp_path.glob("quanma.db*"):
        file.rename(tmp_path / "elsewhere" / file.name)
    moved = opened(tmp_path / "elsewhere")
    moved.send(stock_id)
    moved.close()


def test_a_new_pool_in_the_place_of_one_that_was_lost_is_fenced(pool: DrivenPool, tmp_path: Path) -> None:
    stocked(pool)
    pool.close()
    (tmp_path / "quanma.db").unlink()
    new = opened(tmp_path)
    assert "another pool's" in str(new.pool.fence())
    new.close()


def test_an_empty_pool_needs_no_mark(pool: DrivenPool, tmp_path: Path) -> None:
    pool.close()
    (tmp_path / "quanma.db.mark").unlink()
    pool = opened(tmp_path)
    stocked(pool)
    pool.close()


@every_row("bit", range(0, 352 * 8, 97))
def test_a_damaged_mark_is_noticed(fenceless: Path, tmp_path: Path, bit: int) -> None:
    for path in fenceless.iterdir():
        shutil.copy(path, tmp_path)
    flip(tmp_path / "quanma.db.mark", bit % ((tmp_path / "quanma.db.mark").stat().st_size * 8))
    assert "the mark beside it is damaged" in str(fence_of(tmp_path))


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_group_of_refusals_is_no_commit(pool: DrivenPool, tmp_path: Path) -> None:
    """Else the mark would know a commit that the file can't show."""
    stock_id = pool.create()
    for _ in range(3):
        with pytest.raises(NotEnough):
            pool.send(stock_id)
        pool.together(pool.sending(stock_id, "o1"), pool.sending(stock_id, "o2"))
    mark = MarkFile(tmp_path / "quanma.db").read()
    assert mark is not None
    assert mark.commits == 1
    pool.reopen()
    assert pool.pool.fence() is None


def test_a_pool_that_was_never_served_is_given_a_mark(tmp_path: Path) -> None:
    pool_file.connect(tmp_path / "quanma.db").close()
    pool = opened(tmp_path)
    stocked(pool)
    pool.close()
    assert isinstance(MarkFile(tmp_path / "quanma.db").read(), Generation)


Change = Callable[[DrivenPool, str, str], object]


def _send(pool: DrivenPool, stock_id: str, name: str) -> object:
    return pool.send(stock_id, f"o{name}")


def _upload(pool: DrivenPool, stock_id: str, name: str) -> object:
    return pool.upload(stock_id, [f"B{name}"])


def _delete(pool: DrivenPool, stock_id: str, name: str) -> object:
    return pool.delete(stock_id, pool.codes(stock_id, status="AVAILABLE")[-1], name)


@pytest.mark.parametrize(
    ("change", "what"),
    [(_send, "coupon 4"), (_upload, "upload 4"), (_delete, "deletion 3")],
    ids=["send", "upload", "delete"],
)
def test_a_pool_that_went_back_and_grew_past_its_mark_is_fenced(
    pool: DrivenPool, tmp_path: Path, change: Change, what: str
) -> None:
    """As where the disk of the pool went back and that of its mark did not: a count alone would be passed again."""
    stock_id = stocked(pool)
    pool.close()
    earlier = {path: path.read_bytes() for path in (tmp_path / "quanma.db", tmp_path / "quanma.db.mark")}
    pool = opened(tmp_path)
    for number in range(3):
        change(pool, stock_id, f"old{number}")
    pool.close()
    mark = (tmp_path / "quanma.db.mark").read_bytes()
    for path, content in earlier.items():
        path.write_bytes(content)
    pool = opened(tmp_path)
    for number in range(9):
        change(pool, stock_id, f"new{number}")
    pool.close()
    (tmp_path / "quanma.db.mark").write_bytes(mark)
    pool = opened(tmp_path)
    assert f"it is an older copy that has gone on: {what}" in str(pool.pool.fence())
    with pytest.raises(PoolFenced):
        pool.send(stock_id)
    pool.close()


def test_a_snapshot_of_pool_and_mark_shows_nothing_and_without_its_mark_it_is_fenced(
    pool: DrivenPool, tmp_path: Path
) -> None:
    stock_id = stocked(pool)
    pool.close()
    earlier = {path: path.read_bytes() for path in (tmp_path / "quanma.db", tmp_path / "quanma.db.mark")}
    pool = opened(tmp_path)
    pool.send(stock_id, "o2")
    pool.close()
    for path, content in earlier.items():
        path.write_bytes(content)
    assert fence_of(tmp_path) is None
    (tmp_path / "quanma.db.mark").unlink()
    assert "is not there" in str(fence_of(tmp_path))


def fence_of(folder: Path) -> str | None:
    pool = opened(folder)
    why = pool.pool.fence()
    pool.close()
    return why


def test_a_mark_may_be_on_another_disk(pool: DrivenPool, tmp_path: Path) -> None:
    stock_id = stocked(pool)
    pool.close()
    there = tmp_path / "elsewhere" / "mark"
    there.parent.mkdir()
    shutil.move(tmp_path / "quanma.db.mark", there)
    (tmp_path / "quanma.db.mark").symlink_to(there)
    earlier = (tmp_path / "quanma.db").read_bytes()
    pool = opened(tmp_path)
    pool.send(stock_id, "o2")
    pool.close()
    assert fence_of(tmp_path) is None
    there.rename(there.with_name("not mounted"))
    assert "is not there" in str(fence_of(tmp_path))
    there.with_name("not mounted").rename(there)
    (tmp_path / "quanma.db").write_bytes(earlier)
    assert "1 acknowledged commit with 1 coupon are missing" in str(fence_of(tmp_path))


def test_a_mark_that_others_can_write_is_refused(pool: DrivenPool, tmp_path: Path) -> None:
    stocked(pool)
    pool.close()
    mark = tmp_path / "quanma.db.mark"
    mark.chmod(0o666)
    with pytest.raises(StoreUnavailable, match=r"has mode 0666, .* chmod 600"):
        open_pool("sqlite:///quanma.db", tmp_path)
    mark.chmod(0o600)
    assert fence_of(tmp_path) is None


def test_what_is_no_file_is_no_mark(pool: DrivenPool, tmp_path: Path) -> None:
    stocked(pool)
    pool.close()
    mark = tmp_path / "quanma.db.mark"
    for make in (Path.mkdir, os.mkfifo):
        mark.rename(tmp_path / "kept")
        make(mark)
        with pytest.raises(StoreUnavailable, match=r"mark is no file: remove it, and run `quanma reconcile`"):
            open_pool("sqlite:///quanma.db", tmp_path)
        mark.rmdir() if mark.is_dir() else mark.unlink()
        (tmp_path / "kept").rename(mark)


def test_what_the_mark_does_not_know_is_not_acknowledged(
    pool: DrivenPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a copy from before would look like the latest one."""
    stock_id = stocked(pool)
    with no_room_for_the_mark(tmp_path):
        for number in ("s2", "s2", "s3"):  # The second one could be answered by reading.
            with pytest.raises(
                StoreUnavailable, match=r"\.mark, .* can't be written: No space left.*: free some space"
            ):
                pool.send(stock_id, "o2", number)
        with pytest.raises(StoreUnavailable, match="the platform goes on by itself"):
            pool.run(pool.pool.check())
    first = pool.send(stock_id, "o2", "s2")
    assert pool.send(stock_id, "o2", "s2") == first
    total, available = pool.counts(stock_id)
    assert total - available == 2  # Of s1 and s2: what came while nothing could be answered did nothing.
    pool.run(pool.pool.check())
    assert [record.levelname for record in caplog.records if "mark" in record.message] == ["CRITICAL", "WARNING"]
    pool.close()
    assert fence_of(tmp_path) is None


@pytest.mark.slow
def test_a_mark_can_be_written_again_without_anyone_asking(pool: DrivenPool, tmp_path: Path) -> None:
    stock_id = stocked(pool)
    with no_room_for_the_mark(tmp_path), pytest.raises(StoreUnavailable):
        pool.send(stock_id, "o2", "s2")

    async def until_it_goes_on() -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await pool.pool.check()
            await asyncio.sleep(0.02)

    pool.run(until_it_goes_on())


@contextlib.contextmanager
def no_room_for_the_mark(folder: Path) -> Generator[None, None, None]:
    """Its open file is a full device for a while."""
    mark = folder / "quanma.db.mark"
    (descriptor,) = (
        int(name) for name in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{name}") == str(mark)
    )
    kept, full = os.dup(descriptor), os.open("/dev/full", os.O_RDWR)
    os.dup2(full, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(full)


def test_an_older_copy_is_not_exported(pool: DrivenPool, tmp_path: Path) -> None:
    """Also before it was ever served, when nothing but the mark tells."""
    stock_id = stocked(pool)
    pool.close()
    earlier = (tmp_path / "quanma.db").read_bytes()
    pool = opened(tmp_path)
    pool.send(stock_id, "o2")
    pool.close()
    (tmp_path / "quanma.db").write_bytes(earlier)
    with pytest.raises(StoreUnavailable, match="is fenced: it is an older copy"):
        maintenance.export("sqlite:///quanma.db", tmp_path, tmp_path / "pool.zst", 0)
    assert not (tmp_path / "pool.zst").exists()


_KILLED = """
import asyncio, itertools, os, sys
from pathlib import Path
from quanma.platform.pool import open_pool
from tests.contract.driver import DrivenPool
pool = DrivenPool(lambda: open_pool("sqlite:///quanma.db", Path(sys.argv[1])))
assert pool.pool.fence() is None, pool.pool.fence()
stock_id = pool.create(out_request_no=os.urandom(8).hex())
print("ready", flush=True)
for number in itertools.count():
    pool.upload(stock_id, [f"A{number}"], f"u{number}")
    print(number, flush=True)
"""


@pytest.mark.slow
def test_kill_raises_no_fence(tmp_path: Path) -> None:
    for round_no in range(10):
        command = [sys.executable, "-c", _KILLED, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            for _ in range(round_no * 3):
                assert child.stdout.readline()
            child.kill()
    pool = opened(tmp_path)
    assert pool.pool.fence() is None
    pool.close()


def test_a_cut_log_refuses_to_start(pool: DrivenPool, tmp_path: Path) -> None:
    stock_id = stocked(pool)
    for number in range(5):
        pool.send(stock_id, f"o{number}")
    for file in tmp_path.glob("quanma.db*"):  # As kill -9 leaves them: the pool is open.
        if not file.name.endswith("lock"):
            (tmp_path / "crashed").mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / "crashed")
    mark = MarkFile(tmp_path / "crashed" / "quanma.db")
    known = mark.read()
    assert known is not None
    mark.make(known._replace(inode=(tmp_path / "crashed" / "quanma.db").stat().st_ino))
    mark.close()
    log = tmp_path / "crashed" / "quanma.db-wal"
    whole = log.read_bytes()
    flip(log, (len(whole) - 3 * 4120 + 100) * 8)
    with pytest.raises(StoreUnavailable, match=r"-wal is damaged: .* can't be read: restore a backup"):
        open_pool("sqlite:///quanma.db", tmp_path / "crashed")
    log.write_bytes(whole)
    again = opened(tmp_path / "crashed")
    assert again.pool.fence() is None
    again.close()
