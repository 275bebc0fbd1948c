"""The code pool in one SQLite file, with an index in memory.

The file holds everything, in tables that are appended to; the memory holds, for each stock, which code is where and
which are free (`shelf`), and is rebuilt from the file at the start. So an upload writes one row, a draw one row, and
neither touches a page that depends on the code: the cost does not grow with the pool. Why: docs/pool.md.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np

from ...api.couponcodes import (
    Code,
    CodeDetail,
    CodePage,
    DeleteCode,
    DeletedCode,
    FailedCode,
    ListCodes,
    ShowCode,
    UploadCodes,
    UploadedCodes,
)
from ...api.coupons import (
    Coupon,
    SendCoupon,
    SendCouponResult,
    SentCoupon,
    ShowCoupon,
    UseCoupon,
    UsedCoupon,
)
from ...api.stocks import CouponCodeCount, CreatedStock, CreateStock, SendCountInformation, Stock
from ...errors import (
    ParamError,
    RequestRefused,
    ResourceAlreadyExists,
    ResourceNotExists,
    StoreUnavailable,
    masked,
)
from ...wire.times import beijing_day, rfc3339
from .. import rules
from ..rules import CouponFacts, Product, SentFacts, StockFacts
from . import ground
from .journal import Journal
from .shelf import DELETED, FREE, Shelf

UPLOADS_CACHED = 1024
_REBUILD_CODES = 100_000


class Others(msgspec.Struct, omit_defaults=True):
    """What an upload's answer says beside success: kept with the upload, for its repeats."""

    fail_codes: list[FailedCode] = []
    exist_codes: list[str] = []
    duplicate_codes: list[str] = []


class Held:
    """A stock in memory: its facts, its shelf, and how many coupons it gave out on each day in Beijing."""

    def __init__(self, facts: StockFacts, shelf: Shelf) -> None:
        self.facts = facts
        self.shelf = shelf
        self.sent = 0
        # Every day, not only the last: a clock that goes back over midnight must not open that day's limit anew.
        self._sent_on: Counter[int] = Counter()

    def count_sent(self, day: int, count: int) -> None:
        self.sent += count
        self._sent_on[day] += count

    def sent_today(self, now: int) -> int:
        return self._sent_on[beijing_day(now)]


