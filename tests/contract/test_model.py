"""A model of the pool, dicts and sets, against the real one: any order of requests and restarts, the same answers."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from quanma.api.rules import BUSIFAVOR
from quanma.errors import NotEnough, PlatformError, RequestRefused, ResourceAlreadyExists, ResourceNotExists, RuleLimit
from tests.contract.conftest import OpenPool
from tests.contract.driver import DrivenPool

pytestmark = pytest.mark.both_back_ends

MAX_COUPONS = 12
PER_USER = 5

# Few of each, so that they meet: legal codes, some alike but for case or a space; and ill-formed ones.
CODES = st.sampled_from(["A1", "a1", "A1 ", "B/2", "B2", "C=3", "D|4", "E\\5", "F-6", "G_7", "h8", "I9", "J0", "K K"])
ILL_FORMED = st.sampled_from(["", "x" * 33, "n\n", "券", "a+b"])
LISTS = st.lists(CODES | ILL_FORMED, min_size=1, max_size=8)
NUMBERS = st.sampled_from(["n1", "n2", "n3", "n4"])
USERS = st.sampled_from(["oAnna", "oBob", "oCleo"])


class Model(RuleBasedStateMachine):
    """Two stocks, each with its own state here; `self.stock` says which one a rule works on."""

    open_pool: OpenPool

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.pool = DrivenPool(lambda: self.open_pool(self.folder))
        self.stocks = [Stock(self.pool), Stock(self.pool)]
        self.upload(0, "n0", ["A1", "a1", "B/2", "C=3", "D|4", "F-6"])
        self.upload(1, "n0", ["A1", "B2"])

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            self.pool.close()
            shutil.rmtree(self.folder)

    @rule(which=st.integers(0, 1), no=NUMBERS, codes=LISTS)
    def upload(self, which: int, no: str, codes: list[str]) -> None:
        stock = self.stocks[which]
        distinct = list(dict.fromkeys(codes))
        if no in stock.uploads:
            first_codes, first = stock.uploads[no]
            if first_codes != set(codes):
                refuse(RequestRefused, lambda: self.pool.upload(stock.id, codes, no))
            else:
                assert self.pool.upload(stock.id, codes, no) == first
            return
        fresh = [code for code in distinct if not BUSIFAVOR.why_refused(code) and code not in stock.codes]
        if len(stock.codes) + len(fresh) > MAX_COUPONS:
            refuse(RequestRefused, lambda: self.pool.upload(stock.id, codes, no))
            return
        answer = self.pool.upload(stock.id, codes, no)
        assert answer.success_codes == fresh
        assert [failed.coupon_code for failed in answer.fail_codes] == list(filter(BUSIFAVOR.why_refused, distinct))
        assert answer.exist_codes == [code for code in distinct if code in stock.codes]
        assert set(answer.duplicate_codes) == {code for code in distinct if codes.count(code) > 1}
        assert answer.total_count == len(distinct)
        stock.uploads[no] = set(codes), answer
        stock.codes |= dict.fromkeys(fresh)

    @rule(which=st.integers(0, 1), openid=USERS, no=NUMBERS)
    def draw(self, which: int, openid: str, no: str) -> None:
        stock = self.stocks[which]
        if (openid, no) in stock.sends:
            assert self.pool.send(stock.id, openid, no) == stock.sends[openid, no]
        elif len(stock.sends) >= MAX_COUPONS:
            refuse(NotEnough, lambda: self.pool.send(stock.id, openid, no))
        elif sum(user == openid for user, _ in stock.sends) >= PER_USER:
            refuse(RuleLimit, lambda: self.pool.send(stock.id, openid, no))
        elif not stock.free:
            refuse(NotEnough, lambda: self.pool.send(stock.id, openid, no))
        else:
            code = self.pool.send(stock.id, openid, no)
            assert code in stock.free
            stock.codes[code] = openid
            stock.sends[openid, no] = code

    @rule(which=st.integers(0, 1), code=CODES, no=NUMBERS)
    def delete(self, which: int, code: str, no: str) -> None:
        stock = self.stocks[which]
        if no in stock.deletes:
            first_code, first = stock.deletes[no]
            if first_code != code:
                refuse(RequestRefused, lambda: self.pool.delete(stock.id, code, no))
            else:
                assert self.pool.delete(stock.id, code, no) == first
        elif code not in stock.codes:
            refuse(ResourceNotExists, lambda: self.pool.delete(stock.id, code, no))
        elif stock.codes[code] is not None:
            refuse(RequestRefused, lambda: self.pool.delete(stock.id, code, no))
        else:
            stock.deletes[no] = code, self.pool.delete(stock.id, code, no)
            del stock.codes[code]

    @rule(which=st.integers(0, 1), code=CODES, no=NUMBERS)
    def use(self, which: int, code: str, no: str) -> None:
        stock = self.stocks[which]
        if no in stock.uses:
            first_code, first = stock.uses[no]
            if first_code == code:
                assert self.pool.use(stock.id, code, no) == first
            else:
                refuse(RequestRefused, lambda: self.pool.use(stock.id, code, no))
        elif stock.codes.get(code) is None:
            refuse(ResourceNotExists, lambda: self.pool.use(stock.id, code, no))
        elif code in {used for used, _ in stock.uses.values()}:
            refuse(ResourceAlreadyExists, lambda: self.pool.use(stock.id, code, no))
        else:
            stock.uses[no] = code, self.pool.use(stock.id, code, no)
            assert stock.uses[no][1].openid == stock.codes[code]

    @rule(which=st.integers(0, 1), offset=st.integers(0, 14), limit=st.integers(1, 5))
    def page(self, which: int, offset: int, limit: int) -> None:
        stock = self.stocks[which]
        assert self.pool.codes(stock.id, offset=offset, limit=limit) == list(stock.codes)[offset : offset + limit]
        given = [code for code, openid in stock.codes.items() if openid]
        listed = self.pool.codes(stock.id, offset=offset, limit=limit, status="DISPATCHED")
        assert listed == given[offset : offset + limit]
        listed = self.pool.codes(stock.id, offset=offset, limit=limit, status="AVAILABLE")
        assert listed == stock.free[offset : offset + limit]

    @rule(which=st.integers(0, 1), code=CODES)
    def show(self, which: int, code: str) -> None:
        stock = self.stocks[which]
        if code not in stock.codes:
            refuse(ResourceNotExists, lambda: self.pool.show(stock.id, code))
            return
        detail = self.pool.show(stock.id, code)
        assert detail.code_information.openid == stock.codes[code]
        used = code in {used for used, _ in stock.uses.values()}
        state = detail.coupon_information.coupon_state if detail.coupon_information else None
        assert state == ("USED" if used else "SENDED" if stock.codes[code] else None)

    @rule()
    def restart(self) -> None:
        self.pool.reopen()

    @invariant()
    def everything_adds_up(self) -> None:
        for stock in getattr(self, "stocks", ()):
            assert self.pool.counts(stock.id) == (len(stock.codes), len(stock.free))
            listed = self.pool.page(stock.id, limit=1000).data
            assert {code.code: code.openid for code in listed} == stock.codes
            assert len(listed) == len(stock.codes)
            # No code with two coupons, and no coupon without its code.
            assert sorted(stock.sends.values()) == sorted(code for code, openid in stock.codes.items() if openid)
            sent = self.pool.stock(stock.id).send_count_information
            assert sent is not None
            assert sent.total_send_num == len(stock.sends)


class Stock:
    """What a stock should be. `codes`: code → who has it, None for nobody, in upload order."""

    def __init__(self, pool: DrivenPool) -> None:
        self.id = pool.create(max_coupons=MAX_COUPONS, max_coupons_per_user=PER_USER)
        self.codes: dict[str, str | None] = {}
        self.uploads: dict[str, tuple[set[str], Any]] = {}
        self.sends: dict[tuple[str, str], str] = {}
        self.deletes: dict[str, tuple[str, Any]] = {}
        self.uses: dict[str, tuple[str, Any]] = {}

    @property
    def free(self) -> list[str]:
        return [code for code, openid in self.codes.items() if openid is None]


def refuse(kind: type[PlatformError], request: Any) -> None:
    with pytest.raises(kind) as refusal:
        request()
    assert type(refusal.value) is kind


def _run(open_back_end: OpenPool, examples: int, steps: int) -> None:
    machine = type("Model", (Model,), {"open_pool": staticmethod(open_back_end)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.function_scoped_fixture,
            ],
        ),
    )


@pytest.mark.slow
def test_the_pool_is_as_its_model(open_back_end: OpenPool) -> None:
    _run(open_back_end, examples=10, steps=15)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_pool_is_as_its_model_at_length(open_back_end: OpenPool, back_end: str) -> None:
    _run(open_back_end, examples=40 if back_end == "sqlite" else 12, steps=50)
