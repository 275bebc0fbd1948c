"""What all parts of the SQLite pool share: the connection, and the memory that is rebuilt from the file."""

from __future__ import annotations

import secrets
import time
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import apsw

from ....errors import PoolFenced, StoreUnavailable
from ....wire.sealed import nonce_floor
from ...chance import Chance
from ...coupons import responses, stocks
from ...coupons.coupon import CouponFacts
from ...coupons.repeats import Numbered
from ...coupons.stocks import Product, StockFacts
from ..contract import CallbackAddress, Retries
from . import issue_batches
from .generation import NOTHING_YET, CommitCounter
from .index.codes import UploadedCodeIndex
from .index.stocks import MerchantIndex
from .index.stocks import StockIndex as StockIndex
from .index.texts import Texts
from .issue_batches import Found
from .rows import (
    ABOUT,
    ANSWERED,
    BARRED,
    CALLBACK,
    CARD,
    DELETION,
    DOCUMENT,
    EVENT,
    NONCE,
    PAY_RECEIPT,
    RETURN_RECEIPT,
    STOCK,
    UPLOAD,
    AboutRow,
    AnsweredRow,
    DeletionRow,
    Rows,
    UploadRow,
    damaged,
)

_REBUILD_CODES = 100_000
_REBUILD_ROWS = 50_000
_CHANCE = Chance("nonces")

Answer = TypeVar("Answer")


