"""What the pool is measured against, in SQLite as durable as the pool: less than it can do with, and the usual.

`BareRows` appends the same codes and coupons as rows, one each, and keeps no promise: nothing finds a code, draws
one, or knows a number again. SQLite does not write faster than that.

`Textbook` is one table with a random rank for each code; a draw takes the first free one at or above a random
number. That is not uniform, and no number is known again: it is what a careful user would write in an hour.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

import apsw

from quanma.api.couponcodes import UploadCodes
from quanma.api.coupons import SendCoupon

RANKS = 2**63

Row = tuple[object, ...]


class BareRows:
    def __init__(self, path: Path) -> None:
        self._db = _opened(path)
        self._db.execute("CREATE TABLE code (code_id INTEGER PRIMARY KEY, stock_id TEXT, coupon_code TEXT)")
        self._db.execute(
            "CREATE TABLE coupon (coupon_id INTEGER PRIMARY KEY, stock_id TEXT, position INTEGER, coupon_code TEXT,"
            " openid TEXT, appid TEXT, out_request_no TEXT, sent_at INTEGER)"
        )

    @staticmethod
    def code_rows(uploads: Iterable[UploadCodes]) -> list[Row]:
        return [(upload.stock_id, code) for upload in uploads for code in upload.coupon_code_list]

    @staticmethod
    def coupon_rows(draws: Sequence[SendCoupon], codes: Sequence[str]) -> list[Row]:
        return [
            (draw.stock_id, position, code, draw.openid, draw.appid, draw.out_request_no, 1_767_225_600)
            for position, (draw, code) in enumerate(zip(draws, codes, strict=True))
        ]

    def upload(self, group: Iterable[Row]) -> None:
        with self._db:
            self._db.executemany("INSERT INTO code (stock_id, coupon_code) VALUES (?, ?)", group)

    def draw(self, group: Iterable[Row]) -> None:
        fields = "stock_id, position, coupon_code, openid, appid, out_request_no, sent_at"
        with self._db:
            self._db.executemany(f"INSERT INTO coupon ({fields}) VALUES (?, ?, ?, ?, ?, ?, ?)", group)

    def close(self) -> None:
        self._db.close()


class Textbook:
    def __init__(self, path: Path) -> None:
        self._db = _opened(path)
        self._db.execute(
            "CREATE TABLE code (stock_id TEXT, coupon_code TEXT, rank INTEGER NOT NULL, openid TEXT, appid TEXT,"
            " out_request_no TEXT, sent_at INTEGER, PRIMARY KEY (stock_id, coupon_code)) WITHOUT ROWID"
        )

    def fill(self, stock_id: str, sorted_codes: Iterable[str]) -> None:
        """Add many codes in the order of the table, which is quick, and then the index."""
        rank = random.Random(8460).getrandbits
        self._db.execute("PRAGMA synchronous = OFF")
        with self._db:
            rows = ((stock_id, code, rank(63)) for code in sorted_codes)
            self._db.executemany("INSERT INTO code (stock_id, coupon_code, rank) VALUES (?, ?, ?)", rows)
        self._db.execute("CREATE INDEX IF NOT EXISTS available ON code (stock_id, rank) WHERE openid IS NULL")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.execute("PRAGMA synchronous = FULL")

    def upload(self, group: Iterable[UploadCodes]) -> None:
        insert = "INSERT INTO code (stock_id, coupon_code, rank) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        with self._db:
            for upload in group:
                rows = [(upload.stock_id, code, secrets.randbelow(RANKS)) for code in upload.coupon_code_list]
                self._db.executemany(insert, rows)

    def draw(self, group: Iterable[SendCoupon]) -> None:
        update = (
            "UPDATE code SET openid = ?, appid = ?, out_request_no = ?, sent_at = 1767225600"
            " WHERE stock_id = ? AND coupon_code = ?"
        )
        with self._db:
            for draw in group:
                code = self._first(draw.stock_id, secrets.randbelow(RANKS)) or self._first(draw.stock_id, 0)
                assert code is not None
                self._db.execute(update, (draw.openid, draw.appid, draw.out_request_no, draw.stock_id, code))

    def _first(self, stock_id: str, rank: int) -> str | None:
        found: str | None = self._db.execute(
            "SELECT coupon_code FROM code WHERE stock_id = ? AND rank >= ? AND openid IS NULL ORDER BY rank LIMIT 1",
            (stock_id, rank),
        ).get
        return found

    def close(self) -> None:
        self._db.close()


def _opened(path: Path) -> apsw.Connection:
    """A new file with the settings of quanma's own pool, and more cache: 64 MiB, in place of a mapping."""
    db = apsw.Connection(str(path))
    for setting in (
        "journal_mode = wal",
        "synchronous = FULL",
        "fullfsync = 1",
        "checkpoint_fullfsync = 1",
        "cache_size = -65536",
        "wal_autocheckpoint = 4000",
    ):
        db.execute(f"PRAGMA {setting}").fetchall()
    return db