class SqlitePool:
    """`CodePool` in the file at `path`, made if it is not there. One process at a time: a second one is refused.

    Raises:
        StoreUnavailable: the file is in use, damaged, of another version, or on ground that can't keep promises.
    """

    def __init__(self, path: Path, *, warmup_seconds: int = 0) -> None:
        self._warmup_seconds = warmup_seconds
        with contextlib.ExitStack() as opened:
            opened.enter_context(ground.lock(path))
            self._db = ground.connect(path)
            opened.callback(self._db.close)
            self._read_upload = functools.lru_cache(UPLOADS_CACHED)(self._upload_text)
            self._stocks: dict[str, Held] = {}
            self._next_coupon_id = 1
            self._rebuild()
            self._opened = opened.pop_all()
        self._journal = Journal(self._db, self._rebuild)

    def check(self) -> None:
        self._journal.check()

    async def close(self) -> None:
        await self._journal.close()
        self._opened.close()

    # What each method of the contract does, in the journal's turn.

    async def create_stock(self, mchid: str, request: CreateStock, now: int) -> CreatedStock:
        return await self._journal.do(lambda: self._create_stock(mchid, request, now))

    async def declare_stock(self, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int) -> None:
        await self._journal.do(lambda: self._declare_stock(mchid, stock_id, product, request, now))

    async def show_stock(self, mchid: str, stock_id: str, now: int, product: Product | None = None) -> Stock:
        return await self._journal.do(lambda: self._show_stock(mchid, stock_id, now, product))

    async def upload_codes(
        self, mchid: str, request: UploadCodes, now: int, product: Product | None = None
    ) -> UploadedCodes:
        return await self._journal.do(lambda: self._upload_codes(mchid, request, now, product))

    async def list_codes(self, mchid: str, request: ListCodes) -> CodePage:
        return await self._journal.do(lambda: self._list_codes(mchid, request))

    async def show_code(self, mchid: str, request: ShowCode, now: int) -> CodeDetail:
        return await self._journal.do(lambda: self._show_code(mchid, request, now))

    async def delete_code(self, mchid: str, request: DeleteCode, now: int) -> DeletedCode:
        return await self._journal.do(lambda: self._delete_code(mchid, request, now))

    async def send_coupon(self, mchid: str, request: SendCoupon, now: int) -> SentCoupon:
        return await self._journal.do(lambda: self._send_coupon(mchid, request, now))

    async def use_coupon(self, mchid: str, request: UseCoupon, now: int) -> UsedCoupon:
        return await self._journal.do(lambda: self._use_coupon(mchid, request, now))

    async def show_coupon(self, mchid: str, request: ShowCoupon, now: int) -> Coupon:
        return await self._journal.do(lambda: self._show_coupon(mchid, request, now))

    async def take_nonce(self, mchid: str) -> int:
        return await self._journal.do(lambda: self._take_nonce(mchid))

    # Stocks

    def _held(self, mchid: str, stock_id: str, product: Product | None = None) -> Held:
        held = self._stocks.get(stock_id)
        if held is None or held.facts.mchid != mchid or held.facts.product != product:
            raise ResourceNotExists(f"批次不存在: there is no stock {stock_id}")
        return held

    def _create_stock(self, mchid: str, request: CreateStock, now: int) -> CreatedStock:
        rules.check_new_stock(request)
        taken = "SELECT stock_id FROM stock WHERE mchid = ? AND out_request_no = ?"
        for (stock_id,) in self._db.execute(taken, (mchid, request.out_request_no)):
            raise ResourceAlreadyExists(f"批次已存在: out_request_no was used before, and made stock {stock_id}")
        stock_id = str(10**15 + secrets.randbelow(9 * 10**15))
        self._add_stock(stock_id, mchid, request, now, None)
        return CreatedStock(stock_id=stock_id, create_time=rfc3339(now))

    def _declare_stock(self, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int) -> None:
        if (held := self._stocks.get(stock_id)) is None:
            self._add_stock(stock_id, mchid, request, now, product)
        elif (held.facts.mchid, held.facts.product) != (mchid, product):
            raise RequestRefused(f"stock {stock_id} is there already, and another merchant's or product's")

    def _add_stock(self, stock_id: str, mchid: str, request: CreateStock, now: int, product: Product | None) -> None:
        text = msgspec.json.encode(request).decode()
        self._db.execute(
            "INSERT INTO stock VALUES (?, ?, ?, ?, ?, ?, ?)",
            (stock_id, mchid, request.out_request_no, text, now, *(product or (None, None))),
        )
        self._hold(rules.stock_facts(stock_id, mchid, request, now, product))

    def _hold(self, facts: StockFacts) -> None:
        self._stocks[facts.stock_id] = Held(facts, Shelf(self._read_upload))

    def _show_stock(self, mchid: str, stock_id: str, now: int, product: Product | None) -> Stock:
        held = self._held(mchid, stock_id, product)
        request, shelf = held.facts.request, held.shelf
        uploads = request.coupon_code_mode == rules.UPLOAD_MODE
        count = CouponCodeCount(total_count=shelf.total, available_count=shelf.available) if uploads else None
        shown = msgspec.structs.asdict(request)
        del shown["out_request_no"]
        return Stock(
            **shown,
            stock_id=stock_id,
            stock_state=held.facts.state(now),
            coupon_code_count=count,
            send_count_information=SendCountInformation(total_send_num=held.sent, today_send_num=held.sent_today(now)),
        )

    # Codes

    def _upload_codes(self, mchid: str, request: UploadCodes, now: int, product: Product | None) -> UploadedCodes:
        held = self._held(mchid, request.stock_id, product)
        sorted_codes = rules.sort_codes(request, held.facts.code_rule)
        if (first := self._first_answer(request)) is not None:
            rules.check_same_upload(first, sorted_codes)
            return first
        rules.check_takes_uploads(held.facts, now, self._warmup_seconds)
        exist = held.shelf.find_all(sorted_codes.acceptable)
        there = set(exist)
        added = [code for code in sorted_codes.acceptable if code not in there] if exist else sorted_codes.acceptable
        rules.check_room(held.facts, held.shelf.total, len(added))
        held.shelf.check_room(len(added))
        others = Others(fail_codes=sorted_codes.failed, exist_codes=exist, duplicate_codes=sorted_codes.duplicates)
        self._db.execute(
            "INSERT INTO upload (stock_id, upload_request_no, first_position, code_count, codes, others, success_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                request.stock_id,
                request.upload_request_no,
                held.shelf.uploaded,
                len(added),
                "\n".join(added),
                msgspec.json.encode(others).decode() if others != Others() else None,
                now,
            ),
        )
        held.shelf.append(self._db.last_insert_rowid(), added)
        return _uploaded(request.stock_id, added, others, now)

    def _first_answer(self, request: UploadCodes) -> UploadedCodes | None:
        """The answer that this number was given, as it was given."""
        row = self._db.execute(
            "SELECT codes, others, success_at FROM upload WHERE stock_id = ? AND upload_request_no = ?",
            (request.stock_id, request.upload_request_no),
        ).get
        if row is None:
            return None
        codes, others, success_at = row
        read = msgspec.json.decode(others, type=Others) if others else Others()
        return _uploaded(request.stock_id, _lines(codes), read, success_at)

    def _upload_text(self, upload_id: int) -> list[str]:
        return _lines(self._db.execute("SELECT codes FROM upload WHERE upload_id = ?", (upload_id,)).get)

    def _position(self, held: Held, coupon_code: str) -> int:
        position = held.shelf.find(coupon_code)
        if position is None:
            raise ResourceNotExists(f"券code不存在: stock {held.facts.stock_id} has no code {masked(coupon_code)}")
        return position

    def _list_codes(self, mchid: str, request: ListCodes) -> CodePage:
        held = self._held(mchid, request.stock_id)
        given = None if request.status is None else request.status == "DISPATCHED"
        positions = held.shelf.page(request.offset, request.limit, given)
        data = [self._code(held, position) for position in positions]
        return CodePage(
            stock_id=request.stock_id,
            total_count=held.shelf.total,
            offset=request.offset,
            limit=len(data),
            data=data,
        )

    def _code(self, held: Held, position: int, coupon: CouponFacts | None = None) -> Code:
        upload_id = held.shelf.place(position).upload_id
        uploaded_at = self._db.execute("SELECT success_at FROM upload WHERE upload_id = ?", (upload_id,)).get
        code = held.shelf.text(position)
        fate = held.shelf.fate(position)
        if fate == FREE:
            return Code(code=code, code_status="AVAILABLE", upload_time=rfc3339(uploaded_at))
        coupon = coupon or self._coupon(fate)
        return Code(
            code=code,
            code_status="DISPATCHED",
            upload_time=rfc3339(uploaded_at),
            dispatched_time=rfc3339(coupon.sent_at),
            openid=coupon.openid,
            coupon_code=coupon.coupon_code,
        )

    def _show_code(self, mchid: str, request: ShowCode, now: int) -> CodeDetail:
        held = self._held(mchid, request.stock_id)
        position = self._position(held, request.coupon_code)
        if held.shelf.fate(position) == FREE:
            return CodeDetail(code_information=self._code(held, position))
        coupon = self._coupon(held.shelf.fate(position))
        return CodeDetail(
            code_information=self._code(held, position, coupon),
            coupon_information=_shown(held.facts, coupon, now),
        )

    def _delete_code(self, mchid: str, request: DeleteCode, now: int) -> DeletedCode:
        held = self._held(mchid, request.stock_id)
        row = self._db.execute(
            "SELECT coupon_code, deleted_at FROM deletion WHERE stock_id = ? AND delete_request_no = ?",
            (request.stock_id, request.delete_request_no),
        ).get
        if row is not None:
            if row[0] != request.coupon_code:
                raise RequestRefused("same delete_request_no, different code: nothing was deleted, use a new number")
            return DeletedCode(stock_id=request.stock_id, delete_time=rfc3339(row[1]))
        position = self._position(held, request.coupon_code)
        if held.shelf.fate(position) != FREE:
            raise RequestRefused(
                f"券code已发放: code {masked(request.coupon_code)} is a user's coupon: deactivate that instead"
            )
        self._db.execute(
            "INSERT INTO deletion (stock_id, position, coupon_code, delete_request_no, deleted_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (request.stock_id, position, request.coupon_code, request.delete_request_no, now),
        )
        held.shelf.delete(position)
        return DeletedCode(stock_id=request.stock_id, delete_time=rfc3339(now))

    # Coupons

    def _send_coupon(self, mchid: str, request: SendCoupon, now: int) -> SentCoupon:
        held = self._held(mchid, request.stock_id)
        mine = self._coupons("stock_id = ? AND openid = ?", request.stock_id, request.openid)
        for coupon in mine:
            if coupon.out_request_no == request.out_request_no:
                rules.check_same_send(coupon, request)
                return _sent(coupon.stock_id, coupon.out_request_no, coupon.coupon_code)
        rules.check_sends(held.facts, request, now)
        rules.check_limits(held.facts, SentFacts(held.sent, held.sent_today(now), len(mine)))
        coupon_id = self._next_coupon_id
        if coupon_id >= DELETED:
            raise StoreUnavailable(f"a pool can give out {DELETED - 1} coupons in its life, of all its stocks")
        position = held.shelf.draw(coupon_id)
        if position is None:
            raise rules.pool_empty(held.facts)
        coupon_code = held.shelf.text(position)
        self._db.execute(
            "INSERT INTO coupon (coupon_id, stock_id, position, coupon_code, openid, appid, out_request_no, sent_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                coupon_id,
                request.stock_id,
                position,
                coupon_code,
                request.openid,
                request.appid,
                request.out_request_no,
                now,
            ),
        )
        self._next_coupon_id += 1
        held.count_sent(beijing_day(now), 1)
        return _sent(request.stock_id, request.out_request_no, coupon_code)

    def _use_coupon(self, mchid: str, request: UseCoupon, now: int) -> UsedCoupon:
        if request.stock_id is None:
            raise ParamError("stock_id is required: a merchant's own codes are unique within their stock only")
        held = self._held(mchid, request.stock_id)
        for other in self._coupons("stock_id = ? AND use_request_no = ?", request.stock_id, request.use_request_no):
            rules.check_same_use(other, request)
            return _used(other)
        fate = held.shelf.fate(self._position(held, request.coupon_code))
        if fate == FREE:
            raise ResourceNotExists(f"券不存在: code {masked(request.coupon_code)} was not given to a user yet")
        coupon = self._coupon(fate)
        if coupon.coupon_state == "USED":
            rules.check_same_use(coupon, request)
        rules.check_usable(held.facts, coupon, request, now)
        self._db.execute(
            # SENDED → USED. The row was SENDED a moment ago, and nothing came between.
            "UPDATE coupon SET coupon_state = 'USED', use_request_no = ?, use_appid = ?, use_openid = ?, use_time = ?,"
            " used_at = ? WHERE coupon_id = ? AND coupon_state = 'SENDED'",
            (request.use_request_no, request.appid, request.openid, request.use_time, now, coupon.coupon_id),
        )
        return _used(self._coupon(coupon.coupon_id))

    def _show_coupon(self, mchid: str, request: ShowCoupon, now: int) -> Coupon:
        found: list[tuple[CouponFacts, StockFacts]] = []
        for held in self._stocks.values():
            if held.facts.mchid != mchid or (position := held.shelf.find(request.coupon_code)) is None:
                continue
            if held.shelf.fate(position) != FREE:
                found.append((self._coupon(held.shelf.fate(position)), held.facts))
        mine = [(coupon, facts) for coupon, facts in found if coupon.openid == request.openid]
        if not mine:
            raise ResourceNotExists(f"券不存在: this user has no coupon {masked(request.coupon_code)}")
        coupon, facts = max(mine, key=lambda one: one[0].coupon_id)
        return _shown(facts, coupon, now)

    def _coupons(self, where: str, *values: object) -> list[CouponFacts]:
        fields = ", ".join(CouponFacts._fields)
        return [CouponFacts(*row) for row in self._db.execute(f"SELECT {fields} FROM coupon WHERE {where}", values)]

    def _coupon(self, coupon_id: int) -> CouponFacts:
        (coupon,) = self._coupons("coupon_id = ?", coupon_id)
        return coupon

    def _take_nonce(self, mchid: str) -> int:
        row = self._db.execute(
            "INSERT INTO nonce VALUES (?, 1) ON CONFLICT DO UPDATE SET next = next + 1 RETURNING next - 1",
            (mchid,),
        ).get
        return int(row)

    # The memory, from the file

    def _rebuild(self) -> None:
        self._read_upload.cache_clear()
        self._stocks.clear()
        fields = "stock_id, mchid, request, created_at, product_coupon_id, brand_id"
        for stock_id, mchid, request, created_at, product_coupon_id, brand_id in self._rows(
            f"SELECT {fields} FROM stock"
        ):
            product = Product(product_coupon_id, brand_id) if product_coupon_id is not None else None
            read = msgspec.json.decode(request, type=CreateStock)
            self._hold(rules.stock_facts(stock_id, mchid, read, created_at, product))
        self._rebuild_codes()
        for stock_id, held in self._stocks.items():
            given = self._array("SELECT position, coupon_id FROM coupon WHERE stock_id = ?", stock_id, columns=2)
            deleted = self._array("SELECT position FROM deletion WHERE stock_id = ?", stock_id, columns=1)
            if not held.shelf.restore(given[:, 0], given[:, 1], deleted[:, 0]):
                raise StoreUnavailable(
                    f"the store is damaged: in stock {stock_id} a code has two fates: restore a backup"
                )
        by_day = "SELECT stock_id, (sent_at + 28800) / 86400 AS day, count(*) FROM coupon GROUP BY 1, 2"
        for stock_id, day, count in self._rows(by_day):
            self._stocks[stock_id].count_sent(day, count)
        self._next_coupon_id = 1 + (self._db.execute("SELECT max(coupon_id) FROM coupon").get or 0)

    def _rebuild_codes(self) -> None:
        """In large pieces, each of one stock: one piece after another would cost a call for every upload."""
        uploads: dict[str, list[tuple[int, int]]] = {}
        texts: dict[str, list[str]] = {}
        gathered = 0

        def shelve() -> None:
            for stock_id in uploads:
                codes = "\n".join(texts[stock_id]).split("\n")
                self._stocks[stock_id].shelf.append_many(uploads[stock_id], codes)
            uploads.clear()
            texts.clear()

        fields = "upload_id, stock_id, first_position, code_count, codes"
        rows = f"SELECT {fields} FROM upload WHERE code_count > 0 ORDER BY upload_id"
        for upload_id, stock_id, first_position, code_count, codes in self._rows(rows):
            expected = self._stocks[stock_id].shelf.uploaded + sum(count for _, count in uploads.get(stock_id, ()))
            if first_position != expected or codes.count("\n") + 1 != code_count:
                raise StoreUnavailable(
                    f"the store is damaged: upload {upload_id} is not where it was: restore a backup"
                )
            uploads.setdefault(stock_id, []).append((upload_id, code_count))
            texts.setdefault(stock_id, []).append(codes)
            gathered += code_count
            if gathered > _REBUILD_CODES:
                shelve()
                gathered = 0
        shelve()

    def _rows(self, statement: str) -> apsw.Cursor:
        return self._db.execute(statement)

    def _array(self, statement: str, stock_id: str, *, columns: int) -> Any:
        flat = [value for row in self._db.execute(statement, (stock_id,)) for value in row]
        return np.array(flat, np.int64).reshape(-1, columns)


