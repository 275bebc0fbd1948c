"""A request that makes the SQLite pool fail, among many that don't; and codes that are not what was uploaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from quanma.api.couponcodes import UploadCodes
from quanma.errors import StoreUnavailable
from quanma.platform.pool.sqlite.index import texts
from quanma.platform.pool.sqlite.pool import SqlitePool
from tests.contract.driver import NOW, DrivenPool
from tests.support.platform import MCHID

CODES = [f"C{number:03}" for number in range(200)]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[DrivenPool]:
    """Where memory is made anew, that is an error: it would take seconds in a large pool."""
    driven = DrivenPool(lambda: SqlitePool(tmp_path / "pool.db"))
    driven.pool._writer._rebuild = lambda: pytest.fail("memory was rebuilt")  # type: ignore[attr-defined]
    yield driven
    driven.close()


def test_a_poisoned_draw_is_refused_alone_and_the_others_of_its_group_are_answered_and_durable(
    pool: DrivenPool,
) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, CODES)
    # Half of a surrogate pair is no text that SQLite can take: the statement fails, when others are bound to it.
    users = [f"o{number}" for number in range(100)]
    users[37] = "o\ud800"
    outcomes = pool.together(*(pool.sending(stock_id, user, user) for user in users))
    poisoned = outcomes.pop(37)
    assert isinstance(poisoned, StoreUnavailable)
    given = [str(code) for code in outcomes]
    assert len({*given}) == 99
    assert {*given} <= {*CODES}
    assert pool.counts(stock_id) == (200, 101)
    pool.reopen()
    assert pool.counts(stock_id) == (200, 101)
    del users[37]
    assert [pool.send(stock_id, user, user) for user in users] == given


def test_a_poisoned_upload_is_refused_alone(pool: DrivenPool) -> None:
    stock_id = pool.create()
    requests = [
        UploadCodes(stock_id=stock_id, coupon_code_list=[f"U{number}"], upload_request_no=no)
        for number, no in enumerate(["a", "b\ud800", "c"])
    ]
    answers = pool.together(*(pool.pool.upload_codes(MCHID, request, NOW) for request in requests))
    assert isinstance(answers[1], StoreUnavailable)
    assert pool.codes(stock_id) == ["U0", "U2"]
    assert pool.counts(stock_id) == (2, 2)


def test_a_code_whose_text_was_changed_in_the_file_is_not_given_out_and_all_others_are(
    pool: DrivenPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is read from the file. One that is kept in memory is the one that was uploaded."""
    monkeypatch.setattr(texts, "KEPT_BYTES_MAX", 0)
    stock_id = pool.create()
    pool.upload(stock_id, CODES)
    with apsw.Connection(str(tmp_path / "pool.db")) as other:
        other.execute("UPDATE upload SET codes = replace(codes, 'C037', 'C03w')")
    other.close()
    outcomes = pool.together(*(pool.sending(stock_id, f"o{number}") for number in range(200)))
    given = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert {*given} <= {*CODES} - {"C037"}
    refused = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert refused
    assert all(isinstance(refusal, StoreUnavailable) and "damaged" in str(refusal) for refusal in refused)
    with pytest.raises(StoreUnavailable, match="damaged"):
        pool.show(stock_id, "C037")
