"""What each kind of answer, and each kind of silence, makes of a batch and of the whole upload."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quanma.client.transport import Reply, Request
from quanma.errors import StoreUnavailable
from quanma.upload.uploader import CONCURRENCY, Ending, Result
from tests.support.line import (
    Happening,
    Line,
    Office,
    Story,
    answering,
    answering_with,
    broken,
    first_answer_again,
    lost,
    no_connection,
)
from tests.support.platform import InProcess
from tests.support.repeats import BEHAVIOURS, REEVALUATE, REFUSE, REFUSE_AS_INVALID


@pytest.fixture(scope="module")
def office(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    world = Path(shutil.copytree(made_world, tmp_path_factory.mktemp("uploads") / "world"))
    platform = InProcess(world, "sqlite:///quanma.db")
    yield Office(platform)
    platform.close()


@pytest.fixture
def story(office: Office, tmp_path: Path) -> Iterator[Story]:
    with Story(office, tmp_path, f"story-{time.monotonic_ns()}") as story:
        yield story


@pytest.fixture
def other_story(office: Office, tmp_path: Path) -> Iterator[Story]:
    (tmp_path / "other").mkdir()
    with Story(office, tmp_path / "other", f"other-{time.monotonic_ns()}") as story:
        yield story


def sums(result: Result) -> dict[str, int]:
    """The buckets that are not empty."""
    totals = result.totals
    counts = {
        "rows": totals.rows,
        "stored": totals.stored,
        "existed": totals.existed,
        "duplicate": totals.duplicate,
        "rejected": totals.rejected,
        "pending": totals.pending,
    }
    return {name: count for name, count in counts.items() if count}


def test_everything_is_stored_in_one_request_each(story: Story) -> None:
    story.plan(["A1", "A2"], ["B1"])
    result = story.send()
    assert (result.ending, sums(result)) == (Ending.FINISHED, {"rows": 3, "stored": 3})
    assert (result.totals.requests, result.totals.retries) == (2, 0)
    assert story.pool() == ["A1", "A2", "B1"]


def test_what_somebody_stored_before_existed(story: Story) -> None:
    story.somebody_stores("A2")
    story.plan(["A1", "A2"])
    assert sums(story.send()) == {"rows": 2, "stored": 1, "existed": 1}
    assert story.outcomes() == [("A1", "stored", "success"), ("A2", "existed", "exist")]


class TestUnknown:
    @pytest.mark.slow
    @pytest.mark.parametrize("behaviour", BEHAVIOURS)
    def test_a_lost_answer_is_ours_whatever_a_repeated_number_does(self, story: Story, behaviour: str) -> None:
        story.platform_repeats(behaviour)
        story.plan(["A1", "A2"])
        assert sums(story.send(lost)) == {"rows": 2, "stored": 2}
        evidence = "success" if behaviour == "replay" else "retry_exist"
        assert story.outcomes() == [("A1", "stored", evidence), ("A2", "stored", evidence)]
        assert story.pool() == ["A1", "A2"]

    @pytest.mark.slow
    @pytest.mark.parametrize("behaviour", [REFUSE, REFUSE_AS_INVALID])
    def test_a_number_is_replaced_as_often_as_its_answer_was_lost(self, story: Story, behaviour: str) -> None:
        story.platform_repeats(behaviour)
        story.plan(["A1"])
        result = story.send(lost, None, lost, None, lost, None, lost, None, lost, None)
        assert (result.ending, sums(result)) == (Ending.FINISHED, {"rows": 1, "stored": 1})

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "happening",
        [
            lost,
            broken,
            answering(500, "SYSTEM_ERROR", after=True),
            answering(502, "", signed=False),
            answering(503, "SERVICE_UNAVAILABLE", signed=False, after=True),
            answering(400, "INVALID_REQUEST", signed=False, after=True),
            answering(200, "", signed=False, after=True),
        ],
    )
    def test_what_may_have_been_done_goes_out_again_under_its_number(self, story: Story, happening: Happening) -> None:
        story.platform_repeats(REEVALUATE)
        story.somebody_stores("A1")
        story.plan(["A1"])
        assert sums(story.send(happening)) == {"rows": 1, "stored": 1}
        assert len(story.line.numbers) == 2
        assert len(set(story.line.numbers)) == 1

    @pytest.mark.parametrize("happening", [no_connection, answering(429, "RATELIMIT_EXCEEDED", signed=False)])
    def test_what_was_not_accepted_leaves_no_doubt(self, story: Story, happening: Happening) -> None:
        story.somebody_stores("A1")
        story.plan(["A1"])
        assert sums(story.send(happening)) == {"rows": 1, "existed": 1}

    def test_an_answer_for_other_codes_settles_nothing(self, story: Story) -> None:
        story.plan(["A1"], ["B1"], ["C1"])
        result = story.send(None, first_answer_again, first_answer_again, concurrency=1)
        assert (result.ending, sums(result)) == (Ending.FINISHED, {"rows": 3, "stored": 3})
        assert [batch.unknown_attempts for batch in story.ledger.batches()] == [0, 2, 0]

    def test_an_answer_for_another_stock_settles_nothing(self, story: Story, other_story: Story) -> None:
        other_story.plan(["A1"])
        other_story.send()
        story.plan(["A1"])
        assert sums(story.send(answering_with(other_story.line.answers[0]))) == {"rows": 1, "stored": 1}
        assert len(story.line.numbers) == 2

    def test_a_number_refused_as_used_by_a_wrong_answer_keeps_the_codes_ours(self, story: Story) -> None:
        story.platform_repeats(REEVALUATE)
        story.plan(["A1"])
        assert sums(story.send(answering(400, "RESOURCE_ALREADY_EXISTS", after=True))) == {"rows": 1, "stored": 1}
        assert story.outcomes() == [("A1", "stored", "retry_exist")]


class TestRefusals:
    @pytest.mark.parametrize(("status", "code"), [(401, "SIGN_ERROR"), (403, "NO_AUTH"), (404, "RESOURCE_NOT_EXISTS")])
    def test_a_refusal_that_holds_for_every_batch_stops(self, story: Story, status: int, code: str) -> None:
        story.plan(["A1"], ["B1"])
        result = story.send(answering(status, code, "ask the operator"))
        assert (result.ending, sums(result)) == (Ending.REFUSED, {"rows": 2, "pending": 2})
        assert result.reason == f"{status} {code}: ask the operator"
        assert (len(story.line.numbers), story.states()) == (1, ["planned", "planned"])

    def test_a_stock_in_no_state_for_uploads_stops(self, story: Story) -> None:
        story.plan(["A1"])
        result = story.send(answering(400, "INVALID_REQUEST", "发券模式不合法"))
        assert (result.ending, result.reason) == (Ending.REFUSED, "400 INVALID_REQUEST: 发券模式不合法")
        assert story.states() == ["planned"]

    def test_a_full_stock_stops_and_the_rest_can_go_on_later(self, story: Story) -> None:
        story.max_coupons = 3
        story.plan(["A1", "A2"], ["B1", "B2"])
        result = story.send()
        assert (result.ending, sums(result)) == (Ending.FULL, {"rows": 4, "stored": 2, "pending": 2})
        assert "上传的自定义code已达上限" in result.reason
        assert story.states() == ["answered", "planned"]

    def test_one_unsigned_refusal_is_doubted(self, story: Story) -> None:
        story.plan(["A1"])
        unsigned = answering(400, "PARAM_ERROR", signed=False)
        assert sums(story.send(unsigned, unsigned)) == {"rows": 1, "stored": 1}

    def test_unsigned_refusals_with_answers_in_between_do_not_add_up(self, story: Story) -> None:
        story.plan(["A1"], ["B1"], ["C1"])
        unsigned = answering(401, "SIGN_ERROR", signed=False)
        result = story.send(unsigned, unsigned, None, unsigned, unsigned, None, concurrency=1)
        assert (result.ending, sums(result)) == (Ending.FINISHED, {"rows": 3, "stored": 3})

    @pytest.mark.parametrize(("status", "code"), [(400, "PARAM_ERROR"), (401, "SIGN_ERROR"), (403, "NO_AUTH")])
    def test_three_unsigned_refusals_stop_and_settle_nothing(self, story: Story, status: int, code: str) -> None:
        story.plan(["A1"])
        result = story.send(*[answering(status, code, signed=False)] * 9)
        assert (result.ending, sums(result)) == (Ending.REFUSED, {"rows": 1, "pending": 1})
        assert result.reason == f"{status} {code}: no (the answer is not signed)"
        assert (len(story.line.numbers), story.states()) == (3, ["unknown"])

    def test_a_request_refused_as_wrong_under_two_numbers_rejects_its_codes(self, story: Story) -> None:
        story.plan(["A1"], ["B1"])
        wrong = answering(400, "PARAM_ERROR", "参数错误")
        result = story.send(wrong, wrong)
        assert (result.ending, sums(result)) == (Ending.FINISHED, {"rows": 2, "stored": 1, "rejected": 1})
        assert story.outcomes()[0] == ("A1", "rejected", "refused")

    def test_a_request_refused_as_wrong_once_is_asked_again(self, story: Story) -> None:
        story.plan(["A1"])
        assert sums(story.send(answering(400, "PARAM_ERROR"))) == {"rows": 1, "stored": 1}

    def test_codes_that_may_be_stored_are_never_rejected(self, story: Story) -> None:
        story.plan(["A1"])
        result = story.send(lost, *[answering(400, "PARAM_ERROR")] * 9)
        assert (result.ending, sums(result)) == (Ending.REFUSED, {"rows": 1, "pending": 1})
        assert story.states() == ["unknown"]

    @pytest.mark.slow
    def test_a_wrong_clock_is_said_and_nothing_is_settled(self, story: Story) -> None:
        story.plan(["A1"])
        story.platform_clock_is_ahead(301)
        result = story.send()
        assert (result.ending, sums(result)) == (Ending.REFUSED, {"rows": 1, "pending": 1})
        assert re.match(r"set this machine's clock: .* the signer's clock is 30[12] s ahead of ours", result.reason)
        assert len(story.line.numbers) == 3


class TestWaiting:
    @pytest.mark.parametrize("signed", [True, False])
    def test_a_stock_still_being_created_is_asked_by_one_probe_at_a_time(self, story: Story, signed: bool) -> None:
        story.plan(*[[f"A{number}"] for number in range(9)])
        creating = answering(400, "STATEMENT_CREATING", signed=signed)
        result = story.send(creating, creating, creating)
        assert sums(result) == {"rows": 9, "stored": 9}
        assert story.line.sent_at[1] >= 60
        assert story.line.sent_at[2] >= 60 + 90
        assert story.line.sent_at[3] >= 60 + 90 + 120
        assert [batch.unknown_attempts for batch in story.ledger.batches()] == [0] * 9

    def test_a_new_stock_of_our_platform_is_waited_for(self, story: Story) -> None:
        story.platform_warms_up(100)
        story.plan(["A1"], ["B1"], ["C1"])
        result = story.send()
        assert (result.ending, sums(result)) == (Ending.FINISHED, {"rows": 3, "stored": 3})
        assert result.totals.requests == 2 + 3

    def test_a_stock_that_is_never_ready_is_given_up_after_a_quarter_of_an_hour(self, story: Story) -> None:
        story.plan(["A1"], ["B1"])
        result = story.send(*[answering(400, "STATEMENT_CREATING")] * 99)
        assert (result.ending, sums(result)) == (Ending.OUTAGE, {"rows": 2, "pending": 2})
        assert 900 < story.line.now < 900 + 240 * 1.3
        assert (len(story.line.numbers) < 9, story.line.most_at_once) == (True, 1)

    @pytest.mark.slow
    @pytest.mark.parametrize("code", ["FREQUENCY_LIMITED", "FREQUENCY_LIMIT_EXCEED", "RATELIMIT_EXCEEDED"])
    def test_nothing_is_sent_before_the_time_that_a_429_names(self, story: Story, code: str) -> None:
        story.plan(["A1"], ["B1"])
        story.send(answering(429, code, "slow", ("Retry-After", "17")))
        assert story.line.sent_at[1] >= 17

    @pytest.mark.parametrize(("status", "code"), [(503, "SERVICE_UNAVAILABLE"), (500, "SYSTEM_ERROR")])
    def test_nothing_is_sent_before_the_time_that_a_failure_names(self, story: Story, status: int, code: str) -> None:
        story.plan(["A1"], ["B1"])
        story.send(answering(status, code, "slow", ("Retry-After", "170")))
        assert story.line.sent_at[1] >= 170

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_platform_that_wants_to_be_asked_again_after_months_is_not_waited_for(
        self, story: Story, status: int
    ) -> None:
        story.plan(["A1"], ["B1"])
        result = story.send(*[answering(status, "", "slow", ("Retry-After", "10000000"))] * 9)
        assert result.ending is Ending.OUTAGE
        assert "send it again in 116 days" in str(result.reason)
        assert story.line.now < 60

    @pytest.mark.slow
    def test_an_outage_is_waited_out_with_few_requests(self, story: Story) -> None:
        story.plan(*[[f"A{number}"] for number in range(9)])
        result = story.send(*[answering(502, "", signed=False)] * 30)
        assert sums(result) == {"rows": 9, "stored": 9}
        assert story.line.sent_at[30] > 400
        assert result.totals.requests == 30 + 9

    @pytest.mark.slow
    def test_one_batch_that_the_platform_fails_on_does_not_keep_the_others_back(self, story: Story) -> None:
        async def fails_on_the_first(line: Line, request: Request) -> Reply:
            return await (broken(line, request) if b'"A1"' in request.body else line.forward(request))

        story.plan(["A1"], *[[f"B{number}"] for number in range(20)])
        result = story.send(*[fails_on_the_first] * 999)
        assert (result.ending, sums(result)) == (Ending.OUTAGE, {"rows": 21, "stored": 20, "pending": 1})

    @pytest.mark.slow
    def test_a_platform_that_does_not_come_back_is_given_up(self, story: Story) -> None:
        story.plan(["A1"])
        result = story.send(*[no_connection] * 999)
        assert (result.ending, str(result.reason).partition(" (")[0]) == (Ending.OUTAGE, "no connection")
        assert 1800 < story.line.now < 1900
        assert len(story.line.numbers) < 130


class TestStopping:
    def test_what_is_under_way_is_finished(self, story: Story) -> None:
        async def interrupted(line: Line, request: Request) -> Reply:
            story.line.uploader.stop()
            return await line.forward(request)

        story.plan(*[[f"A{number}"] for number in range(10, 40)])
        result = story.send(None, interrupted)
        assert result.ending is Ending.STOPPED
        assert set(story.states()) == {"answered", "planned"}
        assert story.pool() == [batch.codes[0] for batch in story.ledger.batches() if batch.state == "answered"]
        assert 2 <= result.totals.stored <= 2 + CONCURRENCY

    def test_what_is_dropped_is_unknown(self, story: Story) -> None:
        async def never_answered(line: Line, request: Request) -> Reply:
            await line.forward(request)
            asyncio.get_running_loop().call_soon(running[0].cancel)
            await asyncio.sleep(60)
            raise AssertionError

        async def run() -> None:
            running.append(asyncio.ensure_future(story.uploader(never_answered).run()))
            with pytest.raises(asyncio.CancelledError):
                await running[0]

        running: list[asyncio.Future[Result]] = []
        story.plan(["A1"])
        asyncio.run(run())
        assert story.states() == ["unknown"]

    def test_a_ledger_that_cannot_be_written_ends_it_with_its_words(self, story: Story) -> None:
        async def disk_full(line: Line, request: Request) -> Reply:
            story.ledger._db.execute(
                "CREATE TEMP TRIGGER full BEFORE UPDATE ON batch BEGIN SELECT raise(FAIL, 'disk is full'); END"
            )
            return await line.forward(request)

        story.plan(["A1"], ["B1"])
        with pytest.raises(StoreUnavailable, match="disk is full"):
            story.send(disk_full)
        assert len(story.line.numbers) == 1
        assert story.states() == ["sending", "planned"]

    def test_a_mistake_of_ours_is_not_taken_for_an_answer(self, story: Story) -> None:
        async def mistaken(line: Line, request: Request) -> Reply:
            raise ZeroDivisionError

        story.plan(["A1"])
        with pytest.raises(ZeroDivisionError):
            story.send(mistaken)
        assert story.states() == ["unknown"]

    def test_what_was_learned_outlives_a_kill(self, story: Story) -> None:
        async def look(line: Line, request: Request) -> Reply:
            seen.append(story.ledger.learned_rate)
            return await line.forward(request)

        seen: list[float | None] = []
        story.plan(["A1"], ["B1"])
        story.send(None, answering(429, "FREQUENCY_LIMITED"), look)
        assert seen != [None]
