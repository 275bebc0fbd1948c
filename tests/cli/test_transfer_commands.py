"""`quanma export` and `import`: a pool that moves answers every number as before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quanma.api.coupons import SendCard
from quanma.errors import Misconfigured, NotEnough, PoolFenced, SourceUnreadable, StoreUnavailable
from quanma.platform.pool import open_pool, transfer
from quanma.platform.pool.transfer import NonceRecord, Sums, _encode, differences
from quanma.storage import zstd
from tests.cli.conftest import Run
from tests.contract.driver import DrivenPool
from tests.support.platform import MCHID
from tests.support.poolstory import Story

OLD, NEW = "sqlite:///quanma.db", "sqlite:///new.db"


async def told(world: Path, url: str = OLD) -> tuple[Story, list[Any]]:
    story = Story()
    pool = open_pool(url, world)
    await story.tell(pool)
    await story.ask_each_code(pool)
    truth = await story.answers(pool)
    await pool.close()
    return story, truth


async def asked(world: Path, url: str, story: Story) -> list[Any]:
    pool = open_pool(url, world)
    assert pool.fence() is None
    answers = await story.answers(pool)
    await pool.close()
    return answers


@pytest.fixture(params=["sqlite to sqlite", "sqlite to postgres", "postgres to sqlite", "postgres to postgres"])
def move(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Where a pool moves from, and to."""
    old, new = request.param.split(" to ")
    if "postgres" not in request.param:
        yield OLD, NEW
        return
    databases = request.getfixturevalue("databases")
    urls = {name: databases.fresh() for name in ("old", "new")}
    yield (OLD if old == "sqlite" else urls["old"]), (NEW if new == "sqlite" else urls["new"])
    for url in urls.values():
        databases.drop(url)


@pytest.mark.slow
def test_every_number_is_answered_as_before(world: Path, run: Run, tmp_path: Path, move: tuple[str, str]) -> None:
    old, new = move
    story, truth = asyncio.run(told(world, old))
    file = tmp_path / "pool.zst"
    status, said = run("export", "--database", old, str(file))
    assert status == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert "if it is imported nowhere: quanma reconcile --nothing-issued" in said
    status, again = run("import", "--database", new, str(file))
    assert status == 0, again
    assert "imported: the sums of both are the same" in again
    table = [line for line in said.splitlines() if line.startswith("  ") and "imported" not in line]
    assert table == [line for line in again.splitlines() if line.startswith("  ")]
    assert len(table) == 12  # All kinds but the barred, and the heading.
    assert asyncio.run(asked(world, new, story)) == truth
    # And it goes on there, and nowhere else.
    pool = DrivenPool(lambda: open_pool(new, world))
    pool.upload(story.stock_id, ["LATER1", "LATER2"], "later")
    total, available = pool.counts(story.stock_id)
    drawn = [pool.send(story.stock_id, f"oNew{number}", "n1") for number in range(available)]
    assert len(set(drawn)) == available
    with pytest.raises(NotEnough):
        pool.send(story.stock_id, "oLast", "n1")
    assert pool.counts(story.stock_id) == (total, 0)
    pool.close()
    assert asyncio.run(asked(world, new, story))[:40] == truth[:40]
    pool = DrivenPool(lambda: open_pool(old, world))
    pool.run(pool.pool.check())
    assert pool.pool.fence() is not None
    with pytest.raises(PoolFenced):
        pool.send(story.stock_id, "oNobody", "n1")
    pool.close()


def test_a_card_that_was_given_out_stays_its_number_s(world: Path, run: Run, tmp_path: Path) -> None:
    card = SendCard(
        card_id="pIJM\nof a name",
        appid="wx233544546545989",
        openid="oCard",
        out_request_no="card1",
        send_time="2026-11-24T10:00:00+08:00",
    )
    pool = DrivenPool(lambda: open_pool(OLD, world))
    sent = pool.run(pool.pool.send_card(MCHID, card))
    pool.close()
    run("export", "--database", OLD, str(tmp_path / "pool"))
    with zstd.ZstdFile(tmp_path / "pool", "rb") as file:
        lines = file.read().decode().splitlines()
    key = f"card\\n{MCHID}\\npIJM\\nof a name\\n2026-11-24T10:00:00+08:00"
    assert [line.startswith(f'{{"is":"done","stock_id":"{key}","operation":"SendCard"') for line in lines].count(
        True
    ) == 1
    assert run("import", "--database", NEW, str(tmp_path / "pool"))[0] == 0
    pool = DrivenPool(lambda: open_pool(NEW, world))
    assert pool.run(pool.pool.send_card(MCHID, card)) == sent
    pool.close()


