"""The draw is even and can't be guessed (P7), whatever was uploaded, drawn or deleted before.

Each test asks how likely its counts are if the draw is even, and fails below 1e-6: a false alarm once in a million
runs. The last tests show that well-known drawers which are not even fail by the same figure.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
import zlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

import pytest

from quanma.api.couponcodes import DeleteCode, UploadCodes
from quanma.errors import QuanmaError
from tests.contract.driver import NOW, DrivenPool
from tests.support.every import every_row
from tests.support.platform import MCHID

STOCKS = {"sqlite": 1000, "postgres": 300}
"""How many pools are drawn from, by back end: one takes a transaction for each of them."""
ENOUGH = 300
"""With so many, drawers that are not even fail: see the last tests."""
FALSE_ALARM = 1e-6

pytestmark = pytest.mark.both_back_ends


class Field(Protocol):
    """Many stocks that all go through the same."""

    stocks: int

    def upload(self, codes: list[str]) -> None: ...
    def delete(self, code: str) -> None: ...
    def draw(self) -> list[str]:
        """One code from each stock."""
        ...

    def draw_down(self, count: int) -> None:
        """So many codes from each stock, all asked for at once."""
        ...


class PoolField:
    def __init__(self, pool: DrivenPool, stocks: int) -> None:
        self.stocks = stocks
        self._pool = pool
        self._newcomers = itertools.count(1)
        self._stock_ids = [pool.create() for _ in range(stocks)]

    def upload(self, codes: list[str]) -> None:
        no = self._pool.fresh()
        self._each(
            lambda stock_id: self._pool.pool.upload_codes(
                MCHID, UploadCodes(stock_id=stock_id, coupon_code_list=codes, upload_request_no=no), NOW
            )
        )

    def delete(self, code: str) -> None:
        self._each(
            lambda stock_id: self._pool.pool.delete_code(
                MCHID, DeleteCode(stock_id=stock_id, coupon_code=code, delete_request_no=code), NOW
            )
        )

    def draw(self) -> list[str]:
        openid = self._newcomer()
        return [str(code) for code in self._each(lambda stock_id: self._pool.sending(stock_id, openid))]

    def draw_down(self, count: int) -> None:
        openids = [self._newcomer() for _ in range(count)]
        for stock_id in self._stock_ids:
            self._all(self._pool.sending(stock_id, openid) for openid in openids)

    def _newcomer(self) -> str:
        # Whoever has coupons of the stock already costs a look at each of them.
        return f"o{next(self._newcomers)}"

    def _each(self, request: Callable[[str], Coroutine[Any, Any, Any]]) -> list[Any]:
        # Not all at once, or a busy machine's database takes too long for the last.
        portions = (self._stock_ids[first : first + 40] for first in range(0, self.stocks, 40))
        return [answer for portion in portions for answer in self._all(map(request, portion))]

    def _all(self, requests: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
        answers = self._pool.together(*requests)
        assert [answer for answer in answers if isinstance(answer, QuanmaError)] == []
        return answers


def first_draws(field: Field) -> float:
    field.upload([f"C{number}" for number in range(10)])
    return evenness(Counter(field.draw()), 10)


def draws_after_a_second_upload(field: Field) -> float:
    """Thirty codes drawn down to ten, twenty new ones: of the next ten draws, a third must be old codes."""
    field.upload([f"OLD{number}" for number in range(30)])
    field.draw_down(20)
    field.upload([f"NEW{number}" for number in range(20)])
    old = [sum(code.startswith("OLD") for code in field.draw()) for _ in range(10)]
    # Of a hypergeometric count, mean and variance for each stock.
    mean, variance = 10 / 3, 10 / 3 * 2 / 3 * (30 - 10) / (30 - 1)
    stocks = field.stocks
    return upper_gamma(0.5, (sum(old) - mean * stocks) ** 2 / (variance * stocks) / 2)


def draws_after_deletions(field: Field) -> float:
    """Twelve codes, two deleted and one of those uploaded again, two drawn: the third draw."""
    field.upload([f"C{number}" for number in range(12)])
    field.delete("C3")
    field.delete("C7")
    field.upload(["C7"])
    field.draw()
    field.draw()
    drawn = Counter(field.draw())
    assert "C3" not in drawn
    return evenness(drawn, 11)


@pytest.mark.slow
def test_each_of_ten_codes_is_drawn_first_equally_often(pool: DrivenPool, back_end: str) -> None:
    assert first_draws(PoolField(pool, STOCKS[back_end])) > FALSE_ALARM


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_after_a_second_upload_old_and_new_codes_are_drawn_equally_often(pool: DrivenPool, back_end: str) -> None:
    assert draws_after_a_second_upload(PoolField(pool, STOCKS[back_end])) > FALSE_ALARM


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_after_deletions_the_codes_left_are_drawn_equally_often(pool: DrivenPool, back_end: str) -> None:
    assert draws_after_deletions(PoolField(pool, STOCKS[back_end])) > FALSE_ALARM


@pytest.mark.slow
def test_consecutive_draws_say_nothing_about_each_other(pool: DrivenPool) -> None:
    # 20,000 pairs: |ρ| of an even draw is above 0.035 once in a million runs; the promise is 0.05.
    order = draw_all(pool, 20_000)
    assert abs(correlation(order[:-1], order[1:])) < 0.035
    assert abs(correlation(order, range(len(order)))) < 0.035


def test_the_same_uploads_are_drawn_in_another_order_each_time(pool: DrivenPool) -> None:
    random.seed(1)
    first = draw_all(pool, 200)
    random.seed(1)
    assert draw_all(pool, 200) != first
    pool.reopen()
    random.seed(1)
    assert draw_all(pool, 200) != first


def draw_all(pool: DrivenPool, count: int) -> list[int]:
    """Upload codes, draw them all, and return their places in upload order."""
    stock_id = pool.create()
    codes = [f"C{number}" for number in range(count)]
    for first in range(0, count, 200):
        pool.upload(stock_id, codes[first : first + 200])
    drawn = pool.together(*(pool.sending(stock_id, f"o{number // 5}") for number in range(count)))
    place = {code: number for number, code in enumerate(codes)}
    order = [place[str(code)] for code in drawn]
    assert sorted(order) == list(range(count))
    return order


# The figures


def evenness(counts: Counter[str], kinds: int) -> float:
    """The p-value of Pearson's chi-square: how likely such counts are, or less even ones, where all kinds are alike."""
    expected = counts.total() / kinds
    missing = kinds - len(counts)
    assert missing >= 0
    square = sum((count - expected) ** 2 / expected for count in counts.values()) + missing * expected
    return upper_gamma((kinds - 1) / 2, square / 2)


