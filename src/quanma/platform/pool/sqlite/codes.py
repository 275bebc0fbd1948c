"""Codes in the SQLite pool: upload, list, show, delete."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import msgspec
import numpy as np
from numpy.typing import NDArray

from ....api.couponcodes import (
    Code,
    CodeDetail,
    CodePage,
    DeleteCode,
    DeletedCode,
    ListCodes,
    ShowCode,
    UploadCodes,
    UploadedCodes,
)
from ....errors import QuanmaError, RequestRefused
from ....wire.times import rfc3339
from ...coupons import responses, uploads
from ...coupons.coupon import CouponFacts
from ...coupons.responses import Others
from ...coupons.stocks import Product
from ...coupons.uploads import SortedCodes
from .index.buckets import Hashes
from .rows import DELETION, UPLOAD, DeletionRow, UploadRow
from .store import StockIndex, Store, codes_in

Asked = tuple[str, str, Product | None, int]
"""What uploads have in common that may be done together: who asks, the stock, how it is addressed, and the time."""

TOGETHER_MAX = 32
"""So many share what is done once for all. More would gain nothing, and those that depend on others would cost more."""


def upload(store: Store, asked: Asked, requests: Sequence[UploadCodes]) -> list[UploadedCodes | QuanmaError]:
    """Take in the codes of the first requests, or return what these numbers did.

    Up to one with the number, or with a code, of one before it: it is decided by what that one did.
    """
    mchid, stock_id, product, now = asked
    stock = store.stock(mchid, stock_id, product)
    index = stock.codes
    sorted_codes = [uploads.sort_codes(request, stock.facts.code_rule) for request in requests[:TOGETHER_MAX]]
    offered = [code for codes in sorted_codes for code in codes.acceptable]
    hashes = index.hashes(offered)
    if (independent := _independent(requests, sorted_codes, hashes)) < len(sorted_codes):
        sorted_codes = sorted_codes[:independent]
        offered = [code for codes in sorted_codes for code in codes.acceptable]
        hashes = hashes[: len(offered)]
    known = _known(store, stock, offered, hashes)
    fresh = ~known
    outcomes: list[UploadedCodes | QuanmaError] = []
    rows: list[UploadRow] = []
    pieces: list[tuple[int, list[str]]] = []
    end, position = 0, index.uploaded
    before_all = position
    for request, codes in zip(requests, sorted_codes, strict=False):
        begin, end = end, end + len(codes.acceptable)
        try:
            if (first := _first_answer(store, request)) is not None:
                uploads.check_same_upload(first, codes)
                outcomes.append(first)
                fresh[begin:end] = False
                continue
            uploads.check_takes_uploads(stock.facts, now, store.warmup_seconds)
            exist, added = _divided(codes.acceptable, known[begin:end])
            before = position - index.uploaded
            uploads.check_room(stock.facts, index.total + before, len(added))
            index.check_room(before + len(added))
        except QuanmaError as refusal:
            outcomes.append(refusal)
            fresh[begin:end] = False
            continue
        others = Others(fail_codes=codes.failed, exist_codes=exist, duplicate_codes=codes.duplicates)
        row = UploadRow(
            store.rows.number(UPLOAD),
            stock_id,
            request.upload_request_no,
            position,
            len(added),
            "\n".join(added),
            msgspec.json.encode(others).decode() if others != Others() else None,
            now,
        )
        rows.append(row)
        if added:
            pieces.append((row.upload_id, added))
        position += len(added)
        outcomes.append(responses.uploaded(stock_id, added, others, now))
    store.rows.add_many(UPLOAD, rows)
    if pieces:
        stock.uploaded.append(pieces, hashes[fresh])
    if rows:
        store.took_in(rows[-1], position - before_all)
    return outcomes


def _independent(requests: Sequence[UploadCodes], sorted_codes: Sequence[SortedCodes], hashes: Hashes) -> int:
    """How many of the first ones bring no number and no code of one before them."""
    seen_numbers, seen = set[str](), set[str]()
    in_order = np.sort(hashes)
    if np.count_nonzero(in_order[1:] == in_order[:-1]):
        for count, codes in enumerate(sorted_codes):  # Perhaps. Two codes may share a hash.
            if not seen.isdisjoint(codes.acceptable):
                sorted_codes = sorted_codes[:count]
                break
            seen.update(codes.acceptable)
    for count, request in enumerate(requests[: len(sorted_codes)]):
        if request.upload_request_no in seen_numbers:
            return count
        seen_numbers.add(request.upload_request_no)
    return len(sorted_codes)


def _known(store: Store, stock: StockIndex, codes: list[str], hashes: Hashes) -> NDArray[np.bool_]:
    """Which codes the stock has, or gave out in a history that was lost."""
    known = stock.codes.known(codes, hashes)
    if barred := store.barred.get(stock.facts.stock_id):
        known |= [code in barred for code in codes]
    return known


def _divided(codes: list[str], known: NDArray[np.bool_]) -> tuple[list[str], list[str]]:
    """The known ones and the others, both in the order given."""
    if not known.any():
        return [], codes
    which: list[bool] = known.tolist()
    return list(compress(codes, which)), [code for code, there in zip(codes, which, strict=True) if not there]


def _first_answer(store: Store, request: UploadCodes) -> UploadedCodes | None:
    """The answer that this number was given, as it was given."""
    where = "stock_id = ? AND upload_request_no = ?"
    for first in store.rows.read(UPLOAD, where, request.stock_id, request.upload_request_no):
        others = msgspec.json.decode(first.others, type=Others) if first.others else Others()
        return responses.uploaded(request.stock_id, codes_in(first.codes), others, first.success_at)
    return None


def list_page(store: Store, mchid: str, request: ListCodes) -> CodePage:
    stock = store.stock(mchid, request.stock_id)
    given = None if request.status is None else request.status == "DISPATCHED"
    positions = stock.codes.page(request.offset, request.limit, given)
    data = responses.page_of(_code(store, stock, position) for position in positions)
    return CodePage(
        stock_id=request.stock_id,
        total_count=stock.codes.total,
        offset=request.offset,
        limit=len(data),
        data=data,
    )


def show(store: Store, mchid: str, request: ShowCode, now: int) -> CodeDetail:
    stock = store.stock(mchid, request.stock_id)
    position = store.position(stock, request.coupon_code)
    if (owner := stock.codes.owner(position)) is None:
        return CodeDetail(code_information=_code(store, stock, position))
    coupon = store.coupon(owner)
    return CodeDetail(
        code_information=_code(store, stock, position, coupon),
        coupon_information=responses.coupon(stock.facts, coupon, now),
    )


def delete(store: Store, mchid: str, request: DeleteCode, now: int) -> DeletedCode:
    stock = store.stock(mchid, request.stock_id)
    where = "stock_id = ? AND delete_request_no = ?"
    for first in store.rows.read(DELETION, where, request.stock_id, request.delete_request_no):
        if first.coupon_code != request.coupon_code:
            raise RequestRefused("same delete_request_no, different code: nothing was deleted, use a new number")
        return DeletedCode(stock_id=request.stock_id, delete_time=rfc3339(first.deleted_at))
    position = store.position(stock, request.coupon_code)
    if stock.codes.owner(position) is not None:
        raise responses.code_is_given(request.coupon_code)
    number, no = store.rows.number(DELETION), request.delete_request_no
    row = DeletionRow(number, request.stock_id, position, request.coupon_code, no, now)
    store.rows.add(DELETION, row)
    stock.uploaded.delete(position)
    store.deleted(row)
    return DeletedCode(stock_id=request.stock_id, delete_time=rfc3339(now))


def _code(store: Store, stock: StockIndex, position: int, coupon: CouponFacts | None = None) -> Code:
    owner = stock.codes.owner(position)
    if coupon is None and owner is not None:
        coupon = store.coupon(owner)
    uploaded_at = _uploaded_at(store, stock, position) if stock.facts.takes_uploads else None
    return responses.code(stock.codes.text(position), uploaded_at, coupon)


def _uploaded_at(store: Store, stock: StockIndex, position: int) -> int:
    upload_id = stock.uploaded.place(position).upload_id
    (upload,) = store.rows.read(UPLOAD, "upload_id = ?", upload_id)
    return upload.success_at
