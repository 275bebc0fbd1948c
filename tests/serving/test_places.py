"""128 places, and no merchant has them all: at most half while others come, and never the last ones."""

from __future__ import annotations

import itertools

from quanma.serving.shared import PLACES, Places

A, B, NOBODY = "1900000001", "1900000002", ""


class Asked:
    """Places, and requests that stay under way until they are let go."""

    def __init__(self) -> None:
        self.places = Places(PLACES)
        self._numbers = itertools.count()
        self._held: dict[str, list[int]] = {}

    def take(self, share: str, count: int, now: float = 0.0) -> int:
        """How many of so many requests have a place."""
        taken = 0
        for _ in range(count):
            number = next(self._numbers)
            if self.places.take(number, share, now):
                self._held.setdefault(share, []).append(number)
                taken += 1
        return taken

    def end(self, share: str, count: int) -> None:
        for _ in range(count):
            self.places.give_back(self._held[share].pop())


def test_one_merchant_alone_leaves_room_for_whoever_comes_next() -> None:
    asked = Asked()
    assert asked.take(B, 500) == 112
    assert asked.take(A, 10) == 10


def test_while_another_one_comes_a_merchant_has_at_most_half() -> None:
    asked = Asked()
    asked.take(A, 1, now=100.0)
    asked.end(A, 1)
    assert asked.take(B, 500, now=104.9) == 64
    assert asked.take(B, 500, now=105.1) == 112 - 64  # The other one came no more.
    asked.take(A, 1, now=106.0)
    asked.end(B, 40)
    assert asked.take(B, 500, now=106.0) == 0
    asked.end(B, 9)
    assert asked.take(B, 500, now=106.0) == 1


def test_however_many_take_all_they_can_there_is_a_place_for_the_next_one() -> None:
    asked = Asked()
    merchants = [f"19000001{number:02}" for number in range(6)]
    for _ in range(100):  # Each ends some requests and asks for as many as it can get.
        for merchant in merchants:
            asked.take(merchant, PLACES)
            asked.end(merchant, 5)
    assert asked.take("1900000200", 1) == 1
    assert len(asked.places) <= PLACES
    for merchant in merchants:
        asked.end(merchant, 5)  # None of them was starved.


def test_strangers_share_as_one_and_make_no_merchants_share_smaller() -> None:
    asked = Asked()
    asked.take(NOBODY, 5)
    assert asked.take(B, 500) == 108
    asked = Asked()
    asked.take(A, 1)
    assert asked.take(NOBODY, 500) == 64


def test_a_place_that_is_given_back_twice_is_one_place() -> None:
    places = Places(PLACES)
    assert places.take("x", A, 0.0)
    places.give_back("x")
    places.give_back("x")
    assert len(places) == 0
    assert not places
    assert places.take("x", A, 0.0)
