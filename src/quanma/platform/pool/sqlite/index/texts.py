"""The text of one code out of millions, without reading the other 199 of its upload.

Those of the first uploads are kept in memory, as many as there is room for: one B-tree's way to a page of the file,
for each draw another one, was a fifth of a draw's cost. The others are read from the file. Which of both it was,
the shelf knows whether the text is the one that was put there.
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
_FROM_THE_FILE = -1


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
            self._kept_at.extend([_FROM_THE_FILE] * (upload_id + 1 - len(self._kept_at)))
            self._kept_at[upload_id] = len(self._kept)
            self._kept.frombytes("".join(codes).encode())

    def read(self, place: Place) -> str:
        """Return what stands at a place of a shelf; nothing, where nothing can be read."""
        upload_id, line, width = place
        try:
            if not width or upload_id < 0:
                return self._codes(upload_id)[line]
            if (begin := self._begin(upload_id)) >= 0:
                begin += line * width
                return str(self._kept[begin : begin + width], "ascii")
            blob = self._row(upload_id)
            blob.seek(line * (width + 1))
            return str(blob.read(width), "ascii")
        except (ValueError, IndexError):
            return ""

    def read_many(self, upload_ids: NDArray[np.int64], lines: NDArray[np.int64], width: int) -> list[str]:
        """As `read`, for places with one width."""
        known = np.where(upload_ids < len(self._kept_at), upload_ids, 0).clip(0)
        begins = np.frombuffer(self._kept_at, np.int64)[known]
        kept = begins != _FROM_THE_FILE
        texts = self._kept_texts((begins + lines * width)[kept], width) if width else []
        if len(texts) == len(upload_ids):
            return texts
        following = iter(texts)
        places = zip(upload_ids.tolist(), lines.tolist(), kept.tolist(), strict=True)
        return [
            next(following) if there and width else self.read(Place(upload_id, line, width))
            for upload_id, line, there in places
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
        self._kept_at = array("q", [_FROM_THE_FILE])
        """By upload, from 0, which is none: where its codes begin, or `_FROM_THE_FILE`."""

    def _begin(self, upload_id: int) -> int:
        return self._kept_at[upload_id] if upload_id < len(self._kept_at) else _FROM_THE_FILE

    def _row(self, upload_id: int) -> apsw.Blob:
        if self._blob is None:
            self._blob = self._db.blob_open("main", "upload", "codes", upload_id, False)
        else:
            self._blob.reopen(upload_id)
        return self._blob

    def _read_codes(self, upload_id: int) -> list[str]:
        """The codes of an upload; of a negative one, the code of that coupon: see `CodeIndex.append_given`."""
        if upload_id < 0:
            return [issue_batches.coupon(self._rows, -upload_id).coupon_code]
        (upload,) = self._rows.read(UPLOAD, "upload_id = ?", upload_id)
        return upload.codes.split("\n")
