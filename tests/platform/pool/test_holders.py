"""Buckets of a linear hash: whoever has a coupon is found, and no bucket grows with the stock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from quanma.platform.pool.postgres.holders import (
    HELD,
    Holders,
    bucket_at,
    bucket_count,
    bucket_of,
    entry,
    hash_of,
    split_from,
)
from tests.support.postgres import query


class Stored:
    """The buckets of a stock, kept from one piece of work to the next."""

    def __init__(self) -> None:
        self.coupons = 0
        self.buckets: dict[int, bytes] = {}

    def give(self, *openids: str) -> None:
        holders = self._read(openids, self.coupons + len(openids))
        given = [(openid, self.coupons + number) for number, openid in enumerate(openids, 1)]
        self.coupons += len(openids)
        holders.add(given, self.coupons)
        self.buckets |= dict(zip(*holders.changed(), strict=True))

    def coupons_of(self, openid: str) -> list[int]:
        return sorted(self._read([openid], self.coupons).coupons_of(openid))

    def _read(self, openids: Sequence[str], coupons: int) -> Holders:
        holders = Holders(self.coupons)
        for bucket in holders.asked(openids, coupons):
            holders.learn(bucket, self.buckets.get(bucket))
        return holders


@pytest.mark.parametrize("at_once", [1, 7, 256])
def test_each_user_is_found_with_all_coupons_however_many_are_given_at_once(at_once: int) -> None:
    stored = Stored()
    openids = [f"o{number % 700}" for number in range(2048)]
    for first in range(0, 2048, at_once):
        stored.give(*openids[first : first + at_once])
    for user in range(0, 700, 50):
        assert stored.coupons_of(f"o{user}") == [number for number in range(1, 2049) if (number - 1) % 700 == user]
    assert stored.coupons_of("nobody") == []
    assert {*stored.buckets} <= {*range(bucket_count(2048))}


def test_a_bucket_stays_small_however_many_coupons_there_are() -> None:
    stored = Stored()
    for first in range(0, 20_480, 256):
        stored.give(*(f"o{number:027}" for number in range(first, first + 256)))
    sizes = [len(entries) // 8 for entries in stored.buckets.values()]
    assert sum(sizes) == 20_480
    assert max(sizes) <= 6 * HELD


def test_a_bucket_that_is_added_takes_its_part_of_the_one_that_it_is_split_from() -> None:
    assert [split_from(bucket) for bucket in range(1, 9)] == [0, 0, 1, 0, 1, 2, 3, 0]
    for count in (1, 2, 3, 700, 1024):
        for its_hash in (0, 5, 0x7FFFFFFF, 0xFFFFFFFF, 0x9E3779B9):
            before, after = bucket_of(its_hash, count), bucket_of(its_hash, count + 1)
            assert after == before or (after, split_from(after)) == (count, before)


def test_the_database_finds_the_same_bucket(postgres_url: str) -> None:
    hashes = (0, 1, 17, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x9E3779B9)
    for coupons in (0, 15, 16, 31, 32, 1000, 16_777_215, 2_147_483_647):
        statement = ", ".join(bucket_at(f"{its_hash}::bigint", f"{coupons}::bigint") for its_hash in hashes)
        (row,) = query(postgres_url, f"SELECT {statement}")
        assert list(row) == [bucket_of(its_hash, bucket_count(coupons)) for its_hash in hashes]


def test_two_users_of_one_hash_are_both_told_and_bytes_between_entries_are_none() -> None:
    # Known collision of CRC-32.
    assert hash_of("plumless") == hash_of("buckeroo")
    stored = Stored()
    stored.give("plumless", "buckeroo")
    assert stored.coupons_of("plumless") == [1, 2]
    holders = Holders(0)
    assert holders.asked(["o1"], 0) == [0]
    key = hash_of("o1").to_bytes(4, "big")
    # The number of the one and the hash of the next, put together, are no entry.
    holders.learn(0, entry(1, int.from_bytes(key, "big") & 0x7FFFFFFF) + entry(hash_of("o1"), 3))
    assert holders.coupons_of("o1") == [3]
