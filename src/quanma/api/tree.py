"""The chains from v3 and from brand down, and every operation on them."""

from __future__ import annotations

from .callbacks import Callbacks
from .certificates import Certificates
from .coupons import Coupons, Users
from .deliveries import Quanma
from .media import Favor
from .operation import C, F, Node, walk
from .productcoupon.tree import Brand, Partner
from .productsends import ProductSends
from .security import Security
from .stocks import Stocks
from .subsidy import Subsidy


class Busifavor(Node[C, F]):
    path = "/v3/marketing/busifavor"
    stocks: Stocks[C, F]
    coupons: Coupons[C, F]
    users: Users[C, F]
    callbacks: Callbacks[C, F]
    subsidy: Subsidy[C, F]
    product_coupons: ProductSends[C, F]


class Marketing(Node[C, F]):
    path = "/v3/marketing"
    busifavor: Busifavor[C, F]
    favor: Favor[C, F]
    partner: Partner[C, F]


class V3(Node[C, F]):
    path = "/v3"
    marketing: Marketing[C, F]
    security: Security[C, F]
    quanma: Quanma[C, F]
    certificates: Certificates[C, F]


ROOTS = (V3, Brand)

OPERATIONS = tuple(operation for root in ROOTS for operation in walk(root))
