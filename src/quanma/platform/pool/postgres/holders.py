"""Who has which coupons of a stock: by a hash of the openid, in buckets of some 16. Pure.

The buckets are a linear hash: a stock that has given out so many coupons has so many buckets, and each that is added
takes its part out of one that was there. So a bucket stays as small as it was, however many coupons there are, and an
entry takes a few bytes beside its own eight. An index of the same would take four times as much, and all of it is
written at random places: that outgrows the cache long before.

A bucket tells of coupons that may be the user's: two users can have the same hash, so the openid is compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

HELD = 16
"""How many coupons a bucket has on average."""
ENTRY_BYTES = 8
_HASH_BYTES = 4


def hash_of(openid: str) -> int:
    return crc32(openid.encode())


def entry(its_hash: int, coupon_id: int) -> bytes:
    return (its_hash << 32 | coupon_id).to_bytes(ENTRY_BYTES, "big")


def bucket_count(coupons: int) -> int:
    """How many buckets a stock has that has given out so many coupons."""
    return coupons // HELD + 1


def bucket_of(its_hash: int, count: int) -> int:
    """Where a hash stands among so many buckets."""
    mask = (1 << count.bit_length()) - 1
    bucket = its_hash & mask
    return bucket if bucket < count else its_hash & (mask >> 1)


def split_from(bucket: int) -> int:
    """The bucket from which one takes its part when it is added."""
    return bucket - (1 << (bucket.bit_length() - 1))


def bucket_at(its_hash: str, coupons: str) -> str:
    """The SQL for `bucket_of`, by how many coupons the stock has given out."""
    count = f"({coupons} / {HELD} + 1)"
    mask = f"((1::bigint << length(ltrim({count}::integer::bit(32)::text, '0'))) - 1)"
    return (
        f"(CASE WHEN {its_hash} & {mask} < {count} THEN {its_hash} & {mask}"
        f" ELSE {its_hash} & ({mask} >> 1) END)::integer"
    )


class Holders:
    """The buckets that a transaction reads, and what it changes in them."""

    def __init__(self, coupons: int) -> None:
        """`coupons`: how many the stock has given out."""
        self._count = bucket_count(coupons)
        self._hashes: dict[str, int] = {}
        self._buckets: dict[int, bytes] = {}
        self._changed: set[int] = set()

    def asked(self, openids: Iterable[str], coupons: int) -> list[int]:
        """The buckets to be read, to look for these users and to come to so many coupons."""
        count = self._count
        self._hashes = {openid: hash_of(openid) for openid in openids}
        buckets = {bucket_of(its_hash, count) for its_hash in self._hashes.values()}
        for added in range(count, bucket_count(coupons)):
            bucket = added
            while bucket >= count:
                bucket = split_from(bucket)
            buckets.add(bucket)
        return sorted(buckets)

    def learn(self, bucket: int, entries: bytes | None) -> None:
        """A bucket, as it is stored; None: it is not there."""
        self._buckets[bucket] = entries or b""

    def coupons_of(self, openid: str) -> list[int]:
        """The numbers of coupons that may be the user's, one of those asked for."""
        its_hash = self._hashes[openid]
        entries, key = self._buckets[bucket_of(its_hash, self._count)], its_hash.to_bytes(_HASH_BYTES, "big")
        found: list[int] = []
        at = entries.find(key)
        while at >= 0:
            if at % ENTRY_BYTES == 0:
                found.append(int.from_bytes(entries[at + _HASH_BYTES : at + ENTRY_BYTES], "big"))
            at = entries.find(key, at + 1)
        return found

    def add(self, given: Iterable[tuple[str, int]], coupons: int) -> None:
        """Add coupons of users asked for, each with its number; the stock has given out `coupons` with them."""
        count = bucket_count(coupons)
        for bucket in range(self._count, count):
            self._split(split_from(bucket), bucket)
        self._count = count
        for openid, coupon_id in given:
            its_hash = self._hashes[openid]
            bucket = bucket_of(its_hash, count)
            # In front: so the rest of the row is as it was, and PostgreSQL's log has the new entry alone.
            self._buckets[bucket] = entry(its_hash, coupon_id) + self._buckets[bucket]
            self._changed.add(bucket)

    def _split(self, bucket: int, added: int) -> None:
        entries = self._buckets[bucket]
        stay, go = bytearray(), bytearray()
        for at in range(0, len(entries), ENTRY_BYTES):
            one = entries[at : at + ENTRY_BYTES]
            its_hash = int.from_bytes(one[:_HASH_BYTES], "big")
            (go if bucket_of(its_hash, added + 1) == added else stay).extend(one)
        self._buckets[bucket], self._buckets[added] = bytes(stay), bytes(go)
        self._changed |= {bucket, added} if go else set()

    def changed(self) -> tuple[list[int], list[bytes]]:
        """The buckets that are not as they were: their numbers, and what they hold now."""
        buckets = sorted(self._changed)
        return buckets, [self._buckets[bucket] for bucket in buckets]
