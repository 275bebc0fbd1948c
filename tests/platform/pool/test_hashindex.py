"""The index against a plain dict, with a hash so weak that every chain, collision and growth happens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanma.errors import StoreUnavailable
from quanma.platform.pool import hashindex
from quanma.platform.pool.hashindex import ABSENT, HashIndex

WEAK: dict[str, Callable[[str], int]] = {
    "one chain for all": lambda text: 0,
    "all at the table's end": lambda text: 2**32 - 1,
    "modulo 8, and negative": lambda text: -(sum(text.encode()) % 8) - 2,
    "python's own": hash,
}
TEXTS = st.text("abc", max_size=3)


@pytest.mark.parametrize("hash_text", WEAK.values(), ids=WEAK)
@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(TEXTS, max_size=30), max_size=8), asked=st.lists(TEXTS, max_size=20))
@pytest.mark.slow
def test_a_text_is_found_where_it_was_added_and_nowhere_else(
    hash_text: Callable[[str], int], batches: list[list[str]], asked: list[str]
) -> None:
    index = HashIndex(hash_text)
    positions: dict[int, list[int]] = defaultdict(list)
    count = 0
    for number, batch in enumerate(batches):
        # In each of the ways: plainly, with the slots of a search for new texts, one by one, all at the end.
        hashes = index.hashes(batch)
        found, slots = index.look_up(hashes)
        if number % 4 == 1 and (found == ABSENT).all():
            index.append(hashes, slots)
        elif number % 4 == 2:
            index.append_few(batch)
        elif number % 4 == 3:
            index.append_unplaced(hashes)
            index.place_all()
        else:
            index.append(hashes)
        for text in batch:
            positions[hash_text(text)].append(count)
            count += 1
    assert len(index) == count
    for text in asked:
        assert sorted(index.positions(text)) == positions.get(hash_text(text), [])
    assert index.may_hold(asked) == [hash_text(text) in positions for text in asked]
    for text, candidate in zip(asked, index.look_up(index.hashes(asked)).found.tolist(), strict=True):
        there = positions.get(hash_text(text), [])
        assert candidate in there if there else candidate == ABSENT


@pytest.mark.parametrize("batch", [0, *(pytest.param(few, marks=pytest.mark.slow) for few in (1, 7)), 200, 3000])
def test_everything_is_found_while_the_table_grows_and_after_it(batch: int) -> None:
    """`batch` 0: one by one."""
    index = HashIndex(lambda text: hash(int(text) * 0x9E37_79B9))
    texts = [str(number) for number in range(3000)]
    growing = 0
    for first in range(0, 3000, batch or 50):
        some = texts[first : first + (batch or 50)]
        if batch:
            index.append(*_looked_up(index, some))
        else:
            for text in some:
                index.append_few([text])
        growing += index._smaller is not None
        so_far = texts[: len(index)]
        assert index.look_up(index.hashes(so_far)).found.tolist() == list(range(len(index)))
        if not first % 100:
            assert index.may_hold(texts) == [number < len(so_far) for number in range(len(texts))]
            assert all(index.positions(text) == [int(text)] for text in so_far)
    assert growing > (3 if batch < 200 else 0) or batch == 3000
    assert set(index.look_up(index.hashes([str(number) for number in range(3000, 4000)])).found.tolist()) == {ABSENT}


def _looked_up(index: HashIndex, texts: list[str]) -> tuple[Any, Any]:
    hashes = index.hashes(texts)
    return hashes, index.look_up(hashes).slots


def test_half_of_the_table_stays_free_so_that_chains_stay_short() -> None:
    index = HashIndex()
    for first in range(0, 20_000, 200):
        index.append(index.hashes([str(number) for number in range(first, first + 200)]))
        taken = np.count_nonzero(index._table.cells)
        assert taken <= len(index) <= index._table.size / 2 + 200
        if index._smaller is None:
            assert taken == len(index)


def test_no_addition_waits_for_the_whole_table_to_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that doubled at once kept an upload waiting for 0.8 s at 8 million codes."""
    moved: list[int] = []
    move = HashIndex._move

    def counted(index: HashIndex, begin: int, end: int) -> None:
        moved.append(end - begin)
        move(index, begin, end)

    monkeypatch.setattr(HashIndex, "_move", counted)
    index = HashIndex()
    for first in range(0, 100_000, 200):
        index.append(index.hashes([str(number) for number in range(first, first + 200)]))
    for first in range(100_000, 200_000, 50):
        index.append_few([str(number) for number in range(first, first + 50)])
    assert sum(moved) > 200_000  # It did grow.
    assert max(moved) <= 1024


def test_more_texts_than_positions_are_refused_before_anything_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashindex, "POSITIONS_MAX", 5)
    index = HashIndex()
    index.append(index.hashes(["a", "b", "c"]))
    with pytest.raises(StoreUnavailable, match="a stock can hold 5 codes"):
        index.append(index.hashes(["d", "e", "f"]))
    assert len(index) == 3
    index.append(index.hashes(["d", "e"]))