@pytest.mark.slow
def test_a_pool_that_is_not_empty_takes_nothing_in(world: Path, run: Run, tmp_path: Path) -> None:
    asyncio.run(told(world))
    run("export", str(tmp_path / "pool"))
    with pytest.raises(StoreUnavailable, match="not empty"):
        run("import", str(tmp_path / "pool"))
    with pytest.raises(Misconfigured, match="there already"):
        run("export", str(tmp_path / "pool"))
    with pytest.raises(StoreUnavailable, match="is fenced"):
        run("export", str(tmp_path / "again"))
    assert not list(tmp_path.glob("again*"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "changed", "no end", "other", "more"])
def test_a_file_that_is_not_whole_is_refused(world: Path, run: Run, tmp_path: Path, kind: str) -> None:
    asyncio.run(told(world))
    file = tmp_path / "pool"
    run("export", str(file))
    content = file.read_bytes()
    text = zstd.decompress(content)
    lines = text.splitlines(keepends=True)
    damaged = {
        "cut": content[: len(content) // 2],
        "changed": _packed(text.replace(b"4200000913", b"4200000914", 1)),
        "no end": _packed(b"".join(lines[:-1])),
        "other": b"stock_id,coupon_code\n",
        "more": _packed(b"".join([*lines[:-1], lines[-2], lines[-1]])),
    }
    file.write_bytes(damaged[kind])
    with pytest.raises((SourceUnreadable, StoreUnavailable), match="nothing was imported"):
        run("import", "--database", NEW, str(file))
    assert [path.name for path in world.glob("new.db*")] == ["new.db.lock"]


def _packed(text: bytes) -> bytes:
    return zstd.compress(text)


def test_sums_that_differ_are_said() -> None:
    sums: list[Any] = []
    for count in (1, 2):
        running = Sums()
        for number in range(count):
            record = NonceRecord(mchid=MCHID, next=number)
            running.add(record, _encode(record))
        sums.append(running.all())
    assert differences(sums[0], sums[0]) == []
    assert differences(sums[0], sums[1]) == ["nonce of stock -: 1 records exported, 2 found"]


@pytest.mark.slow
def test_an_import_that_came_out_otherwise_is_not_put_in_place(
    world: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(told(world))
    run("export", str(tmp_path / "pool"))
    monkeypatch.setattr("quanma.platform.pool.maintenance.differences", lambda before, after: ["coupon of stock 1: …"])
    status, said = run("import", "--database", NEW, str(tmp_path / "pool"))
    assert status == 1
    assert "DIFFERENT: coupon of stock 1" in said
    assert [path.name for path in world.glob("new.db*")] == ["new.db.lock"]


def sized_records(count: int, size: int) -> bytes:
    head = b'{"is":"house","version":1,"made_at":1}\n'
    return head + b'{"is":"nonce","mchid":"%s","next":1}\n' % (b"1" * size) * count


@pytest.mark.parametrize(
    ("limit", "text", "told"),
    [
        ("LINE_BYTES_MAX", sized_records(1, 5000), "a line of it is longer than 1,000 bytes"),
        ("RATIO_FROM_BYTES", sized_records(20_000, 100), "it unpacks to more than 500 times its size"),
    ],
)
def test_a_file_that_unpacks_to_too_much_is_refused_with_the_limit(
    world: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, text: bytes, told: str
) -> None:
    monkeypatch.setattr(transfer, limit, 1000)
    (tmp_path / "pool").write_bytes(_packed(text))
    with pytest.raises(SourceUnreadable, match=f"{told}: nothing was imported"):
        run("import", "--database", NEW, str(tmp_path / "pool"))


def test_a_file_that_would_take_much_memory_to_unpack_is_refused(world: Path, run: Run, tmp_path: Path) -> None:
    with zstd.ZstdFile(tmp_path / "pool", "wb", options={zstd.CompressionParameter.window_log: 24}) as packing:
        packing.write(sized_records(1, 100))
    with pytest.raises(SourceUnreadable, match=r"can't be read: .*: nothing was imported"):
        run("import", "--database", NEW, str(tmp_path / "pool"))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_a_number_that_no_database_holds_is_refused(world: Path, run: Run, tmp_path: Path, number: int) -> None:
    text = b'{"is":"house","version":1,"made_at":1}\n{"is":"nonce","mchid":"1","next":%d}\n' % number
    (tmp_path / "pool").write_bytes(_packed(text))
    with pytest.raises((SourceUnreadable, StoreUnavailable), match="nothing was imported"):
        run("import", "--database", NEW, str(tmp_path / "pool"))
