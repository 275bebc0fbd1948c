"""Codes in the SQLite pool: upload, list, show, delete."""

from __future__ import annotations

import msgspec

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
from ....errors import RequestRefused
from ....wire.times import rfc3339
from ... import rules
from ...life import CouponFacts
from ...rules import Product
from .. import answers
from ..answers import Others
from ..shelf import FREE, Fresh
from .store import Held, Store, codes_in
from .tables import DELETION, UPLOAD, DeletionRow, UploadRow


def upload(store: Store, mchid: str, request: UploadCodes, now: int, product: Product | None) -> UploadedCodes:
    held = store.held(mchid, request.stock_id, product)
    sorted_codes = rules.sort_codes(request, held.facts.code_rule)
    if (first := _first_answer(store, request)) is not None:
        rules.check_same_upload(first, sorted_codes)
        return first
    rules.check_takes_uploads(held.facts, now, store.warmup_seconds)
    exist, fresh = _sort_out(store, held, sorted_codes.acceptable)
    added = fresh.codes
    rules.check_room(held.facts, held.shelf.total, len(added))
    held.shelf.check_room(len(added))
    others = Others(fail_codes=sorted_codes.failed, exist_codes=exist, duplicate_codes=sorted_codes.duplicates)
    row = UploadRow(
        store.rows.number(UPLOAD),
        request.stock_id,
        request.upload_request_no,
        held.shelf.uploaded,
        len(added),
        "\n".join(added),
        msgspec.json.encode(others).decode() if others != Others() else None,
        now,
    )
    store.rows.add(UPLOAD, row)
    held.shelf.append(row.upload_id, fresh)
    return answers.uploaded(request.stock_id, added, others, now)


def _sort_out(store: Store, held: Held, codes: list[str]) -> tuple[list[str], Fresh]:
    """Divide codes into those that the stock has, or gave out in a history that was lost, and fresh ones."""
    barred = store.barred.get(held.facts.stock_id)
    if not barred:
        return held.shelf.sort_out(codes)
    there, fresh = held.shelf.sort_out([code for code in codes if code not in barred])
    known = barred.union(there)
    return [code for code in codes if code in known], fresh


def _first_answer(store: Store, request: UploadCodes) -> UploadedCodes | None:
    """The answer that this number was given, as it was given."""
    where = "stock_id = ? AND upload_request_no = ?"
    for first in store.rows.read(UPLOAD, where, request.stock_id, request.upload_request_no):
        others = msgspec.json.decode(first.others, type=Others) if first.others else Others()
        return answers.uploaded(request.stock_id, codes_in(first.codes), others, first.success_at)
    return None


def list_page(store: Store, mchid: str, request: ListCodes) -> CodePage:
    held = store.held(mchid, request.stock_id)
    given = None if request.status is None else request.status == "DISPATCHED"
    data = [_code(store, held, position) for position in held.shelf.page(request.offset, request.limit, given)]
    return CodePage(
        stock_id=request.stock_id,
        total_count=held.shelf.total,
        offset=request.offset,
        limit=len(data),
        data=data,
    )


def show(store: Store, mchid: str, request: ShowCode, now: int) -> CodeDetail:
    held = store.held(mchid, request.stock_id)
    position = store.position(held, request.coupon_code)
    if held.shelf.fate(position) == FREE:
        return CodeDetail(code_information=_code(store, held, position))
    coupon = store.coupon(held.shelf.fate(position))
    return CodeDetail(
        code_information=_code(store, held, position, coupon),
        coupon_information=answers.coupon(held.facts, coupon, now),
    )


def delete(store: Store, mchid: str, request: DeleteCode, now: int) -> DeletedCode:
    held = store.held(mchid, request.stock_id)
    where = "stock_id = ? AND delete_request_no = ?"
    for first in store.rows.read(DELETION, where, request.stock_id, request.delete_request_no):
        if first.coupon_code != request.coupon_code:
            raise RequestRefused("same delete_request_no, different code: nothing was deleted, use a new number")
        return DeletedCode(stock_id=request.stock_id, delete_time=rfc3339(first.deleted_at))
    position = store.position(held, request.coupon_code)
    if held.shelf.fate(position) != FREE:
        raise answers.code_is_given(request.coupon_code)
    number, no = store.rows.number(DELETION), request.delete_request_no
    store.rows.add(DELETION, DeletionRow(number, request.stock_id, position, request.coupon_code, no, now))
    held.shelf.delete(position)
    return DeletedCode(stock_id=request.stock_id, delete_time=rfc3339(now))


def _code(store: Store, held: Held, position: int, coupon: CouponFacts | None = None) -> Code:
    fate = held.shelf.fate(position)
    if coupon is None and fate != FREE:
        coupon = store.coupon(fate)
    uploaded_at = _uploaded_at(store, held, position) if held.facts.takes_uploads else None
    return answers.code(held.shelf.text(position), uploaded_at, coupon)


def _uploaded_at(store: Store, held: Held, position: int) -> int:
    upload_id = held.shelf.place(position).upload_id
    (upload,) = store.rows.read(UPLOAD, "upload_id = ?", upload_id)
    return upload.success_at
