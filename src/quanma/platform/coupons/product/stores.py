"""Stores of a stock or a bundle: associated, and taken from it. Pure.

Which stores a brand has is not known here: any id is taken. Our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....api.productcoupon.stores import (
    AssociateBundleStoresNode,
    AssociateStoresNode,
    BundleStores,
    DisassociateBundleStoresNode,
    DisassociateStoresNode,
    StockStores,
    Store,
    StoresOutcome,
)
from ....errors import RequestRefused
from ....reasons import Reason
from .changes import Changed, Document, Known, ProductChange
from .objects import LIVE, single_stock, stocks_of_bundle


def stores_kind(stock_id: str) -> str:
    """The kind of the documents whose ids are a stock's stores."""
    return f"stores:{stock_id}"


def _decided(associate: bool) -> Callable[[Known, StockStores | BundleStores], Changed[StoresOutcome]]:
    def decide(known: Known, request: StockStores | BundleStores) -> Changed[StoresOutcome]:
        """Raises RequestRefused: the stock is for all stores, or not live."""
        for one in known.stocks:
            facts = one.facts
            if (scope := facts.terms.stock.store_scope) != "SPECIFIC":
                raise RequestRefused(
                    f"stock {facts.stock_id} has store_scope {scope}, and only SPECIFIC takes stores",
                    reason=Reason.STOCK_FOR_ALL_STORES,
                )
            if (state := facts.state(known.now)) not in LIVE:
                raise RequestRefused(f"商品券批次状态不符: stock {facts.stock_id} is {state}")
        store_ids = list(dict.fromkeys(store.store_id for store in request.store_list))
        kinds = [stores_kind(one.facts.stock_id) for one in known.stocks]
        answer = StoresOutcome(
            total_count=len(store_ids), success_store_list=[Store(store_id=store_id) for store_id in store_ids]
        )
        if associate:
            return Changed(answer, [Document(kind, store_id, "") for kind in kinds for store_id in store_ids])
        return Changed(answer, gone=[(kind, store_id) for kind in kinds for store_id in store_ids])

    return decide


STORE_CHANGES: tuple[ProductChange[Any, Any], ...] = (
    ProductChange(AssociateStoresNode.post, _decided(associate=True), stocks=single_stock),
    ProductChange(DisassociateStoresNode.post, _decided(associate=False), stocks=single_stock),
    ProductChange(AssociateBundleStoresNode.post, _decided(associate=True), stocks=stocks_of_bundle),
    ProductChange(DisassociateBundleStoresNode.post, _decided(associate=False), stocks=stocks_of_bundle),
)
