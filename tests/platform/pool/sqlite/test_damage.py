"""Single bits are flipped all over a stopped pool's files: each answer after that is right, or there is none (C5)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quanma.errors import StoreUnavailable
from quanma.platform.pool import open_pool
from quanma.platform.pool.sqlite.generation import MarkFile
from tests.support.poolstory import Story
from tests.support.rounds import rounds

FLIPS = rounds(150, 450)
"""The seed stands, so these are the same at each run."""
SEED = 20261124
URL = "sqlite:///quanma.db"
FLIPPED = ("quanma.db", "quanma.db-wal", "quanma.db.mark")


class Stopped(NamedTuple):
    """A pool's files, and what it answers."""

    files: dict[str, bytes]
    stories: list[Story]
    truth: list[list[Any]]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> list[Stopped]:
    """After a stop, and after kill -9: half of what happened is in the file then, and half in its log."""
    return [asyncio.run(_stopped(tmp_path_factory.mktemp("pool"), killed)) for killed in (False, True)]


async def _stopped(folder: Path, killed: bool) -> Stopped:
    stories = [Story("one", 7), Story("two", 8)]
    truth: list[list[Any]] = []
    pool = open_pool(URL, folder)
    await pool.close()
    for story in stories:
        pool = open_pool(URL, folder)
        await story.tell(pool)
        await story.ask_each_code(pool)
        last = story is stories[-1]
        if last:
            truth = [await each.answers(pool) for each in stories]
        if not (last and killed):
            await pool.close()
    files = {name: (folder / name).read_bytes() for name in FLIPPED if (folder / name).exists()}
    assert ("quanma.db-wal" in files) == killed
    if killed:
        await pool.close()
    return Stopped(files, stories, truth)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_flipped_bit_is_answered_from(stopped: list[Stopped], tmp_path: Path) -> None:
    chance = random.Random(SEED)
    seen: Counter[str] = Counter()
    for _ in range(FLIPS):
        image = chance.choice(stopped)
        # Each file as likely: else the small ones would hardly be hit.
        name = chance.choice(sorted(image.files))
        bit = chance.randrange(len(image.files[name]) * 8)
        seen[f"{name}: {_what_came(image, tmp_path, name, bit)}"] += 1
    print(dict(seen))
    assert {said for said in seen if "WRONG" in said} == set()
    # Too little evidence is no pass.
    assert all(any(said.startswith(f"{name}: refused") for said in seen) for name in FLIPPED[:2])


@pytest.mark.slow
def test_without_a_flip_every_answer_is_right(stopped: list[Stopped], tmp_path: Path) -> None:
    for image in stopped:
        assert _what_came(image, tmp_path, "quanma.db", None) == "right"
        assert sum(map(len, image.truth)) > 400
        assert not [answer for answers in image.truth for answer in answers if isinstance(answer, StoreUnavailable)]


def _what_came(image: Stopped, folder: Path, flipped: str, bit: int | None) -> str:
    for name in FLIPPED:
        path = folder / name
        if name not in image.files:
            path.unlink(missing_ok=True)
            continue
        content = bytearray(image.files[name])
        if name == "quanma.db.mark":
            content = _marked_here(folder, content)
        if name == flipped and bit is not None:
            content[bit // 8] ^= 1 << bit % 8
        path.touch(0o600)
        path.write_bytes(content)
    (folder / "quanma.db-shm").unlink(missing_ok=True)
    return asyncio.run(_asked(image, folder))


def _marked_here(folder: Path, content: bytearray) -> bytearray:
    """The mark, as if these files had always been where they are: a copy would be fenced, whatever its bits."""
    file = MarkFile(folder / "quanma.db")
    file.path.touch(0o600)
    file.path.write_bytes(content)
    mark = file.read()
    assert mark is not None
    file.make(mark._replace(inode=(folder / "quanma.db").stat().st_ino))
    file.close()
    return bytearray(file.path.read_bytes())


async def _asked(image: Stopped, folder: Path) -> str:
    try:
        pool = open_pool(URL, folder)
    except StoreUnavailable as problem:
        return "refused" if "restore a backup" in str(problem) else f"WRONG, says only: {problem}"
    try:
        if pool.fence():
            return "fenced"
        for story, truth in zip(image.stories, image.truth, strict=True):
            answers = await story.answers(pool)
            for answer, right in zip(answers, truth, strict=True):
                if isinstance(answer, StoreUnavailable):
                    return "refused later"
                if answer != right:
                    return f"WRONG: {answer} instead of {right}"
        return "right"
    finally:
        await pool.close()
