"""One stock in memory against a plain dict, with a hash so weak that texts must be compared; and what it costs."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from quanma.errors import StoreUnavailable
from quanma.platform.pool.sqlite.index.codes import Place, SentCodeIndex, UploadedCodeIndex
from tests.support.every import every_row

FREE, DELETED = "free", "deleted"
CODES = st.sampled_from([f"C{number}" for number in range(40)])


class Reading:
    """Texts that are read by a function of their upload and line, and whose width must be the one that was noted."""

    def __init__(self, read: Callable[[int, int], str]) -> None:
        self._read = read
        self._widths: dict[int, int] = {}

    def keep(self, upload_id: int, codes: Sequence[str], width: int) -> None:
        assert {len(code) for code in codes} == {width}
        self._widths[upload_id] = width

    def read(self, place: Place) -> str:
        assert place.width == self._widths.get(place.upload_id)
        return self._read(place.upload_id, place.line)

    def read_sent(self, coupon_id: int) -> str:
        raise AssertionError("no stock here is one that takes no uploads")

    def read_many(self, upload_ids: NDArray[np.int64], lines: NDArray[np.int64], width: int | None) -> list[str]:
        return [self.read(Place(*at, width)) for at in zip(upload_ids.tolist(), lines.tolist(), strict=True)]


class CodeIndexModel(RuleBasedStateMachine):
    """`owners`: position → code, and the coupon that carries it, FREE or DELETED, as the index should hold them."""

    @initialize()
    def start(self) -> None:
        self.uploads: dict[int, list[str]] = {}
        self.index = self.new()
        self.owners: list[tuple[str, int | str]] = []
        self.coupon_id = 0

    def new(self) -> UploadedCodeIndex:
        return UploadedCodeIndex(
            Reading(lambda upload_id, line: self.uploads[upload_id][line]), lambda text: sum(text.encode()) % 8
        )

    def there(self) -> dict[str, int]:
        return {code: position for position, (code, owner) in enumerate(self.owners) if owner != DELETED}

    @rule(codes=st.lists(CODES, unique=True, max_size=12))
    def append(self, codes: list[str]) -> None:
        there = self.there()
        hashes = self.index.hashes(codes)
        known = self.index.known(codes, hashes)
        assert known.tolist() == [code in there for code in codes]
        fresh = [code for code in codes if code not in there]
        half = len(fresh) // 2
        uploads = [(len(self.uploads) * 3 + 1, fresh[:half]), (len(self.uploads) * 3 + 2, fresh[half:])]
        self.uploads.update(uploads)
        self.index.append(uploads, hashes[~known])
        self.owners += [(code, FREE) for code in fresh]

    @rule(count=st.integers(1, 16), kept=st.booleans())
    def draw(self, count: int, kept: bool) -> None:
        free = {position for position, (_, owner) in enumerate(self.owners) if owner == FREE}
        drawn = self.index.draw(count)
        assert len(drawn) == min(count, len(free))
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= free
        assert self.index.texts(drawn) == [self.owners[position][0] for position in drawn]
        assert self.index.available == len(free) - len(drawn)
        if not kept:
            self.index.put_back(drawn)
            return
        self.index.give(drawn, self.coupon_id + 1)
        for position in drawn:
            self.coupon_id += 1
            self.owners[position] = (self.owners[position][0], self.coupon_id)

    @rule(code=CODES)
    def delete(self, code: str) -> None:
        position = self.there().get(code)
        if position is not None and self.owners[position][1] == FREE:
            self.index.delete(position)
            self.owners[position] = (code, DELETED)

    @rule()
    @precondition(lambda self: self.uploads)
    def rebuild(self) -> None:
        self.index = self.new()
        uploads = list(self.uploads.items())
        half = len(uploads) // 2
        for part in (uploads[:half], uploads[half:]):
            self.index.append_many(
                [(upload_id, len(codes)) for upload_id, codes in part if codes],
                [code for _, codes in part for code in codes],
            )
        given = [(position, owner) for position, (_, owner) in enumerate(self.owners) if isinstance(owner, int)]
        deleted = [position for position, (_, owner) in enumerate(self.owners) if owner == DELETED]
        assert self.index.restore([position for position, _ in given], [coupon_id for _, coupon_id in given], deleted)

    @rule(offset=st.integers(0, 30), limit=st.integers(1, 10), given=st.sampled_from([None, True, False]))
    def page(self, offset: int, limit: int, given: bool | None) -> None:
        listed = [
            position
            for position, (_, owner) in enumerate(self.owners)
            if owner != DELETED and (given is None or (owner != FREE) == given)
        ]
        assert self.index.page(offset, limit, given) == listed[offset : offset + limit]

    @invariant()
    def holds_what_it_should(self) -> None:
        if not hasattr(self, "index"):
            return
        owners = [owner for _, owner in self.owners]
        assert self.index.uploaded == len(owners)
        assert self.index.total == len(owners) - owners.count(DELETED)
        assert self.index.available == owners.count(FREE)
        there = self.there()
        for code in (f"C{number}" for number in range(40)):
            assert self.index.find(code) == there.get(code)
        for position, (code, owner) in enumerate(self.owners):
            assert self.index.text(position) == code
            if owner != DELETED:
                assert self.index.owner(position) == (None if owner == FREE else owner)


CodeIndexModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestCodeIndexAgainstItsModel = pytest.mark.slow(CodeIndexModel.TestCase)


def index_of(codes: list[str]) -> UploadedCodeIndex:
    """One upload, all free."""
    index = UploadedCodeIndex(Reading(lambda upload_id, line: codes[line]))
    index.append_many([(1, len(codes))], codes)
    assert index.restore([], [], [])
    return index


@every_row(("given", "deleted"), [([1, 1], []), ([1], [1]), ([], [2, 2]), ([3], []), ([], [10**6]), ([], [-1])])
def test_a_position_with_two_owners_or_beyond_the_end_is_damage(given: list[int], deleted: list[int]) -> None:
    index = index_of(["A1", "B2", "C3"])
    assert not index.restore(given, range(1, len(given) + 1), deleted)


def test_an_empty_index_gives_nothing() -> None:
    index = index_of([])
    assert index.draw(1) == []
    assert index.find("A1") is None
    assert index.known(["A1"], index.hashes(["A1"])).tolist() == [False]
    assert index.page(0, 10, None) == []


@pytest.mark.slow
def test_the_draw_asks_the_operating_system_so_two_copies_of_a_process_draw_differently() -> None:
    """A generator in the process, seeded or not, would be copied by fork and draw the same twice."""
    index = index_of([f"C{number}" for number in range(10_000)])
    assert len({_draws_of_a_copy(index) for _ in range(3)}) == 3


def _draws_of_a_copy(index: UploadedCodeIndex) -> bytes:
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # The copy does nothing but draw and write.
        process = os.fork()
    if not process:
        try:
            # Python seeds its own generator anew after a fork.
            random.seed(1)
            np.random.seed(1)
            os.write(write, str([index.draw(3), index.draw(8)]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as drawn:
        content = drawn.read()
    assert os.waitpid(process, 0)[1] == 0
    return content


@pytest.mark.slow
def test_a_million_codes_take_at_most_28_bytes_each() -> None:
    index = UploadedCodeIndex(Reading(lambda upload_id, line: f"{upload_id - 1 + line:08}"))
    most = 0.0
    for first in range(0, 1_000_000, 200):
        codes = [f"{number:08}" for number in range(first, first + 200)]
        index.append([(first + 1, codes)], index.hashes(codes))
        if index.uploaded >= 100_000 and not first % 10_000:
            most = max(most, index.nbytes / index.uploaded)
    assert index.uploaded == 1_000_000
    assert most <= 28  # Also while the table grows.


class Bits:
    """The operating system's random source, telling what it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        self._numbers = list(numbers)
        monkeypatch.setattr(os, "urandom", self._take)

    def _take(self, count: int) -> bytes:
        taken, self._numbers = self._numbers[: count // 8], self._numbers[count // 8 :]
        return b"".join(number.to_bytes(8, sys.byteorder) for number in taken)


def test_random_numbers_of_the_last_incomplete_round_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """2⁶⁴ % 11 = 5: with the 5 highest numbers, the first slots would come more often. Eight draws share a call."""
    assert 2**64 % 11 == 5
    for number in range(2**64 - 5, 2**64):
        index = index_of([f"C{number}" for number in range(11)])
        Bits(monkeypatch, number, *[0] * 7, 4, *[0] * 7)
        assert index.draw(8)[0] == 4
    Bits(monkeypatch, 2**64 - 6, *[0] * 7)
    assert index_of([f"C{number}" for number in range(11)]).draw(8)[0] == 10


@pytest.mark.slow
@pytest.mark.parametrize("together", [1, 7, 8, 40])
def test_each_free_code_is_drawn_equally_often_few_or_many_at_a_time(together: int) -> None:
    codes = [f"C{number}" for number in range(60)]
    drawn: Counter[str] = Counter()
    for _ in range(8000 // together):
        index = index_of(codes)
        drawn.update(index.texts(index.draw(together)))
    # Pearson's chi-square of 59 degrees of freedom, less what drawing without putting back takes off: above 130 once
    # in a million times.
    expected = drawn.total() / 60
    assert sum((drawn[code] - expected) ** 2 / expected for code in codes) < 130


def test_a_code_that_is_not_what_was_uploaded_is_never_read_out() -> None:
    codes = ["A1", "B2", "C3"]
    index = UploadedCodeIndex(Reading(lambda upload_id, line: codes[line]))
    index.append_many([(7, 3)], codes)
    assert index.restore([], [], [])
    codes[1] = "B3"
    for read in (lambda: index.text(1), lambda: index.texts([0, 1, 2]), lambda: index.find("B2")):
        with pytest.raises(StoreUnavailable, match="damaged: line 1 of upload 7"):
            read()
    assert index.texts([0, 2]) == ["A1", "C3"]


class Sent(Reading):
    """The codes of coupons, by their ids."""

    def __init__(self, codes: dict[int, str]) -> None:
        super().__init__(lambda upload_id, line: "")
        self._codes = codes

    def read_sent(self, coupon_id: int) -> str:
        return self._codes[coupon_id]


def test_a_code_that_came_with_its_coupon_is_found_under_it_and_is_never_free() -> None:
    index = SentCodeIndex(Sent({7: "A1", 9: "B2"}), lambda text: 1)
    index.add(7, "A1")
    index.add(9, "B2")
    assert (index.find("A1"), index.find("B2"), index.find("C3")) == (0, 1, None)
    assert (index.owner(0), index.owner(1)) == (7, 9)
    assert (index.uploaded, index.total, index.available) == (2, 2, 0)
    assert (index.page(0, 9, True), index.page(0, 9, False), index.page(1, 1, None)) == ([0, 1], [], [1])


def test_a_code_that_is_not_what_its_coupon_was_given_is_never_read_out() -> None:
    codes = {7: "A1"}
    index = SentCodeIndex(Sent(codes))
    index.add(7, "A1")
    codes[7] = "A2"
    with pytest.raises(StoreUnavailable, match="damaged: the code of coupon 7 is not the one that was given out"):
        index.text(0)


@pytest.mark.slow
def test_a_code_that_came_with_its_coupon_takes_at_most_20_bytes() -> None:
    index = SentCodeIndex(Sent({}))
    for number in range(100_000):
        index.add(number + 1, f"{number:08}")
    assert index.nbytes / 100_000 <= 20