def upper_gamma(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function Q(a, x), by its series or its continued fraction."""
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, 1000):
            term *= x / (a + n)
            total += term
        return 1 - scale * total
    fraction = 0.0
    for n in range(200, 0, -1):
        fraction = n * (a - n) / (x + 2 * n + 1 - a + fraction)
    return scale / (x + 1 - a + fraction)


def correlation(left: Sequence[int], right: Sequence[int]) -> float:
    """Spearman's ρ of two rows of distinct places."""
    mean_left, mean_right = sum(left) / len(left), sum(right) / len(right)
    together = sum((a - mean_left) * (b - mean_right) for a, b in zip(left, right, strict=True))
    spread = sum((a - mean_left) ** 2 for a in left) * sum((b - mean_right) ** 2 for b in right)
    return together / math.sqrt(spread)


@every_row(
    ("degrees", "square", "p"),
    # From tables of the chi-square distribution.
    [(1, 3.841, 0.05), (9, 16.919, 0.05), (9, 21.666, 0.01), (9, 4.168, 0.90), (10, 29.588, 0.001)],
)
def test_the_p_value_is_that_of_the_tables(degrees: int, square: float, p: float) -> None:
    assert upper_gamma(degrees / 2, square / 2) == pytest.approx(p, rel=2e-3)


# The tests, tested: drawers that are not even


class RankField:
    """Each code has a rank, and the draw takes the first at or above a random one: what many pools do."""

    def __init__(self, stocks: int, rank: Callable[[str], float]) -> None:
        self.stocks = stocks
        self._rank = rank
        self._ranked: list[list[tuple[float, str]]] = [[] for _ in range(stocks)]
        self._chance = random.Random(1)

    def upload(self, codes: list[str]) -> None:
        for ranked in self._ranked:
            for code in codes:
                bisect.insort(ranked, (self._rank(code), code))

    def delete(self, code: str) -> None:
        for ranked in self._ranked:
            ranked[:] = [entry for entry in ranked if entry[1] != code]

    def draw_down(self, count: int) -> None:
        for _ in range(count):
            self.draw()

    def draw(self) -> list[str]:
        return [
            ranked.pop(bisect.bisect_left(ranked, (self._chance.random(), "")) % len(ranked))[1]
            for ranked in self._ranked
        ]


def test_first_rank_above_random_fails_after_a_second_upload() -> None:
    chance = random.Random(2)
    assert first_draws(RankField(ENOUGH, lambda code: chance.random())) > FALSE_ALARM  # Even on average, so far.
    assert draws_after_a_second_upload(RankField(ENOUGH, lambda code: chance.random())) < FALSE_ALARM


def test_first_rank_above_random_fails_where_the_rank_is_the_codes_hash() -> None:
    by_hash = RankField(ENOUGH, lambda code: zlib.crc32(code.encode()) / 2**32)
    assert first_draws(by_hash) < FALSE_ALARM


def test_an_even_drawer_passes_all_three() -> None:
    class Even(RankField):
        def draw(self) -> list[str]:
            return [ranked.pop(self._chance.randrange(len(ranked)))[1] for ranked in self._ranked]

    for figure in (first_draws, draws_after_a_second_upload, draws_after_deletions):
        assert figure(Even(ENOUGH, lambda code: 0.0)) > FALSE_ALARM