def _lines(codes: str) -> list[str]:
    return codes.split("\n") if codes else []


def _uploaded(stock_id: str, added: Sequence[str], others: Others, success_at: int) -> UploadedCodes:
    return UploadedCodes(
        stock_id=stock_id,
        total_count=len(added) + len(others.fail_codes) + len(others.exist_codes),
        success_count=len(added),
        success_codes=list(added),
        success_time=rfc3339(success_at),
        fail_count=len(others.fail_codes),
        fail_codes=others.fail_codes,
        exist_codes=others.exist_codes,
        duplicate_codes=others.duplicate_codes,
    )


def _sent(stock_id: str, out_request_no: str, coupon_code: str) -> SentCoupon:
    result = SendCouponResult(stock_id=stock_id, out_request_no=out_request_no, coupon_code=coupon_code)
    return SentCoupon(send_coupon_result=result)


def _used(coupon: CouponFacts) -> UsedCoupon:
    assert coupon.used_at is not None
    return UsedCoupon(stock_id=coupon.stock_id, openid=coupon.openid, wechatpay_use_time=rfc3339(coupon.used_at))


def _shown(stock: StockFacts, coupon: CouponFacts, now: int) -> Coupon:
    request = stock.request
    starts_at, ends_at = rules.validity(stock, coupon.sent_at)
    return Coupon(
        belong_merchant=request.belong_merchant,
        stock_name=request.stock_name,
        comment=request.comment,
        goods_name=request.goods_name,
        stock_type=request.stock_type,
        coupon_state=rules.coupon_state(stock, coupon, now),
        display_pattern_info=request.display_pattern_info,
        coupon_use_rule=request.coupon_use_rule,
        custom_entrance=request.custom_entrance,
        coupon_code=coupon.coupon_code,
        stock_id=coupon.stock_id,
        available_start_time=rfc3339(starts_at),
        expire_time=rfc3339(ends_at),
        receive_time=rfc3339(coupon.sent_at),
        send_request_no=coupon.out_request_no,
        use_request_no=coupon.use_request_no,
        use_time=coupon.use_time,
    )
