"""The index against a plain dict, with a hash so weak that every chain, collision and growth happens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanma.errors import StoreUnavailable
from quanma.platform.pool import hashindex
from quanma.platform.pool.hashindex import ABSENT, HashIndex, grown

WEAK: dict[str, Callable[[str], int]] = {
    "one chain for all": lambda text: 0,
    "all at the table's end": lambda text: 1023,
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
        # In each of the ways: plainly, with the slots of a search for new texts, one by one.
        hashes = index.hashes(batch)
        found, slots = index.look_up(hashes)
        if number % 3 == 1 and (found == ABSENT).all():
            index.append(hashes, slots)
        elif number % 3 == 2:
            for text in batch:
                index.append_one(text)
        else:
            index.append(hashes)
        for text in batch:
            positions[hash_text(text)].append(count)
            count += 1
    assert len(index) == count
    for text in asked:
        assert sorted(index.positions(text)) == positions.get(hash_text(text), [])
    for text, candidate in zip(asked, index.look_up(index.hashes(asked)).found.tolist(), strict=True):
        there = positions.get(hash_text(text), [])
        assert candidate in there if there else candidate == ABSENT


@pytest.mark.parametrize("batch", [1, 7, 200, 3000])
def test_everything_is_found_after_the_table_grew(batch: int) -> None:
    index = HashIndex(lambda text: int(text) * 3)
    texts = [str(number) for number in range(3000)]
    for first in range(0, 3000, batch):
        index.append(index.hashes(texts[first : first + batch]))
    assert index.look_up(index.hashes(texts)).found.tolist() == list(range(3000))
    assert all(list(index.positions(text)) == [int(text)] for text in texts)
    assert set(index.look_up(index.hashes([str(number) for number in range(3000, 4000)])).found.tolist()) == {ABSENT}


def test_half_of_the_table_stays_free_so_that_chains_stay_short() -> None:
    index = HashIndex()
    for first in range(0, 20_000, 200):
        index.append(index.hashes([str(number) for number in range(first, first + 200)]))
        assert np.count_nonzero(index._table) == len(index) <= len(index._table) / 2


def test_more_texts_than_positions_are_refused_before_anything_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashindex, "POSITIONS_MAX", 5)
    index = HashIndex()
    index.append(index.hashes(["a", "b", "c"]))
    with pytest.raises(StoreUnavailable, match="a stock can hold 5 codes"):
        index.append(index.hashes(["d", "e", "f"]))
    assert len(index) == 3
    index.append(index.hashes(["d", "e"]))


def test_an_array_grows_by_a_quarter_and_keeps_what_it_held() -> None:
    array = np.arange(1000, dtype=np.uint32)
    larger = grown(array, 1001)
    assert len(larger) == 1250
    assert (larger[:1000] == array).all()
    assert not larger[1000:].any()
    assert grown(array, 1000) is array
    assert len(grown(array, 5000)) == 5000
