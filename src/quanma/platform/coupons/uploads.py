"""What the platform decides about uploads of codes: which are taken, and when. Pure."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ...api.couponcodes import FailedCode, UploadCodes, UploadedCodes
from ...api.rules import CodeRule
from ...errors import RequestRefused, StockNotReady
from ...wire.times import rfc3339
from .stocks import UPLOAD_MODES, StockFacts


class SortedCodes(NamedTuple):
    """An upload's list, taken apart: each distinct code is acceptable or failed."""

    acceptable: list[str]
    failed: list[FailedCode]
    duplicates: list[str]

    @property
    def distinct(self) -> set[str]:
        return {*self.acceptable, *(failed.coupon_code for failed in self.failed)}


def sort_codes(request: UploadCodes, rule: CodeRule) -> SortedCodes:
    codes = request.coupon_code_list
    distinct, duplicates = codes, list[str]()
    if len(set(codes)) < len(codes):
        distinct = list(dict.fromkeys(codes))
        times = Counter(codes)
        duplicates = [code for code in distinct if times[code] > 1]
    if rule.takes_all(distinct):
        return SortedCodes(distinct, [], duplicates)
    failed = [
        FailedCode(coupon_code=code, code=why[0], message=why[1])
        for code in distinct
        if (why := rule.why_refused(code))
    ]
    refused = {one.coupon_code for one in failed}
    return SortedCodes([code for code in distinct if code not in refused], failed, duplicates)


def check_takes_uploads(stock: StockFacts, now: int, warmup_seconds: int) -> None:
    """Raises RequestRefused: the stock's mode or state takes no uploads. StockNotReady: it is too new."""
    if not stock.takes_uploads:
        taking = UPLOAD_MODES[stock.product is not None]
        raise RequestRefused(
            f"发券模式不合法: stock {stock.stock_id} has coupon_code_mode {stock.code_mode}, and only {taking} takes "
            "codes; the mode can't be changed, create a new stock"
        )
    if (state := stock.state(now)) in ("STOPED", "STOPPED"):
        raise RequestRefused(f"批次已停止: stock {stock.stock_id} ended at {rfc3339(stock.ends_at)}")
    if state == "DEACTIVATED":
        raise RequestRefused(f"批次已失效: stock {stock.stock_id} was deactivated")
    if now < stock.created_at + warmup_seconds:
        raise StockNotReady("批次创建处理中,请稍晚进行上传code操作")


def check_room(stock: StockFacts, total: int, added: int) -> None:
    """Raises RequestRefused: more codes than max_coupons.

    Source: 商品券 keeps what is more than its budget, for a later, higher one (documented).
    """
    if (
        stock.product is None and added and total + added > stock.max_coupons
    ):  # The budget may be below what is there already.
        raise RequestRefused(
            f"上传的自定义code已达上限: stock {stock.stock_id} holds {total} codes and takes {stock.max_coupons}, "
            f"this request brings {added} more"
        )


def check_same_upload(answer: UploadedCodes, sorted_codes: SortedCodes) -> None:
    """Raises RequestRefused: the number was used with other codes. The lists are compared as sets."""
    first = {
        *answer.success_codes,
        *answer.exist_codes,
        *(failed.coupon_code for failed in answer.fail_codes),
    }
    if first != sorted_codes.distinct:
        raise RequestRefused("same upload_request_no, different codes: nothing was stored, use a new number")