class Store:
    """The file and the memory. Every method is called in the writer's turn."""

    def __init__(self, db: apsw.Connection, warmup_seconds: int, retries: Retries) -> None:
        self.db = db
        self.warmup_seconds = warmup_seconds
        self.retries = retries
        self.commits = CommitCounter()
        self.rows = Rows(db, self.commits)
        self.fenced: str | None = None
        """Why nothing is given out: see generation.py."""
        self.texts = Texts(self.rows, db)
        self.stocks: dict[str, StockIndex] = {}
        self.merchants: dict[str, MerchantIndex] = {}
        self.barred: dict[str, set[str]] = {}
        """By stock: codes that a lost history of this pool gave out."""
        self.of_product: dict[tuple[str, Product], list[StockIndex]] = {}
        """By creator and product: stocks of 商品券, in the order in which they were made."""
        self.callbacks: dict[tuple[str, str], CallbackAddress] = {}
        """By caller and merchant."""
        self.next_coupon_id = 1
        self.latest = NOTHING_YET
        """For the mark: see generation.py."""
        # By the clock: the file may be an older copy, whose counters were further once.
        self.nonce_floor = nonce_floor(0 if _CHANCE.is_foreseen else int(time.time()))
        self.rebuild()
        for table in (ABOUT, ANSWERED, CARD, PAY_RECEIPT, RETURN_RECEIPT, EVENT, NONCE, DOCUMENT):
            # Nothing of these is in memory. They are read to know that they are as they were written.
            for _ in self.rows.scan(table):
                pass

    def check_fence(self) -> None:
        """Before anything new is given out. Raises PoolFenced."""
        if self.fenced:
            raise PoolFenced(f"nothing is given out: {self.fenced}: run `quanma reconcile`")

    # Stocks and coupons

    def stock(self, mchid: str, stock_id: str, product: Product | None = None) -> StockIndex:
        """Return a stock of this creator. Raises ResourceNotExists: none, or another's."""
        stock = self._of(mchid, stock_id)
        if stock is None or stock.facts.mchid != mchid or stock.facts.product != product:
            raise responses.no_stock(stock_id)
        return stock

    def shared(self, mchid: str, stock_id: str) -> StockIndex:
        """Return a stock of this creator or owner."""
        stock = self._of(mchid, stock_id)
        if stock is None or stock.facts.product is not None:
            raise responses.no_stock(stock_id)
        return stock

    def _of(self, mchid: str, stock_id: str) -> StockIndex | None:
        """Return a merchant's stock. Another's is not even looked at."""
        merchant = self.merchants.get(mchid)
        return None if merchant is None else merchant.stocks.get(stock_id)

    def add_stock(self, facts: StockFacts) -> None:
        stock = self.stocks[facts.stock_id] = StockIndex(facts, self.texts)
        for mchid in dict.fromkeys(facts.merchants):
            self.merchants.setdefault(mchid, MerchantIndex()).add(stock)
        if facts.product is None:
            self.merchants[facts.mchid].made += 1
        else:
            self.of_product.setdefault((facts.mchid, facts.product), []).append(stock)

    def position(self, stock: StockIndex, coupon_code: str) -> int:
        position = stock.codes.find(coupon_code)
        if position is None:
            raise responses.no_code(stock.facts.stock_id, coupon_code)
        return position

    def coupon(self, coupon_id: int) -> CouponFacts:
        return issue_batches.coupon(self.rows, coupon_id)

    def coupons_of(self, stock: StockIndex, openid: str) -> list[CouponFacts]:
        """Return a user's coupons of one stock, the earliest first."""
        coupons = [self.coupon(coupon_id) for coupon_id in stock.users.of(openid)]
        return [coupon for coupon in coupons if coupon.openid == openid]

    def coupons_at(self, mchid: str, openid: str) -> list[CouponFacts]:
        """Return a user's coupons of a merchant's stocks, the latest first. No other merchant's are looked at."""
        merchant = self.merchants.get(mchid)
        coupons = [] if merchant is None else [self.coupon(coupon_id) for coupon_id in merchant.coupons_of(openid)]
        return [coupon for coupon in coupons if coupon.openid == openid]

    def coupon_of(self, stock: StockIndex, coupon_code: str) -> Found:
        """Return the coupon that carries a code. Raises ResourceNotExists: nobody was given it."""
        position = stock.codes.find(coupon_code)
        owner = None if position is None else stock.codes.owner(position)
        if owner is None:
            raise responses.no_coupon(stock.facts.stock_id, coupon_code)
        return issue_batches.find(self.rows, owner)

    def once(self, stock_id: str, asked: Numbered[Answer], work: Callable[[], Answer]) -> Answer:
        """Do something once under its number. Raises RequestRefused: the number was used with other fields."""
        where = "stock_id = ? AND operation = ? AND number = ?"
        for first in self.rows.read(ANSWERED, where, stock_id, asked.name, asked.number):
            return asked.again(first.request, first.answer)
        answer = work()
        self.rows.add(ANSWERED, AnsweredRow(stock_id, asked.name, asked.number, asked.request, asked.kept(answer)))
        return answer

    def probe(self) -> None:
        """Write some pages, to learn whether the disk has room. Random ones: SQLite skips what did not change."""
        row = AboutRow("room", secrets.token_hex(50_000))
        with self.db:
            for known in self.rows.read(ABOUT, "name = ?", row.name):
                self.rows.change(ABOUT, known, value=row.value)
                return
            self.rows.add(ABOUT, row)

    def gave(self, coupon: CouponFacts) -> None:
        """This is the last coupon now."""
        self.latest = self.latest._replace(coupon=coupon_seen(coupon))

    def took_in(self, upload: UploadRow, codes: int) -> None:
        """This is the last upload now, and so many codes are new."""
        self.latest = self.latest._replace(upload=upload_seen(upload), codes=self.latest.codes + codes)

    def deleted(self, deletion: DeletionRow) -> None:
        """This is the last deletion now."""
        self.latest = self.latest._replace(deletion=deletion)

    # The memory, from the file

    def rebuild(self) -> None:
        self.texts.forget()
        self.rows.forget()
        self.stocks.clear()
        self.merchants.clear()
        self.of_product.clear()
        self.latest = NOTHING_YET
        for row in self.rows.scan(STOCK):
            stock_id, mchid, _, request, created_at, product_coupon_id, brand_id = row[:-2]
            product = Product(product_coupon_id, brand_id) if product_coupon_id is not None else None
            self.add_stock(stocks.stock_facts(stock_id, mchid, stocks.stored_stock(request), created_at, product))
        for stocks_of_one in self.of_product.values():
            stocks_of_one.sort(key=lambda stock: (stock.facts.created_at, stock.facts.stock_id))
        self._rebuild_codes()
        self._rebuild_coupons()
        self.barred = {}
        for row in self.rows.scan(BARRED):
            self.barred.setdefault(row[0], set()).add(row[1])
        self.callbacks = {(row[0], row[1]): CallbackAddress(row[2], row[3]) for row in self.rows.scan(CALLBACK)}

    def _rebuild_coupons(self) -> None:
        """One pass over the coupons, in pieces: there is no index by stock, for it would cost each draw a page."""
        positions: dict[str, array[int]] = defaultdict(lambda: array("q"))
        coupon_ids: dict[str, array[int]] = defaultdict(lambda: array("I"))
        last = 0
        for piece in _pieces(issue_batches.scan(self.rows)):
            by_stock: dict[str, list[CouponFacts]] = defaultdict(list)
            for coupon in piece:
                by_stock[coupon.stock_id].append(coupon)
            for stock_id, coupons in by_stock.items():
                stock = self.stocks[stock_id]
                ids = [coupon.coupon_id for coupon in coupons]
                stock.restore([coupon.openid for coupon in coupons], ids, [coupon.sent_at for coupon in coupons])
                if isinstance(stock.codes, UploadedCodeIndex):
                    positions[stock_id].extend([coupon.position for coupon in coupons])
                    coupon_ids[stock_id].extend(ids)
                else:
                    for coupon in coupons:
                        stock.codes.add(coupon.coupon_id, coupon.coupon_code)
            last = piece[-1].coupon_id
            self.gave(piece[-1])
        self.next_coupon_id = last + 1
        gone: dict[str, list[int]] = defaultdict(list)
        deletion: tuple[Any, ...] = ()
        for deletion in self.rows.scan(DELETION):
            gone[deletion[1]].append(deletion[2])
        if deletion:
            self.deleted(DeletionRow(*deletion[:-2]))
        for merchant in self.merchants.values():
            merchant.rest.restored()
        for stock_id, stock in self.stocks.items():
            stock.users.restored()
            if isinstance(stock.codes, UploadedCodeIndex) and not stock.codes.restore(
                positions[stock_id], coupon_ids[stock_id], gone[stock_id]
            ):
                raise StoreUnavailable(
                    f"the store is damaged: in stock {stock_id} a code has two owners: restore a backup"
                )

    def _rebuild_codes(self) -> None:
        """In large pieces, each of one stock: one piece after another would cost a call for every upload."""
        uploads: dict[str, list[tuple[int, int]]] = {}
        texts: dict[str, list[str]] = {}
        ends: Counter[str] = Counter()
        gathered = 0

        def index_texts() -> None:
            for stock_id in uploads:
                codes = "\n".join(texts[stock_id]).split("\n")
                index = self.stocks[stock_id].codes
                if not isinstance(index, UploadedCodeIndex):
                    raise damaged(f"stock {stock_id} takes no uploads, and has one")
                index.append_many(uploads[stock_id], codes)
            uploads.clear()
            texts.clear()

        row: tuple[Any, ...] = ()
        for row in self.rows.scan(UPLOAD):
            upload_id, stock_id, _, first_position, code_count, codes = row[:6]
            if not code_count:
                continue
            if first_position != ends[stock_id] or codes.count("\n") + 1 != code_count:
                raise StoreUnavailable(
                    f"the store is damaged: upload {upload_id} is not where it was: restore a backup"
                )
            ends[stock_id] += code_count
            uploads.setdefault(stock_id, []).append((upload_id, code_count))
            texts.setdefault(stock_id, []).append(codes)
            gathered += code_count
            if gathered > _REBUILD_CODES:
                index_texts()
                gathered = 0
        index_texts()
        if row:
            self.took_in(UploadRow(*row[:-2]), sum(ends.values()))


def _pieces(rows: Iterable[CouponFacts]) -> Iterator[list[CouponFacts]]:
    iterator = iter(rows)
    while piece := list(islice(iterator, _REBUILD_ROWS)):
        yield piece


def coupon_seen(coupon: CouponFacts) -> tuple[object, ...]:
    """What a mark remembers of a coupon: what none of its later steps changes."""
    return (
        coupon.coupon_id,
        coupon.stock_id,
        coupon.coupon_code,
        coupon.openid,
        coupon.out_request_no,
        coupon.sent_at,
    )


def upload_seen(row: UploadRow) -> tuple[object, ...]:
    codes = zlib.crc32(row.codes.encode())
    return row.upload_id, row.stock_id, row.upload_request_no, row.first_position, codes, row.success_at


def codes_in(text: str) -> list[str]:
    return text.split("\n") if text else []
