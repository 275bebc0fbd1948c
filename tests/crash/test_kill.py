"""kill -9 of `quanma serve` under load: what was acknowledged is there, nothing is doubled, numbers keep answers.

Half of the kills are blind, half come right after an answer, when what it acknowledged is youngest.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable
from typing import Any

import pytest

from quanma import Wechatpay
from quanma.api.couponcodes import CouponCodes, ListCodes, UploadCodes
from quanma.api.coupons import Send, SendCoupon
from quanma.api.stocks import ShowStock, StockNode
from quanma.client import config
from quanma.client.exchange import Patience
from quanma.errors import NotEnough, NotSent, OutcomeUnknown, PlatformFailed
from tests.support.platform import APPID, Served, create_stock, merchant_config

ROUNDS = 20
UPLOADERS, DRAWERS = 2, 2
CODES_PER_UPLOAD = 40

pytestmark = [pytest.mark.both_back_ends, pytest.mark.slow, pytest.mark.timeout(180)]


class Books:
    """What was asked and what was answered. A request without an answer may have taken effect or not."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.uploads: dict[str, tuple[UploadCodes, Any]] = {}
        self.draws: dict[str, tuple[SendCoupon, Any]] = {}
        self.unanswered: list[UploadCodes | SendCoupon] = []
        self.answers = 0


def test_twenty_kills_lose_nothing_acknowledged_and_double_nothing(serving: Served) -> None:
    seed = secrets.randbelow(10**9)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with _client(serving) as wxpay:
        stock_id = create_stock(wxpay, "c1")
    everything = Books()
    for round_no in range(ROUNDS):
        books = Books()
        _load_and_kill(serving, stock_id, round_no, books, chance)
        serving.start()  # No hand in between, and a second one may not be needed.
        with _client(serving) as wxpay:
            _same_answers(wxpay, books)
            _settle(wxpay, books, everything)
        everything.uploads |= books.uploads
        everything.draws |= books.draws
    with _client(serving) as wxpay:
        _nothing_more_and_nothing_less(wxpay, stock_id, everything)
    # Too little evidence is no pass.
    assert len(everything.unanswered) >= ROUNDS
    assert len(everything.uploads) >= 5 * ROUNDS
    assert len(everything.draws) >= 5 * ROUNDS
    assert serving.stop() == 0


def _client(serving: Served) -> Wechatpay:
    # One attempt a call: a retry of the client's own would hide what the kill did.
    merchant = config.load(merchant_config(serving.world), base_url=serving.url)
    return Wechatpay(merchant, patience=Patience(10, 10, 1))


def _load_and_kill(serving: Served, stock_id: str, round_no: int, books: Books, chance: random.Random) -> None:
    killing, aimed_at = threading.Event(), chance.randrange(20, 120) if round_no % 2 else None
    answered = threading.Event()

    def work(thread: int, ask: Callable[[Wechatpay, str], None]) -> None:
        with _client(serving) as wxpay:
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
        except (OutcomeUnknown, NotSent, PlatformFailed):
            books.unanswered.append(request)
            killing.wait(5)

    def draw(wxpay: Wechatpay, no: str) -> None:
        request = SendCoupon(openid=f"o{no}", appid=APPID, stock_id=stock_id, out_request_no=no)
        try:
            books.draws[no] = request, wxpay.send(Send.post, request).data
        except NotEnough:
            pass  # No upload has come yet.
        except (OutcomeUnknown, NotSent, PlatformFailed):
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
    serving.kill()
    killing.set()
    for thread in threads:
        thread.join()


def _same_answers(wxpay: Wechatpay, books: Books) -> None:
    for upload, answer in books.uploads.values():
        assert wxpay.send(CouponCodes.post, upload).data == answer
    for draw, answer in books.draws.values():
        assert wxpay.send(Send.post, draw).data == answer


def _settle(wxpay: Wechatpay, books: Books, everything: Books) -> None:
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


def _nothing_more_and_nothing_less(wxpay: Wechatpay, stock_id: str, everything: Books) -> None:
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
