"""Codes in the PostgreSQL pool: upload, list, show, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from ....api.couponcodes import (
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
from .blocks import BLOCK, NUMBER_BYTES, NUMBER_MAX, first_of
from .connections import Connection
from .queries import query
from .rows import coupon_of
from .stock_queue import Asked, singly
from .stock_transaction import COUNTERS, StockCounters, StockTransaction, check_creator, stock_of

_UPLOADS, _ADD_UPLOADS = query("uploads_under"), query("add_uploads")
_TAKEN, _STORE = query("taken_codes"), query("store")
_ADD_PIECES, _ADD_CODES = query("add_pieces"), query("add_codes")
_FORGET_EXTENTS, _ADD_EXTENT = query("forget_extents"), query("add_extent")
_CLEAR_SLOTS = query("clear_slots")
_DELETED_BEFORE, _DELETED_AMONG = query("deleted_before"), query("deleted_among")
_PIECE_AT, _PIECES_FROM = query("piece_at"), query("pieces_from")
_AT, _CODE_AND_COUPON = query("coupons_at"), query("code_and_coupon")
_DELETION, _TO_DELETE, _DELETE = query("deletion_under"), query("code_to_delete"), query("delete_code")


class Upload(NamedTuple):
    """What is asked, how long a new stock takes no uploads, and the product that it is addressed by."""

    request: UploadCodes
    product: Product | None
    warmup_seconds: int


async def upload(transaction: StockTransaction, asks: Sequence[Asked[Upload]]) -> list[UploadedCodes | QuanmaError]:
    """Take in the codes of many requests: those of one that come in another's too are the first one's."""
    sorted_codes = [uploads.sort_codes(ask.request.request, transaction.facts.code_rule) for ask in asks]
    known = await _first_answers(transaction, [ask.request.request.upload_request_no for ask in asks])
    there = await taken_among(transaction, {code for one in sorted_codes for code in one.acceptable})
    added: list[tuple[int, str]] = []
    rows: list[tuple[str, int, list[str], str | None, int]] = []
    outcomes: list[UploadedCodes | QuanmaError] = []
    position = transaction.counters.uploaded
    for ask, codes in zip(asks, sorted_codes, strict=True):
        try:
            number = ask.request.request.upload_request_no
            check_creator(transaction.facts, ask.mchid, ask.request.product)
            if (first := known.get(number)) is not None:
                uploads.check_same_upload(first, codes)
                outcomes.append(first)
                continue
            fresh, others = _sort_out(transaction, ask, codes, there, len(added))
        except QuanmaError as refusal:
            outcomes.append(refusal)
            continue
        there.update(fresh)
        added += [(position + line, code) for line, code in enumerate(fresh)]
        told = msgspec.json.encode(others).decode() if others != Others() else None
        rows.append((number, position, fresh, told, ask.now))
        position += len(fresh)
        known[number] = responses.uploaded(transaction.stock_id, fresh, others, ask.now)
        outcomes.append(known[number])
    if rows:
        await _write(transaction, added, rows)
    return outcomes


async def _first_answers(transaction: StockTransaction, numbers: Sequence[str]) -> dict[str, UploadedCodes]:
    """The answers that these numbers were given, as they were given."""
    rows = await transaction.connection.fetch(
        _UPLOADS,
        transaction.stock_no,
        numbers,
    )
    return {
        number: responses.uploaded(
            transaction.stock_id,
            codes.split("\n") if codes else [],
            msgspec.json.decode(others, type=Others) if others else Others(),
            success_at,
        )
        for number, others, success_at, codes in rows
    }


async def taken_among(transaction: StockTransaction, codes: set[str]) -> set[str]:
    """Which of these codes the stock has, or gave out in a history that was lost."""
    if not codes:
        return set()
    rows = await transaction.connection.fetch(
        _TAKEN,
        transaction.stock_no,
        list(codes),
    )
    return {code for (code,) in rows}


def _sort_out(
    transaction: StockTransaction, ask: Asked[Upload], codes: SortedCodes, there: set[str], others_added: int
) -> tuple[list[str], Others]:
    """Divide a request's codes. Raises RequestRefused: the stock takes none, or not so many."""
    uploads.check_takes_uploads(transaction.facts, ask.now, ask.request.warmup_seconds)
    fresh = [code for code in codes.acceptable if code not in there]
    check_positions(transaction.stock_id, transaction.counters.uploaded + others_added + len(fresh))
    uploads.check_room(transaction.facts, transaction.counters.total + others_added, len(fresh))
    exist = [code for code in codes.acceptable if code in there]
    return fresh, Others(fail_codes=codes.failed, exist_codes=exist, duplicate_codes=codes.duplicates)


