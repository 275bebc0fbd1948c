"""The text of one code out of the row of its upload, without reading the other 199."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import apsw

from .checked import Rows
from .tables import COUPON, UPLOAD

UPLOADS_CACHED = 1024


class Texts:
    """Reads codes in the journal's turn. `settle` before each commit: an open blob would hold a transaction."""

    def __init__(self, rows: Rows, db: apsw.Connection) -> None:
        self._rows = rows
        self._db = db
        self._blob: apsw.Blob | None = None
        self._codes = functools.lru_cache(UPLOADS_CACHED)(self._read_codes)

    def read(self, upload_ids: Sequence[int], lines: Sequence[int], widths: Sequence[int]) -> list[str]:
        """Return what stands at places of a shelf. The shelf knows whether it is what was put there."""
        codes: list[str] = []
        for upload_id, line, width in zip(upload_ids, lines, widths, strict=True):
            try:
                if width and upload_id > 0:
                    blob = self._row(upload_id)
                    blob.seek(line * (width + 1))
                    codes.append(str(blob.read(width), "ascii"))
                else:
                    codes.append(self._codes(upload_id)[line])
            except (ValueError, IndexError):  # Nothing, or nothing that can be read.
                codes.append("")
        return codes

    def settle(self) -> None:
        if self._blob is not None:
            self._blob.close()
            self._blob = None

    def forget(self) -> None:
        """After a rollback: what was read may never have been."""
        self.settle()
        self._codes.cache_clear()

    def _row(self, upload_id: int) -> apsw.Blob:
        if self._blob is None:
            self._blob = self._db.blob_open("main", "upload", "codes", upload_id, False)
        else:
            self._blob.reopen(upload_id)
        return self._blob

    def _read_codes(self, upload_id: int) -> list[str]:
        """The codes of an upload; of a negative one, the code of that coupon: see `Shelf.append_given`."""
        if upload_id < 0:
            (coupon,) = self._rows.read(COUPON, "coupon_id = ?", -upload_id)
            return [coupon.coupon_code]
        (upload,) = self._rows.read(UPLOAD, "upload_id = ?", upload_id)
        return upload.codes.split("\n")
