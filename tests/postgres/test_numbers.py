"""What the tables hold instead of texts, numbers and hashes, never stands for another stock, code or user."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from quanma.api.coupons import ListCoupons
from quanma.errors import ResourceNotExists, RuleLimit
from quanma.platform.pool import open_pool
from quanma.platform.pool.postgres import schema
from tests.contract.driver import NOW, DrivenPool, list_coupons
from tests.support.platform import APPID, MCHID
from tests.support.postgres import query

CODES_OF_ONE_HASH = ("C115075", "C375911")
USERS_OF_ONE_HASH = ("o149641", "o247946")


@pytest.fixture
def pool(postgres_url: str, tmp_path: Path) -> Iterator[DrivenPool]:
    driven = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    yield driven
    driven.close()


@pytest.mark.parametrize("texts", [CODES_OF_ONE_HASH, USERS_OF_ONE_HASH], ids=["codes", "users"])
def test_these_texts_have_one_hash(postgres_url: str, texts: tuple[str, str]) -> None:
    assert query(postgres_url, "SELECT hashtext($1) = hashtext($2)", *texts) == [(True,)]


def test_codes_of_one_hash_are_two_codes(pool: DrivenPool) -> None:
    one, other = CODES_OF_ONE_HASH
    stock_id = pool.create(max_coupons_per_user=2)
    assert pool.upload(stock_id, [one]).success_codes == [one]
    with pytest.raises(ResourceNotExists):
        pool.show(stock_id, other)
    assert pool.upload(stock_id, [one, other]).success_codes == [other]
    pool.delete(stock_id, one)
    assert pool.codes(stock_id) == [other]
    with pytest.raises(ResourceNotExists):
        pool.show(stock_id, one)
    assert pool.upload(stock_id, [one, other]).success_codes == [one]
    assert {pool.send(stock_id), pool.send(stock_id)} == {one, other}
    pool.use(stock_id, one)
    shown = {code: pool.show(stock_id, code).coupon_information for code in CODES_OF_ONE_HASH}
    assert {code: coupon and coupon.coupon_state for code, coupon in shown.items()} == {one: "USED", other: "SENDED"}


def test_users_of_one_hash_are_two_users(pool: DrivenPool) -> None:
    one, other = USERS_OF_ONE_HASH
    stock_id = pool.create(max_coupons_per_user=1)
    pool.upload(stock_id, ["A1", "B2"])
    code = pool.send(stock_id, one, "n1")
    assert pool.send(stock_id, other, "n1") != code
    assert pool.send(stock_id, one, "n1") == code
    with pytest.raises(RuleLimit):
        pool.send(stock_id, one, "n2")
    listed = pool.run(list_coupons(pool.pool, MCHID, ListCoupons(openid=one, appid=APPID), NOW)).data
    assert [coupon.coupon_code for coupon in listed] == [code]


def test_a_number_that_a_restored_database_gave_to_another_stock_leads_to_no_other(
    postgres_url: str, pool: DrivenPool
) -> None:
    """The worker that kept the numbers serves on, after `quanma reconcile`."""
    stays, gone = pool.create(), pool.create()
    pool.upload(stays, ["A1"])
    pool.upload(gone, ["B2"])
    asyncio.run(_renumber(postgres_url, stays=1, gone=2))
    for ask in (lambda: pool.upload(gone, ["D4"]), lambda: pool.send(gone), lambda: pool.delete(gone, "A1")):
        with pytest.raises(ResourceNotExists):
            ask()
    assert pool.codes(stays) == ["A1"]
    assert pool.send(stays) == "A1"


async def _renumber(url: str, stays: int, gone: int) -> None:
    """A stock is gone, another one has its number, and a new history begins."""
    connection = await asyncpg.connect(url)
    await connection.execute("SET session_replication_role = replica")  # Foreign keys are not looked at.
    for table in ("stock", "stock_lock", "stock_counters", "upload", "piece", "code", "extent"):
        await connection.execute(f"DELETE FROM {table} WHERE stock_no = $1", gone)
        await connection.execute(f"UPDATE {table} SET stock_no = $1 WHERE stock_no = $2", gone, stays)
    await schema.lift_fence(connection)
    await connection.close()