async def _write(
    transaction: StockTransaction,
    added: Sequence[tuple[int, str]],
    rows: Sequence[tuple[str, int, list[str], str | None, int]],
) -> None:
    if added:
        await _add_slots(transaction, len(added))
        await add_codes(transaction, added, [(first, fresh, now) for _, first, fresh, _, now in rows if fresh])
    await transaction.connection.execute(
        _ADD_UPLOADS,
        transaction.stock_no,
        *columns([(number, first, len(fresh), told, now) for number, first, fresh, told, now in rows], 5),
        transaction.word,
    )
    transaction.wrote("upload", rows[-1][0])


async def add_codes(
    transaction: StockTransaction, added: Sequence[tuple[int, str]], runs: Sequence[tuple[int, list[str], int | None]]
) -> None:
    """Write codes, each with its position, and the same codes in runs: where one begins, its codes, their time."""
    pieces = columns([piece for first, codes, at in runs for piece in cut(first, codes, at)], 3)
    where = [code for _, code in added], [position for position, _ in added]
    if transaction.many_nodes:  # As where coupons are written.
        await transaction.connection.execute(_ADD_PIECES, transaction.stock_no, *pieces)
        await transaction.connection.execute(_ADD_CODES, transaction.stock_no, *where)
    else:
        await transaction.connection.execute(_STORE, transaction.stock_no, *pieces, *where)


PIECE = 64
"""How many codes a row of `piece` has at most: so many rows fill a page, and few are read past to find one."""


def cut(first: int, codes: Sequence[str], at: int | None) -> Iterator[tuple[int, str, int | None]]:
    """A run of codes in pieces: where one begins, its codes, their time."""
    for begin in range(0, len(codes), PIECE):
        yield first + begin, "\n".join(codes[begin : begin + PIECE]), at


def check_positions(stock_id: str, uploaded: int) -> None:
    """Raises RequestRefused: a position has four bytes, and the stock had so many codes that they do not hold it."""
    if uploaded > NUMBER_MAX:
        raise RequestRefused(
            f"上传的自定义code已达上限: stock {stock_id} had {NUMBER_MAX} codes, deleted ones too: create a new stock"
        )


async def _add_slots(transaction: StockTransaction, count: int) -> None:
    """Put the next positions behind the last slot: in the last extent, if nothing was drawn since it was begun."""
    counters = transaction.counters
    shift = counters.uploaded - counters.free
    if shift != counters.shift:
        await transaction.connection.execute(_FORGET_EXTENTS, transaction.stock_no, counters.free)
        await transaction.connection.execute(_ADD_EXTENT, transaction.stock_no, counters.free, shift)
        if kept := counters.free % BLOCK:  # What was moved into slots behind, before they were gone.
            first = first_of(counters.free)
            await transaction.connection.execute(_CLEAR_SLOTS, transaction.stock_no, first, kept * NUMBER_BYTES)
        counters.shift = shift
    counters.uploaded += count
    counters.free += count


def columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as `unnest` takes them."""
    return [[row[column] for row in rows] for column in range(width)]


async def list_page(connection: Connection, mchid: str, request: ListCodes) -> CodePage:
    stock_no, facts = await stock_of(connection, request.stock_id)
    check_creator(facts, mchid)
    counters = StockCounters(*await connection.fetchrow(COUNTERS, stock_no))
    if request.status is None:
        found = await _page(connection, stock_no, request, counters.uploaded)
    else:
        found = await _page_by_status(connection, stock_no, request)
    data = responses.page_of(responses.code(*one) for one in found)
    return CodePage(
        stock_id=request.stock_id,
        total_count=counters.total,
        offset=request.offset,
        limit=len(data),
        data=data,
    )


Listed = tuple[str, int | None, CouponFacts | None]
"""A code, when it was uploaded, and who carries it."""


async def _page(connection: Connection, stock_no: int, request: ListCodes, uploaded: int) -> list[Listed]:
    if request.offset >= uploaded:
        return []
    # Where the page begins: as many positions further on as codes before it were deleted.
    begin = request.offset + await connection.fetchval(
        _DELETED_BEFORE,
        stock_no,
        request.offset,
    )
    found: list[Listed] = []
    async for part in _in_order(connection, request.stock_id, stock_no, begin):
        found += part
        if len(found) >= request.limit:
            break
    return found[: request.limit]


async def _page_by_status(connection: Connection, stock_no: int, request: ListCodes) -> list[Listed]:
    given = request.status == "DISPATCHED"
    found: list[Listed] = []
    async for part in _in_order(connection, request.stock_id, stock_no, 0):
        found += [one for one in part if (one[2] is not None) is given]
        if len(found) >= request.offset + request.limit:
            break
    return found[request.offset : request.offset + request.limit]


_PIECES_AT_ONCE = 24


async def _in_order(connection: Connection, stock_id: str, stock_no: int, begin: int) -> AsyncIterator[list[Listed]]:
    """The codes that are there from a position on, in upload order, some pieces at a time."""
    first = await connection.fetchval(_PIECE_AT, stock_no, begin)
    while pieces := await connection.fetch(
        _PIECES_FROM,
        stock_no,
        first or 0,
        _PIECES_AT_ONCE,
    ):
        lines = [
            (position, code, success_at)
            for first_position, codes, success_at in pieces
            for position, code in enumerate(codes.split("\n"), first_position)
        ]
        first = lines[-1][0] + 1
        lines = [line for line in lines if line[0] >= begin]
        positions = [position for position, _, _ in lines]
        gone = await deleted_among(connection, stock_no, positions)
        rows = await connection.fetch(_AT, stock_no, positions)
        carriers = {row["position"]: coupon_of(stock_id, row) for row in rows}
        yield [
            (code, success_at, carriers.get(position)) for position, code, success_at in lines if position not in gone
        ]


async def deleted_among(connection: Connection, stock_no: int, positions: Sequence[int]) -> set[int]:
    """Which of these positions hold deleted codes."""
    rows = await connection.fetch(
        _DELETED_AMONG,
        stock_no,
        positions,
    )
    return {position for (position,) in rows}


async def show(connection: Connection, mchid: str, request: ShowCode, now: int) -> CodeDetail:
    stock_no, facts = await stock_of(connection, request.stock_id)
    check_creator(facts, mchid)
    row = await connection.fetchrow(
        _CODE_AND_COUPON,
        stock_no,
        request.coupon_code,
    )
    if row is None:
        raise responses.no_code(request.stock_id, request.coupon_code)
    coupon = None if row["coupon_id"] is None else coupon_of(request.stock_id, row)
    return CodeDetail(
        code_information=responses.code(request.coupon_code, row[0], coupon),
        coupon_information=None if coupon is None else responses.coupon(facts, coupon, now),
    )


async def delete(transaction: StockTransaction, asked: Asked[DeleteCode]) -> DeletedCode:
    mchid, request, now = asked
    check_creator(transaction.facts, mchid)
    known = await transaction.connection.fetchrow(
        _DELETION,
        transaction.stock_no,
        request.delete_request_no,
    )
    if known is not None:
        coupon_code, deleted_at = known
        if coupon_code != request.coupon_code:
            raise RequestRefused("same delete_request_no, different code: nothing was deleted, use a new number")
        return DeletedCode(stock_id=transaction.stock_id, delete_time=rfc3339(deleted_at))
    found = await transaction.connection.fetchrow(
        _TO_DELETE,
        transaction.stock_no,
        request.coupon_code,
    )
    if found is None:
        raise responses.no_code(transaction.stock_id, request.coupon_code)
    position, given = found
    if given:
        raise responses.code_is_given(request.coupon_code)
    await transaction.connection.execute(
        _DELETE,
        transaction.stock_no,
        request.delete_request_no,
        position,
        request.coupon_code,
        now,
        transaction.word,
    )
    transaction.wrote("deletion", request.delete_request_no)
    # Its slot stays among the free ones: the draw that meets it throws it out, and draws again.
    transaction.counters.deleted += 1
    transaction.counters.stale += 1
    return DeletedCode(stock_id=transaction.stock_id, delete_time=rfc3339(now))


DELETE = singly(delete)
