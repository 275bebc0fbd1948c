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
from quanma.platform.pool.sqlite.index import hash_index
from quanma.platform.pool.sqlite.index.buckets import ABSENT, Buckets
from quanma.platform.pool.sqlite.index.hash_index import HashIndex

WEAK: dict[str, Callable[[str], int]] = {
    "one chain for all": lambda text: 0,
    "all at the table's end": lambda text: 2**32 - 1,
    "modulo 8, and negative": lambda text: -(sum(text.encode()) % 8) - 2,
    "python's own": hash,
}
TEXTS = st.text("abc", max_size=3)


@pytest.mark.parametrize("hash_text", WEAK.values(), ids=WEAK)
@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(TEXTS, max_size=30), max_size=20), asked=st.lists(TEXTS, max_size=20))
@pytest.mark.slow
def test_a_text_has_the_numbers_it_was_added_with_and_no_other(
    hash_text: Callable[[str], int], batches: list[list[str]], asked: list[str]
) -> None:
    index = HashIndex(hash_text)
    numbers: dict[int, list[int]] = defaultdict(list)
    count = 0
    for way, batch in enumerate(batches):
        if way % 3 == 0:
            index.add(index.hashes(batch), count)
        elif way % 3 == 1:
            for number, text in enumerate(batch, count):
                index.add_one(text, number)
        else:
            index.add_later(index.hashes(batch), np.arange(count, count + len(batch), dtype=np.uint32))
            index.complete()
        for text in batch:
            numbers[hash_text(text)].append(count)
            count += 1
    assert len(index) == count
    for text in asked:
        assert sorted(index.numbers(text)) == numbers.get(hash_text(text), [])
    there = [numbers.get(hash_text(text), []) for text in asked]
    for one, candidate in zip(there, index.look_up(index.hashes(asked)).tolist(), strict=True):
        assert candidate in one if one else candidate == ABSENT
    for few in (5, 20):  # One by one, and with arrays.
        assert index.may_hold(asked[:few]) == [bool(one) for one in there[:few]]
        last = [one[-1] if one else 0 for one in there]
        assert index.hold(asked[:few], last[:few]) == [bool(one) for one in there[:few]]
        assert not any(index.hold(asked[:few], [count] * len(asked[:few])))


@pytest.mark.parametrize("batch", [5000, *(pytest.param(other, marks=pytest.mark.slow) for other in (0, 1, 7, 200))])
def test_everything_is_found_while_the_table_grows_and_after_it(batch: int) -> None:
    """`batch` 0: one by one."""
    index = HashIndex(lambda text: hash(int(text) * 0x9E37_79B9))
    texts = [str(number) for number in range(5000)]
    growing = 0
    for first in range(0, 5000, batch or 50):
        some = texts[first : first + (batch or 50)]
        if batch:
            index.add(index.hashes(some), first)
        else:
            for number, text in enumerate(some, first):
                index.add_one(text, number)
        growing += index._smaller is not None
        so_far = texts[: len(index)]
        assert index.look_up(index.hashes(so_far)).tolist() == list(range(len(index)))
        if not first % 100:
            assert index.may_hold(texts) == [number < len(so_far) for number in range(len(texts))]
            assert all(index.numbers(text) == [int(text)] for text in so_far)
    assert growing > 3 or batch == 5000
    assert set(index.look_up(index.hashes([str(number) for number in range(5000, 6000)])).tolist()) == {ABSENT}


def test_both_halves_of_the_hashes_are_sorted_alike() -> None:
    """Sorted as signed numbers, those of one bucket in the middle stood apart, and one took the other's place."""
    index = HashIndex(int)
    middle = [str(2**31 + offset) for offset in range(-100, 100)]
    index.add(index.hashes(middle), 0)
    assert index.look_up(index.hashes(middle)).tolist() == list(range(200))


@pytest.mark.slow
def test_the_table_is_never_full() -> None:
    index = HashIndex()
    for first in range(0, 50_000, 200):
        index.add(index.hashes([str(number) for number in range(first, first + 200)]), first)
        tables = [index._table] if index._smaller is None else [index._table, index._smaller]
        for table in tables:
            assert np.count_nonzero(table._hashes) <= table.entries * 7 / 8
        if index._smaller is None:
            assert np.count_nonzero(index._table._hashes) == len(index)
            assert len(index) <= index._table.entries * 0.71 or first < 10_000  # A small one moves in few steps.


@pytest.mark.slow
def test_no_addition_waits_for_the_whole_table_to_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that doubled at once kept an upload waiting for 0.8 s at 8 million codes."""
    moved: list[int] = []
    entries_of = Buckets.entries_of

    def counted(table: Buckets, begin: int, end: int) -> Any:
        entries = entries_of(table, begin, end)
        moved.append(len(entries[0]))
        return entries

    monkeypatch.setattr(Buckets, "entries_of", counted)
    index = HashIndex()
    for first in range(0, 200_000, 200):
        index.add(index.hashes([str(number) for number in range(first, first + 200)]), first)
    for number in range(200_000, 250_000):
        index.add_one(str(number), number)
    assert sum(moved) > 250_000  # It did grow.
    assert max(moved) <= 5000


@pytest.mark.slow
def test_what_went_on_at_the_beginning_of_a_large_table_stays_when_its_memory_is_given_back() -> None:
    index = HashIndex(int)
    chance = np.random.default_rng(1)
    hashes = chance.integers(1, 2**32, 1_500_000, dtype=np.uint32)
    hashes[::2000] = 2**32 - 1 - chance.integers(0, 50, len(hashes[::2000]), dtype=np.uint32)  # All in the last bucket.
    given_back = 0
    for first in range(0, len(hashes), 5000):
        index.add(hashes[first : first + 5000], first)
        if index._smaller is not None and (index._smaller._let_go_pages or 0) > 1000:
            given_back += 1
            last = hashes[: first + 5000 : 2000]
            assert (hashes[index.look_up(last)] == last).all()
    assert given_back > 5
    assert (hashes[index.look_up(hashes)] == hashes).all()
    assert sorted(index.numbers(str(2**32 - 1))) == np.flatnonzero(hashes == 2**32 - 1).tolist()


def test_more_texts_than_positions_are_refused_before_anything_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_index, "NUMBERS_MAX", 5)
    index = HashIndex()
    index.add(index.hashes(["a", "b", "c"]), 0)
    with pytest.raises(StoreUnavailable, match="a stock can hold 5 codes"):
        index.add(index.hashes(["d", "e", "f"]), 3)
    assert len(index) == 3
    index.add(index.hashes(["d", "e"]), 3)
