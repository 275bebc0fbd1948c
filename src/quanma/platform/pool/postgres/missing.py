"""What a host acknowledged and the database lacks: found by its marks, named, and noted for whoever reconciles."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from ....errors import masked
from ..reconciling import Lacking, Missing, Named
from .mark_file import IssuedCoupon, Mark, digest
from .numbers import numbers_of
from .queries import code_at
from .witness import Witness

Connection = Any

_CHUNK = 500
_NAMED = (
    "SELECT 1 FROM coupon WHERE stock_no = $1 AND coupon_id = $3 AND out_request_no = $4"
    f" AND {code_at('coupon.position')} = $2"
)


class Proof(NamedTuple):
    """How the row of a mark is looked up, within one stock ($1) and among many."""

    table: str
    where: str
    """With {key}, {number}, {word}, and {code} for the code at the row's position."""
    word_type: str = "bigint"


PROOFS = {
    "coupon": Proof("coupon", "coupon_id = {number} AND {code} = {key} AND written_at = {word}", "timestamptz"),
    "upload": Proof("upload", "upload_request_no = {key} AND word = {word}"),
    "deletion": Proof("deletion", "delete_request_no = {key} AND word = {word}"),
    "answered": Proof(
        "answered",
        "operation = split_part({key}, E'\\n', 1) AND number = split_part({key}, E'\\n', 2) AND word = {word}",
    ),
    "stock": Proof("stock", "created_at = {word}"),
}
_BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def word_of(mark: Mark) -> int | datetime.datetime:
    """A mark's word as its table has it."""
    return moment(mark.word) if mark.kind == "coupon" else mark.word


def moment(microseconds: int) -> datetime.datetime:
    return _BEGINNING + datetime.timedelta(microseconds=microseconds)


def microseconds(at: datetime.datetime) -> int:
    """The other way round."""
    return (at - _BEGINNING) // datetime.timedelta(microseconds=1)


async def missing_marks(
    connection: Connection, witness: Witness, history: str, *, many_nodes: bool
) -> list[tuple[str, Mark]]:
    """The latest marks of a host, stock by stock, that are not in the database. `many_nodes`: it is a Citus cluster."""
    latest: dict[str, Mark] = {}
    of = digest(history).hex()
    for stock_id, its_history, mark in witness.marks():
        if its_history == of and (stock_id not in latest or mark.transaction_no >= latest[stock_id].transaction_no):
            latest[stock_id] = mark
    by_kind: defaultdict[str, list[tuple[str, Mark]]] = defaultdict(list)
    for stock_id, mark in latest.items():
        by_kind[mark.kind].append((stock_id, mark))
    missing: list[tuple[str, Mark]] = []
    for kind, marks in by_kind.items():
        for first in range(0, len(marks), _CHUNK):
            chunk = marks[first : first + _CHUNK]
            found = await _found(connection, kind, chunk, many_nodes=many_nodes)
            missing += [one for number, one in enumerate(chunk) if number not in found]
    return missing


async def note_missing(connection: Connection, witness: Witness, missing: Sequence[tuple[str, Mark]]) -> None:
    """Write down what is missing, and which of it this host can name."""
    host_id, stocks = witness.host.host_id, {stock_id for stock_id, _ in missing}
    named = [coupon for coupon in witness.issued(witness.host.history) if coupon.stock_id in stocks]
    rows = [(host_id, stock_id, mark.kind, mark.number, mark.key.replace("\n", " "), "") for stock_id, mark in missing]
    rows += [
        (host_id, it.stock_id, "issued", it.coupon_id, it.coupon_code, it.out_request_no)
        for it in await _lacking_coupons(connection, named)
    ]
    await connection.executemany(
        "INSERT INTO missing (host_id, stock_id, what, coupon_id, coupon_code, out_request_no)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        rows,
    )


