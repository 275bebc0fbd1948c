"""Bundles: several stocks, one a round, that are given out together. Pure.

A bundle's id says how many members it has, and a member's id begins with its bundle's: so whoever has one knows the
others, and nothing is looked up. For callers, ids are opaque. The form is our choice: none is published.
"""

from __future__ import annotations

import hashlib
import re

from ....api.productcoupon.benefits import ROUNDS_MAX
from ...chance import Chance

_CHANCE = Chance("bundles")
_IDS = 10**15
_BUNDLE = re.compile(r"(9[0-9]{15})([0-9]{2})")
_MEMBER = re.compile(r"(9[0-9]{17})([0-9]{2})")


def new_bundle_id(rounds: int) -> str:
    return f"9{_CHANCE.randbelow(_IDS):015}{rounds:02}"


def members_of(stock_bundle_id: str) -> tuple[str, ...]:
    """Return the ids of a bundle's stocks, by their rounds; none at all for what is no bundle's id."""
    found = _BUNDLE.fullmatch(stock_bundle_id)
    rounds = int(found[2]) if found else 0
    return tuple(f"{stock_bundle_id}{index:02}" for index in range(rounds)) if rounds <= ROUNDS_MAX else ()


def bundle_of(stock_id: str) -> str | None:
    """Return the bundle that a stock is in, if it is in one."""
    found = _MEMBER.fullmatch(stock_id)
    return found[1] if found and stock_id in members_of(found[1]) else None


def beside(stock_id: str) -> tuple[str, ...]:
    """Return the stocks of a stock's bundle, itself among them; itself alone, where it is in none."""
    bundle_id = bundle_of(stock_id)
    return members_of(bundle_id) if bundle_id else (stock_id,)


def user_bundle_id(stock_bundle_id: str, openid: str, send_request_no: str) -> str:
    """Return the id of what a user got of a bundle under a number. It follows from these: nothing keeps it."""
    digest = hashlib.sha256(f"{stock_bundle_id}\n{openid}\n{send_request_no}".encode()).digest()
    return f"{int.from_bytes(digest) % 10**30:030}"
