"""The statements of `queries.sql`, by their names.

There, `-- name: …` begins a statement, and the lines of comment below it say what it is for. What stands in braces is
said here, once. `{stock}`, `{stock_counters}` and `{later}` are a row's columns, in the order in which they are read;
those of the alias s are `{s.stock}`. The others look something up, in the stock whose number is $1:

    {coupon}, {step}    a coupon's columns, and the join that they need, for a coupon k; {coupon of X}, {step of X}: in
                        the stock whose number is X
    {position of X}     where the code X stands, if the stock has it
    {code at X}         the code at position X
    {carrier at X}      the number of the coupon that carries the code at position X, if one does
    {number at X in Y}  the number at place X of the block Y: see blocks.py; {block}: how many a block has
"""

from __future__ import annotations

import re
from importlib.resources import files

from ...coupons.coupon import LATER
from .blocks import BLOCK, number_at

COLUMNS: dict[str, tuple[str, ...]] = {
    "stock": ("stock_no", "stock_id", "mchid", "request", "created_at", "product_coupon_id", "brand_id"),
    "stock_counters": ("uploaded", "deleted", "free", "stale", "shift", "sent", "day", "sent_on_day"),
    "later": LATER,
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
        queries[name] = written_out(bare.strip().removesuffix(";"))
    return queries


def written_out(statement: str) -> str:
    """Return a statement with what stands in its braces written out."""
    return re.sub(r"\{(\w+)(?: (?:of|at) ([\w.$]+))?(?: in (\w+))?\}", _said, _COLUMNS_OF.sub(_named, statement))


def code_at(position: str, stock: str = "$1") -> str:
    """The SQL for the code at a position of a stock."""
    return (
        f"(SELECT split_part(p.codes, E'\\n', {position} - p.first_position + 1) FROM piece p"
        f" WHERE p.stock_no = {stock} AND p.first_position <= {position} ORDER BY p.first_position DESC LIMIT 1)"
    )


_COLUMNS_OF = re.compile(r"\{(?:(\w+)\.)?(stock|stock_counters|later)\}")


def _named(found: re.Match[str]) -> str:
    return columns(found[2], found[1] or "")


def _said(found: re.Match[str]) -> str:
    what, of, within = found.groups()
    if what == "block":
        return str(BLOCK)
    if what == "coupon":
        return (
            f"k.coupon_id, {code_at('k.position', of or '$1')}, k.openid, k.out_request_no, k.request, k.sent_at,"
            f" (SELECT t.terms FROM terms t WHERE t.stock_no = {of or '$1'} AND t.terms_no = k.terms_no),"
            f" {columns('later', 's')}"
        )
    if what == "step":
        return (
            f"LEFT JOIN LATERAL (SELECT {columns('later')} FROM coupon_step s"
            f" WHERE s.stock_no = {of or '$1'} AND s.coupon_id = k.coupon_id OFFSET 0) s ON true"
        )
    if what == "position":
        return (
            "(SELECT i.position FROM code i WHERE i.stock_no = $1"
            f" AND i.code_hash = hashtext({of}) AND {code_at('i.position')} = {of}"
            " AND (SELECT true FROM deletion d WHERE d.stock_no = $1 AND d.position = i.position) IS NULL LIMIT 1)"
        )
    if what == "code":
        return code_at(of)
    if what == "carrier":
        return (
            f"nullif((SELECT {number_at(of, 'r.numbers')} FROM carrier r"
            f" WHERE r.stock_no = $1 AND r.first = {of} - {of} % {BLOCK}), 0)"
        )
    if what == "number":
        return number_at(of, within)
    raise AssertionError(f"nothing is called {what}")


_QUERIES = read((files("quanma.platform.pool.postgres") / "queries.sql").read_text("utf-8"))
