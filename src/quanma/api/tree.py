"""The chain from v3 down, and every operation on it."""

from __future__ import annotations

from .certificates import Certificates
from .coupons import Coupons, Users
from .operation import C, F, Node, walk
from .productcoupons import Partner
from .stocks import Stocks


class Busifavor(Node[C, F]):
    path = "/v3/marketing/busifavor"
    stocks: Stocks[C, F]
    coupons: Coupons[C, F]
    users: Users[C, F]


class Marketing(Node[C, F]):
    path = "/v3/marketing"
    busifavor: Busifavor[C, F]
    partner: Partner[C, F]


class V3(Node[C, F]):
    path = "/v3"
    marketing: Marketing[C, F]
    certificates: Certificates[C, F]


OPERATIONS = tuple(walk(V3))
