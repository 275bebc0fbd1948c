"""The text of one code out of millions, without reading the other 199 of its upload.

Those of the first uploads are kept in memory, as many as there is room for: one B-tree's way to a page of the file,
for each draw another one, was a fifth of a draw's cost. The others are read from the file. Which of both it was,
the code index checks that the text is the one that was put there.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Sequence

import apsw
import numpy as np
from numpy.typing import NDArray

from .. import issue_batches
from ..rows import UPLOAD, Rows
from .codes import Place

KEPT_BYTES_MAX = 136 * 2**20
"""Ten million codes of 14 characters."""
UPLOADS_CACHED = 1024
_NOT_KEPT = -1
"""Stands in an array of begins, where None can't. It does not leave this module."""


class Texts:
    """Reads codes in the writer's turn. `settle` before each commit: an open blob would hold a transaction."""

    def __init__(self, rows: Rows, db: apsw.Connection) -> None:
        self._rows = rows
        self._db = db
        self._blob: apsw.Blob | None = None
        self._codes = functools.lru_cache(UPLOADS_CACHED)(self._read_codes)
        self.forget()

    @property
    def nbytes(self) -> int:
        return len(self._kept) + len(self._kept_at) * self._kept_at.itemsize

    def keep(self, upload_id: int, codes: Sequence[str], width: int) -> None:
        """Keep the codes of an upload, all of one length, if there is room."""
        if len(self._kept) + len(codes) * width <= KEPT_BYTES_MAX:
            self._kept_at.extend([_NOT_KEPT] * (upload_id + 1 - len(self._kept_at)))
            self._kept_at[upload_id] = len(self._kept)
            self._kept.frombytes("".join(codes).encode())

    def read(self, place: Place) -> str:
        """Return the text at a place; an empty one where nothing can be read."""
        upload_id, line, width = place
        try:
            if width is None:
                return self._codes(upload_id)[line]
            if (begin := self._begin(upload_id)) is not None:
                begin += line * width
                return str(self._kept[begin : begin + width], "ascii")
            blob = self._row(upload_id)
            blob.seek(line * (width + 1))
            return str(blob.read(width), "ascii")
        except (ValueError, IndexError):
            return ""

    def read_sent(self, coupon_id: int) -> str:
        """Return the code of a coupon. Raises StoreUnavailable: the coupon is not there."""
        return issue_batches.coupon(self._rows, coupon_id).coupon_code

    def read_many(self, upload_ids: NDArray[np.int64], lines: NDArray[np.int64], width: int | None) -> list[str]:
        """As `read`, for places with one width."""
        if width is None:
            places = zip(upload_ids.tolist(), lines.tolist(), strict=True)
            return [self.read(Place(upload_id, line, None)) for upload_id, line in places]
        known = np.where(upload_ids < len(self._kept_at), upload_ids, 0).clip(0)
        begins = np.frombuffer(self._kept_at, np.int64)[known]
        kept = begins != _NOT_KEPT
        texts = self._kept_texts((begins + lines * width)[kept], width)
        if len(texts) == len(upload_ids):
            return texts
        following = iter(texts)
        return [
            next(following) if there else self.read(Place(upload_id, line, width))
            for upload_id, line, there in zip(upload_ids.tolist(), lines.tolist(), kept.tolist(), strict=True)
        ]

    def _kept_texts(self, begins: NDArray[np.int64], width: int) -> list[str]:
        kept = np.frombuffer(self._kept, np.uint8)
        text = kept[begins[:, None] + np.arange(width)].tobytes().decode("ascii")
        return [text[begin : begin + width] for begin in range(0, len(text), width)]

    def settle(self) -> None:
        if self._blob is not None:
            self._blob.close()
            self._blob = None

    def forget(self) -> None:
        """After a rollback: what was read may never have been."""
        self.settle()
        self._codes.cache_clear()
        self._kept = array("B")
        self._kept_at = array("q", [_NOT_KEPT])
        """By upload, from 0, which is none: where its codes begin, or `_NOT_KEPT`."""

    def _begin(self, upload_id: int) -> int | None:
        """Where the codes of an upload begin in memory. None: they are not kept."""
        begin = self._kept_at[upload_id] if upload_id < len(self._kept_at) else _NOT_KEPT
        return None if begin == _NOT_KEPT else begin

    def _row(self, upload_id: int) -> apsw.Blob:
        if self._blob is None:
            self._blob = self._db.blob_open("main", "upload", "codes", upload_id, False)
        else:
            self._blob.reopen(upload_id)
        return self._blob

    def _read_codes(self, upload_id: int) -> list[str]:
        (upload,) = self._rows.read(UPLOAD, "upload_id = ?", upload_id)
        return upload.codes.split("\n")
