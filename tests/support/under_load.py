"""Uploads and draws while something happens to the platform, and the accounts that must be right afterwards."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from quanma import Wechatpay
from quanma.api.couponcodes import CouponCodes, ListCodes, UploadCodes
from quanma.api.coupons import Send, SendCoupon
from quanma.api.stocks import ShowStock, StockNode
from quanma.client import config
from quanma.client.exchange import Patience
from quanma.errors import NotEnough, NotSent, OutcomeUnknown, TryAgain
from tests.support.platform import APPID, Served, merchant_config

UPLOADERS, DRAWERS = 2, 2
CODES_PER_UPLOAD = 40


class Books:
    """What was asked and what was answered. A request without an answer may have taken effect or not."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.uploads: dict[str, tuple[UploadCodes, Any]] = {}
        self.draws: dict[str, tuple[SendCoupon, Any]] = {}
        self.unanswered: list[UploadCodes | SendCoupon] = []
        self.answers = 0


def client(serving: Served) -> Wechatpay:
    """One that asks once, and waits 10 seconds."""
    # One attempt a call: a retry of the client's own would hide what the kill did.
    merchant = config.load(merchant_config(serving.world), base_url=serving.url)
    return Wechatpay(merchant, patience=Patience(10, 10, 1))


def load_until(
    happens: Callable[[], None], serving: Served, stock_id: str, round_no: int, books: Books, chance: random.Random
) -> None:
    """Upload and draw until it happens: in even rounds at a random moment, in odd ones right after some answer."""
    killing, aimed_at = threading.Event(), chance.randrange(20, 120) if round_no % 2 else None
    answered = threading.Event()

    def work(thread: int, ask: Callable[[Wechatpay, str], None]) -> None:
        with client(serving) as wxpay:
            number = 0
            while not killing.is_set():
                number += 1
                ask(wxpay, f"r{round_no}t{thread}n{number}")
                with books.lock:
                    books.answers += 1
                    if aimed_at is not None and books.answers >= aimed_at:
                        answered.set()

    def upload(wxpay: Wechatpay, no: str) -> None:
        codes = [f"{no}c{line}" for line in range(CODES_PER_UPLOAD)]
        request = UploadCodes(stock_id=stock_id, coupon_code_list=codes, upload_request_no=no)
        try:
            books.uploads[no] = request, wxpay.send(CouponCodes.post, request).data
        except (OutcomeUnknown, NotSent, TryAgain):
            books.unanswered.append(request)
            killing.wait(5)

    def draw(wxpay: Wechatpay, no: str) -> None:
        request = SendCoupon(openid=f"o{no}", appid=APPID, stock_id=stock_id, out_request_no=no)
        try:
            books.draws[no] = request, wxpay.send(Send.post, request).data
        except NotEnough:
            pass  # No upload has come yet.
        except (OutcomeUnknown, NotSent, TryAgain):
            books.unanswered.append(request)
            killing.wait(5)

    asks = [upload] * UPLOADERS + [draw] * DRAWERS
    threads = [threading.Thread(target=work, args=(thread, ask)) for thread, ask in enumerate(asks)]
    for thread in threads:
        thread.start()
    if aimed_at is None:
        answered.wait(chance.uniform(0.05, 0.4))  # Never set: a random moment.
    else:
        assert answered.wait(30)
    happens()
    killing.set()
    for thread in threads:
        thread.join()


def same_answers(wxpay: Wechatpay, books: Books) -> None:
    """What was answered is answered again, word for word."""
    for upload, answer in books.uploads.values():
        assert wxpay.send(CouponCodes.post, upload).data == answer
    for draw, answer in books.draws.values():
        assert wxpay.send(Send.post, draw).data == answer


def settle(wxpay: Wechatpay, books: Books, everything: Books) -> None:
    """Ask the unanswered again, under their numbers: they end as if they had been asked once."""
    for request in books.unanswered:
        everything.unanswered.append(request)
        if isinstance(request, UploadCodes):
            answer = wxpay.send(CouponCodes.post, request).data
            assert answer.success_codes == request.coupon_code_list
            books.uploads[request.upload_request_no] = request, answer
        else:
            try:
                books.draws[request.out_request_no] = request, wxpay.send(Send.post, request).data
            except NotEnough:
                continue


def nothing_more_and_nothing_less(wxpay: Wechatpay, stock_id: str, everything: Books) -> None:
    """The stock holds what was uploaded, once; each draw has a code of its own; the platform's counts are the sums."""
    uploaded = [code for request, _ in everything.uploads.values() for code in request.coupon_code_list]
    given = {answer.send_coupon_result.coupon_code: request.openid for request, answer in everything.draws.values()}
    assert len(given) == len(everything.draws)
    listed: dict[str, str | None] = {}
    rows = 0
    while True:
        page = wxpay.send(CouponCodes.get, ListCodes(stock_id=stock_id, limit=1000, offset=rows)).data
        listed |= {code.code: code.openid for code in page.data}
        rows += page.limit
        if not page.data:
            break
    assert rows == len(listed) == page.total_count == len(uploaded)
    assert set(listed) == set(uploaded)
    assert {code: openid for code, openid in listed.items() if openid} == given
    stock = wxpay.send(StockNode.get, ShowStock(stock_id=stock_id)).data
    assert stock.coupon_code_count is not None
    assert stock.coupon_code_count.available_count == len(uploaded) - len(given)
    assert stock.send_count_information is not None
    assert stock.send_count_information.total_send_num == len(given)
