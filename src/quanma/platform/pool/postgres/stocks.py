"""Stocks in the PostgreSQL pool: create, declare, show, modify, budget."""

from __future__ import annotations

import msgspec

from ....api.stocks import ChangeBudget, ChangedBudget, CreatedStock, CreateStock, ModifyStock, Stock
from ....wire.times import beijing_day, rfc3339
from ... import rules
from ...rules import Product, StockFacts
from .. import answers
from .lanes import Asked, singly
from .link import Connection
from .turn import NEW, STOCK_FIELDS, TALLY_FIELDS, Tally, Turn, check_creator, facts_of, sent_on, stock_of

TALLY = f"SELECT {TALLY_FIELDS} FROM tally WHERE stock_id = $1 ORDER BY turn_no DESC LIMIT 1"


async def create(
    connection: Connection, stock_id: str, mchid: str, request: CreateStock, now: int, stocks_max: int
) -> CreatedStock:
    """Make a stock of this id, new to this request: done twice, it is the same."""
    rules.check_new_stock(request)
    # One at a time of a merchant: two could each find room for the last one.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"stocks\n{mchid}")
    await _add(connection, stock_id, mchid, request, now, None)
    made, before = await connection.fetchrow(
        "SELECT (SELECT stock_id FROM stock WHERE mchid = $1 AND out_request_no = $2), (SELECT count(*) FROM"
        " (SELECT FROM stock WHERE mchid = $1 AND product_coupon_id IS NULL AND stock_id <> $3 LIMIT $4) s)",
        mchid,
        request.out_request_no,
        stock_id,
        stocks_max,
    )
    if made != stock_id:
        raise answers.stock_made_before(made)
    rules.check_stock_count(before, stocks_max)  # What was added goes with the transaction.
    return CreatedStock(stock_id=stock_id, create_time=rfc3339(now))


async def declare(
    connection: Connection, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int
) -> None:
    await _add(connection, stock_id, mchid, request, now, product)
    row = await connection.fetchrow(f"SELECT {STOCK_FIELDS} FROM stock s WHERE s.stock_id = $1", stock_id)
    if row is None or (facts_of(row).mchid, facts_of(row).product) != (mchid, product):
        raise answers.another_ones_stock(stock_id)


async def _add(
    connection: Connection, stock_id: str, mchid: str, request: CreateStock, now: int, product: Product | None
) -> None:
    """Write a stock, if neither its id nor its number was used before."""
    added = await connection.fetchval(
        "INSERT INTO stock (stock_id, mchid, belong_merchant, out_request_no, request, created_at, product_coupon_id,"
        " brand_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING stock_id",
        stock_id,
        mchid,
        request.belong_merchant,
        request.out_request_no,
        msgspec.json.encode(request).decode(),
        now,
        *(product or (None, None)),
    )
    if added is None:
        return
    await connection.execute("INSERT INTO turn (stock_id) VALUES ($1)", stock_id)
    await connection.execute(
        f"INSERT INTO tally (stock_id, turn_no, {TALLY_FIELDS}) VALUES ($1, 0, 0, 0, 0, 0, {NEW.shift}, 0, $2, 0)",
        stock_id,
        beijing_day(now),
    )


async def list_own(connection: Connection, mchid: str, offset: int, limit: int) -> list[StockFacts]:
    """The latest first."""
    rows = await connection.fetch(
        f"SELECT {STOCK_FIELDS} FROM stock s WHERE s.mchid = $1 AND s.product_coupon_id IS NULL"
        " ORDER BY s.created_at DESC, s.stock_id DESC LIMIT $2 OFFSET $3",
        mchid,
        limit,
        offset,
    )
    return [facts_of(row) for row in rows]


async def show(connection: Connection, mchid: str, stock_id: str, now: int, product: Product | None) -> Stock:
    facts = await stock_of(connection, stock_id)
    check_creator(facts, mchid, product)
    tally = Tally(*await connection.fetchrow(TALLY, stock_id))
    day = beijing_day(now)
    today = tally.sent_on_day if day == tally.day else await sent_on(connection, stock_id, day)
    return answers.stock(facts, answers.Counts(tally.total, tally.available, tally.sent, today), now)


async def modify(turn: Turn, asked: Asked[ModifyStock]) -> None:
    mchid, request, now = asked
    check_creator(turn.facts, mchid)

    async def work() -> None:
        rules.check_open(turn.facts, now)
        await _replace(turn, rules.modified(turn.facts.request, request))

    await turn.once("out_request_no", request, type(None), work)


async def change_budget(turn: Turn, asked: Asked[ChangeBudget]) -> ChangedBudget:
    mchid, request, now = asked
    check_creator(turn.facts, mchid)

    async def work() -> ChangedBudget:
        rules.check_open(turn.facts, now)
        await _replace(turn, rules.budgeted(turn.facts, request, turn.tally.sent))
        send_rule = turn.facts.request.stock_send_rule
        return ChangedBudget(max_coupons=turn.facts.max_coupons, max_coupons_by_day=send_rule.max_coupons_by_day)

    return await turn.once("modify_budget_request_no", request, ChangedBudget, work)


async def _replace(turn: Turn, request: CreateStock) -> None:
    text = msgspec.json.encode(request).decode()
    await turn.connection.execute("UPDATE stock SET request = $2 WHERE stock_id = $1", turn.stock_id, text)
    turn.facts = turn.facts._replace(request=request)


MODIFY = singly(modify)
CHANGE_BUDGET = singly(change_budget)