async def lacking(connection: Connection) -> Lacking:
    """What hosts have noted to be missing."""
    counts: defaultdict[str, int] = defaultdict(int)
    named: defaultdict[str, dict[str, Named]] = defaultdict(dict)
    others = 0
    rows = await connection.fetch(
        "SELECT stock_id, what, coupon_id, coupon_code, out_request_no FROM missing ORDER BY stock_id, coupon_id"
    )
    numbers = await numbers_of(connection, (stock_id for stock_id, *_ in rows))
    for stock_id, what, coupon_id, coupon_code, out_request_no in rows:
        if what in ("coupon", "issued"):
            sent = await connection.fetchval(
                "SELECT sent FROM stock_counters WHERE stock_no = $1 ORDER BY transaction_no DESC LIMIT 1",
                numbers.get(stock_id),
            )
            counts[stock_id] = max(counts[stock_id], coupon_id - (sent or 0))
            known = named[stock_id].get(coupon_code)
            named[stock_id][coupon_code] = Named(stock_id, coupon_code, out_request_no or (known and known[2]) or None)
        else:
            others += 1
    stocks = [
        Missing(stock_id, max(counts[stock_id], len(coupons)), list(coupons.values()))
        for stock_id, coupons in named.items()
    ]
    return Lacking(stocks=stocks, commits=others) if rows else Lacking()


async def _lacking_coupons(connection: Connection, coupons: Sequence[IssuedCoupon]) -> list[IssuedCoupon]:
    """Which of these coupons are not in the database under their number in the stock, their code and their number."""
    lacking: list[IssuedCoupon] = []
    numbers = await numbers_of(connection, (coupon.stock_id for coupon in coupons))
    for coupon in coupons:
        there = await connection.fetchval(
            _NAMED,
            numbers.get(coupon.stock_id),
            coupon.coupon_code,
            coupon.coupon_id,
            coupon.out_request_no,
        )
        if there is None:
            lacking.append(coupon)
    return lacking


async def _found(connection: Connection, kind: str, marks: Sequence[tuple[str, Mark]], *, many_nodes: bool) -> set[int]:
    """Which of the marks of one kind, by their place, are in the database."""
    proof, numbers = PROOFS[kind], await numbers_of(connection, (stock_id for stock_id, _ in marks))
    where = proof.where.format(
        key="of_key", number="of_number", word="of_word", code=code_at("coupon.position", "of_stock")
    )
    given = (
        f"unnest($1::bigint[], $2::integer[], $3::text[], $4::bigint[], $5::{proof.word_type}[])"
        " AS m(place, of_stock, of_key, of_number, of_word)"
    )
    if many_nodes:
        # Each looked up by itself would be a statement for each of them: as a join, it is one for each shard.
        statement = f"SELECT place FROM {proof.table} JOIN {given} ON stock_no = of_stock AND {where}"
    else:
        statement = (
            f"SELECT place FROM {given} WHERE (SELECT true FROM {proof.table} WHERE stock_no = of_stock AND {where})"
        )
    rows = await connection.fetch(
        statement,
        list(range(len(marks))),
        [numbers.get(stock_id) for stock_id, _ in marks],
        [mark.key for _, mark in marks],
        [mark.number for _, mark in marks],
        [word_of(mark) for _, mark in marks],
    )
    return {place for (place,) in rows}


def told(missing: Sequence[tuple[str, Mark]]) -> str:
    """What is missing, in words for whoever looks after the pool."""
    stock_id, mark = max(missing, key=lambda one: (one[1].kind == "coupon", one[1].transaction_no))
    what = (
        f"coupon {mark.number} of stock {stock_id} with code {masked(mark.key)}"
        if mark.kind == "coupon"
        else f"the last {mark.kind} of stock {stock_id}"
    )
    others = f", and of {len(missing) - 1} more stocks" if len(missing) > 1 else ""
    return (
        f"{what}, which this host acknowledged, is missing{others}: the server was restored, or a replica was promoted "
        "that lacked it"
    )
