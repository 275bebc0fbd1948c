"""The statements of `queries.sql`, by their names.

There, `-- name: …` begins a statement, and the lines of comment below it say what it is for. `{coupon}`, `{stock}` and
`{tally}` stand for a row's columns, in the order in which they are read; `{k.coupon}` for those of the alias k.
"""

from __future__ import annotations

import re
from importlib.resources import files

from ...coupons.coupon import CouponFacts

COLUMNS: dict[str, tuple[str, ...]] = {
    "coupon": CouponFacts._fields,
    "stock": ("stock_id", "mchid", "request", "created_at", "product_coupon_id", "brand_id"),
    "tally": ("uploaded", "deleted", "free", "stale", "shift", "sent", "day", "sent_on_day"),
}


def columns(row: str, alias: str = "") -> str:
    """Return a row's columns as a statement names them."""
    return ", ".join(f"{alias}.{column}" if alias else column for column in COLUMNS[row])


def query(name: str) -> str:
    """Return a statement as it is sent. A name that is not there is a fault of ours, seen when a module is loaded."""
    return _QUERIES[name]


def read(text: str) -> dict[str, str]:
    """Return the statements of a text by their names, each on one line."""
    queries: dict[str, str] = {}
    for part in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        bare = " ".join(line.strip() for line in rest.splitlines() if not line.lstrip().startswith("--"))
        if name in queries:
            raise AssertionError(f"two statements are called {name}")
        queries[name] = re.sub(r"\{(?:(\w+)\.)?(\w+)\}", _named, bare.strip().removesuffix(";"))
    return queries


def _named(found: re.Match[str]) -> str:
    return columns(found[2], found[1] or "")


_QUERIES = read((files("quanma.platform.pool.postgres") / "queries.sql").read_text("utf-8"))
