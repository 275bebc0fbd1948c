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
    {held by X of Y}    h.coupon_id, the coupons of the stock whose number is Y that may be of a user whose openid has
                        the hash X; what comes after it is joined: see holders.py

`{do NAME with $N}` is another statement, whose parameters from $2 on are $N and those after it here.
"""

from __future__ import annotations

import re
from functools import partial
from importlib.resources import files

from ...coupons.coupon import LATER
from .blocks import BLOCK, number_at
from .holders import ENTRY_BYTES, bucket_at

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
        queries[name] = _DO.sub(partial(_included, queries), written_out(bare.strip().removesuffix(";")))
    return queries


_DO = re.compile(r"\{do (\w+) with \$(\d+)\}")


def _included(queries: dict[str, str], found: re.Match[str]) -> str:
    name, first = found[1], int(found[2])
    return re.sub(r"\$(\d+)", lambda one: f"${int(one[1]) + (first - 2) * (one[1] != '1')}", queries[name])


def written_out(statement: str) -> str:
    """Return a statement with what stands in its braces written out."""
    found = re.compile(r"\{(\w+)(?: (?:of|at|by) ([\w.$]+))?(?: (?:in|of) ([\w.$]+))?\}")
    return found.sub(_said, _COLUMNS_OF.sub(_named, statement))


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
            f"k.coupon_id, k.position, {code_at('k.position', of or '$1')} AS coupon_code, k.openid,"
            f" k.out_request_no, k.request, k.sent_at,"
            f" (SELECT t.terms FROM terms t WHERE t.stock_no = {of or '$1'} AND t.terms_no = k.terms_no) AS terms,"
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
            f"nullif((SELECT {number_at(of, 'r.numbers')} FROM block r"
            f" WHERE r.stock_no = $1 AND r.kind = 1 AND r.place = {of} - {of} % {BLOCK}), 0)"
        )
    if what == "number":
        return number_at(of, within)
    if what == "held":
        return (
            f"(SELECT sent FROM stock_counters WHERE stock_no = {within} ORDER BY transaction_no DESC LIMIT 1) n,"
            f" LATERAL (SELECT numbers FROM block WHERE stock_no = {within} AND kind = 2"
            f" AND place = {bucket_at(f'{of}::bigint', 'n.sent')} OFFSET 0) b,"
            f" LATERAL (SELECT {_number('e.at + 4')} AS coupon_id"
            f" FROM generate_series(0, length(b.numbers) - {ENTRY_BYTES}, {ENTRY_BYTES}) AS e(at)"
            f" WHERE {_number('e.at')} = {of}::bigint OFFSET 0) h,"
        )
    raise AssertionError(f"nothing is called {what}")


def _number(at: str) -> str:
    """The SQL for the four bytes of a bucket at a place, without a sign."""
    return f"('x' || encode(substr(b.numbers, {at} + 1, 4), 'hex'))::bit(32)::bigint"


_QUERIES = read((files("quanma.platform.pool.postgres") / "queries.sql").read_text("utf-8"))
