"""Many requests at the same moment: one after the other is the only way they may seem to have gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from quanma.api.couponcodes import DeleteCode, UploadCodes
from quanma.api.coupons import UseCoupon
from quanma.errors import NotEnough, RequestRefused, ResourceAlreadyExists, RuleLimit
from quanma.platform.coupons.states import USE
from tests.contract.driver import NOW, DrivenPool
from tests.support.every import every_row
from tests.support.platform import APPID, MCHID

pytestmark = pytest.mark.both_back_ends


def _given(outcomes: Sequence[str | Exception]) -> list[str]:
    return [outcome for outcome in outcomes if isinstance(outcome, str)]


def _refusals(outcomes: Sequence[str | Exception]) -> set[type[Exception]]:
    return {type(outcome) for outcome in outcomes if isinstance(outcome, Exception)}


def test_as_many_coupons_as_codes_are_given_out_and_each_code_once(pool: DrivenPool) -> None:
    stock_id = pool.create()
    codes = [f"C{number}" for number in range(100)]
    pool.upload(stock_id, codes)
    outcomes = pool.together(*(pool.sending(stock_id, f"o{number}") for number in range(150)))
    assert sorted(_given(outcomes)) == sorted(codes)
    assert _refusals(outcomes) == {NotEnough}


@every_row(
    ("limit", "given", "refusal"),
    [
        ({"max_coupons_per_user": 7}, 7, RuleLimit),
        ({"max_coupons": 50}, 50, NotEnough),
        ({"max_coupons_by_day": 9}, 9, NotEnough),
    ],
)
def test_no_limit_is_exceeded_by_one(
    pool: DrivenPool, limit: dict[str, Any], given: int, refusal: type[Exception]
) -> None:
    stock_id = pool.create(**limit)
    pool.upload(stock_id, [f"C{number}" for number in range(50)])
    outcomes = pool.together(*(pool.sending(stock_id, "oAnna") for _ in range(80)))
    assert len(_given(outcomes)) == given
    assert _refusals(outcomes) == {refusal}
    assert pool.counts(stock_id) == (50, 50 - given)


def test_the_same_number_at_the_same_moment_gives_one_coupon(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, [f"C{number}" for number in range(50)])
    outcomes = pool.together(*(pool.sending(stock_id, "oAnna", "s1") for _ in range(300)))
    assert len(_given(outcomes)) == 300
    assert len(set(outcomes)) == 1
    assert pool.counts(stock_id) == (50, 49)


def test_the_same_upload_at_the_same_moment_stores_its_codes_once_and_every_answer_is_the_same(
    pool: DrivenPool,
) -> None:
    stock_id = pool.create()
    request = UploadCodes(stock_id=stock_id, coupon_code_list=["A1", "B2", "A1"], upload_request_no="u1")
    answers = pool.together(*(pool.pool.upload_codes(MCHID, request, NOW) for _ in range(50)))
    assert all(answer == answers[0] for answer in answers)
    assert pool.codes(stock_id) == ["A1", "B2"]


def test_of_different_uploads_under_one_number_at_the_same_moment_one_takes_effect(pool: DrivenPool) -> None:
    stock_id = pool.create()
    answers = pool.together(
        *(
            pool.pool.upload_codes(
                MCHID,
                UploadCodes(stock_id=stock_id, coupon_code_list=[f"A{number}"], upload_request_no="u1"),
                NOW,
            )
            for number in range(20)
        )
    )
    assert sum(isinstance(answer, RequestRefused) for answer in answers) == 19
    assert len(pool.codes(stock_id)) == 1


def test_a_code_in_many_uploads_at_the_same_moment_is_a_success_in_one(pool: DrivenPool) -> None:
    stock_id = pool.create()
    answers = pool.together(
        *(
            pool.pool.upload_codes(
                MCHID,
                UploadCodes(stock_id=stock_id, coupon_code_list=["SAME", f"A{number}"], upload_request_no=f"u{number}"),
                NOW,
            )
            for number in range(20)
        )
    )
    successes = Counter(
        code for answer in answers if not isinstance(answer, Exception) for code in answer.success_codes
    )
    assert successes["SAME"] == 1
    assert successes.total() == 21
    assert pool.counts(stock_id) == (21, 21)


def test_uploads_at_the_same_moment_have_an_answer_each_and_their_codes_outlive_a_restart(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["OLD0", "OLD3"])
    answers = pool.together(
        *(
            pool.pool.upload_codes(
                MCHID,
                UploadCodes(
                    stock_id=stock_id,
                    coupon_code_list=[f"A{number}", f"OLD{number}", "不", f"LONGER{number}", f"A{number}"],
                    upload_request_no=f"u{number}",
                ),
                NOW,
            )
            for number in range(40)
        )
    )
    for number, answer in enumerate(answers):
        assert not isinstance(answer, Exception)
        old, new = f"OLD{number}", [f"A{number}", f"OLD{number}", f"LONGER{number}"]
        assert answer.exist_codes == ([old] if number in (0, 3) else [])
        assert answer.success_codes == [code for code in new if code not in answer.exist_codes]
        assert [failed.coupon_code for failed in answer.fail_codes] == ["不"]
        assert answer.duplicate_codes == [f"A{number}"]
    codes = pool.codes(stock_id)
    assert sorted(codes) == sorted(
        code for number in range(40) for code in (f"A{number}", f"OLD{number}", f"LONGER{number}")
    )
    pool.reopen()
    assert pool.codes(stock_id) == codes
    assert sorted(pool.send(stock_id, f"o{number}") for number in range(120)) == sorted(codes)


def test_uploads_at_the_same_moment_don_t_exceed_the_stock(pool: DrivenPool) -> None:
    stock_id = pool.create(max_coupons=25)
    answers = pool.together(
        *(
            pool.pool.upload_codes(
                MCHID,
                UploadCodes(
                    stock_id=stock_id,
                    coupon_code_list=[f"A{number}x{line}" for line in range(10)],
                    upload_request_no=f"u{number}",
                ),
                NOW,
            )
            for number in range(5)
        )
    )
    assert sum(isinstance(answer, RequestRefused) for answer in answers) == 3
    assert pool.counts(stock_id) == (20, 20)


def test_a_coupon_is_used_once_by_the_many_who_try(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1"])
    pool.send(stock_id)
    outcomes = pool.together(
        *(
            pool.pool.step(
                MCHID,
                USE,
                UseCoupon(
                    stock_id=stock_id,
                    coupon_code="A1",
                    appid=APPID,
                    use_time="2026-09-21T22:13:20+08:00",
                    use_request_no=f"u{number % 10}",
                ),
                NOW,
            )
            for number in range(40)
        )
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, ResourceAlreadyExists)]
    assert len(refused) == 36  # The winner's number came four times, and each time it is told so.


def test_a_code_is_either_deleted_or_given_out(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, [f"C{number}" for number in range(40)])

    async def delete(code: str) -> str:
        request = DeleteCode(stock_id=stock_id, coupon_code=code, delete_request_no=f"d{code}")
        await pool.pool.delete_code(MCHID, request, NOW)
        return f"deleted {code}"

    mixed = [
        request for number in range(40) for request in (delete(f"C{number}"), pool.sending(stock_id, f"o{number}"))
    ]
    outcomes = pool.together(*mixed)
    deleted = [outcome.removeprefix("deleted ") for outcome in _given(outcomes) if outcome.startswith("deleted ")]
    given = [outcome for outcome in _given(outcomes) if not outcome.startswith("deleted ")]
    assert sorted(deleted + given) == sorted(f"C{number}" for number in range(40))
    assert pool.counts(stock_id) == (len(given), 0)
