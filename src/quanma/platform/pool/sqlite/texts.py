"""The text of one code out of the row of its upload, without reading the other 199."""

from __future__ import annotations

import functools

import apsw

from ..shelf import Place

UPLOADS_CACHED = 1024


class Texts:
    """Reads codes in the journal's turn. `settle` before each commit: an open blob would hold a transaction."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._blob: apsw.Blob | None = None
        self._codes = functools.lru_cache(UPLOADS_CACHED)(self._read_codes)

    def read(self, place: Place) -> str:
        if place.width and place.upload_id > 0:
            return self._slice(place)
        return self._codes(place.upload_id)[place.line]

    def settle(self) -> None:
        if self._blob is not None:
            self._blob.close()
            self._blob = None

    def forget(self) -> None:
        """After a rollback: what was read may never have been."""
        self.settle()
        self._codes.cache_clear()

    def _slice(self, place: Place) -> str:
        if self._blob is None:
            self._blob = self._db.blob_open("main", "upload", "codes", place.upload_id, False)
        else:
            self._blob.reopen(place.upload_id)
        self._blob.seek(place.line * (place.width + 1))
        return self._blob.read(place.width).decode("ascii")

    def _read_codes(self, upload_id: int) -> list[str]:
        """The codes of an upload; of a negative one, the code of that coupon: see `Shelf.append_given`."""
        if upload_id < 0:
            code = self._db.execute("SELECT coupon_code FROM coupon WHERE coupon_id = ?", (-upload_id,)).get
            return [str(code)]
        return str(self._db.execute("SELECT codes FROM upload WHERE upload_id = ?", (upload_id,)).get).split("\n")
