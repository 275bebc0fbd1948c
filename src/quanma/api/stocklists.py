"""The stocks of a merchant. Ours: WeChat Pay lists them on its web pages, and has no such call (documented)."""

from __future__ import annotations

from .fields import PageLimit, PageOffset
from .operation import C, F, Node, Operation
from .record import Record


class ListStocks(Record, frozen=True, kw_only=True):
    offset: PageOffset = 0
    limit: PageLimit = 20


class ListedStock(Record, frozen=True, kw_only=True):
    """A stock in the list. How many codes it holds, its own page says."""

    stock_id: str
    stock_name: str
    stock_type: str
    coupon_code_mode: str
    stock_state: str
    create_time: str
    available_end_time: str


class ListedStocks(Record, frozen=True, kw_only=True):
    data: list[ListedStock] = []


class OwnStocks(Node[C, F]):
    path = "/v3/quanma/stocks"

    get = Operation(ListStocks, ListedStocks, summary="查询批次列表")
    """查询批次列表: List the caller's own stocks, the latest first."""
