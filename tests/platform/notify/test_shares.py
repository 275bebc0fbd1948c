"""How many events may be on their way to each merchant: pure, on a clock that the test moves."""

from __future__ import annotations

from quanma.platform.notify.shares import ANSWERED_PART, EACH_MAX, FAILURES_MAX, FIRST, Attempt, Shares
from quanma.platform.pool.contract import Waiting

A, B = Waiting("1900000001", "https://a.example/"), Waiting("1900000002", "https://b.example/")


class Story:
    def __init__(self) -> None:
        self.now = 1000.0
        self.shares = Shares(lambda: self.now, 60.0)

    def begin(self, one: Waiting, count: int = 1) -> list[Attempt]:
        return [self.shares.begin(*one) for _ in range(count)]

    def room(self, one: Waiting) -> int:
        return self.shares.share_out([one], 1000).get(one.mchid, 0)

    def fail(self, one: Waiting, count: int = 1, *, answered: bool = False, for_long: bool = False) -> None:
        for _ in range(count):
            self.shares.begin(*one).failed(answered=answered, for_long=for_long)


def test_a_new_address_gets_few_places_and_more_with_each_event_that_it_receives() -> None:
    story = Story()
    assert story.room(A) == FIRST
    for attempt in story.begin(A, 3):
        attempt.received()
    assert story.room(A) == FIRST + 3
    for attempt in story.begin(A, 100):
        attempt.received()
    assert story.room(A) == EACH_MAX


def test_what_is_on_its_way_takes_a_place_until_it_ends() -> None:
    story = Story()
    first, _ = story.begin(A, 2)
    assert story.room(A) == 0
    first.received()
    assert story.room(A) == 2


def test_the_places_go_round_among_all_who_wait() -> None:
    story = Story()
    for one in (A, B):
        for attempt in story.begin(one, 20):
            attempt.received()
    assert story.shares.share_out([A, B], 6) == {A.mchid: 3, B.mchid: 3}


def test_who_has_none_on_its_way_comes_before_who_has_some() -> None:
    story = Story()
    for attempt in story.begin(A, 20):
        attempt.received()
    story.begin(A, 4)
    assert story.shares.share_out([A, B], 1) == {B.mchid: 1}


def test_with_one_place_those_who_wait_take_turns() -> None:
    story = Story()
    turns = [next(iter(story.shares.share_out([A, B], 1))) for _ in range(4)]
    assert turns in ([A.mchid, B.mchid] * 2, [B.mchid, A.mchid] * 2)


def test_an_address_that_failed_several_times_is_probed_after_pauses_that_double() -> None:
    story = Story()
    story.fail(A, FAILURES_MAX)
    pauses = []
    for _ in range(9):
        began = story.now
        while not story.room(A):
            story.now += 0.5
        pauses.append(story.now - began)
        assert story.room(A) == 1
        story.fail(A)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_while_one_event_probes_an_address_no_other_goes_there() -> None:
    story = Story()
    story.fail(A, FAILURES_MAX)
    story.now += 1
    (probe,) = story.begin(A)
    assert story.room(A) == 0
    probe.received()
    assert story.room(A) > 1


def test_what_fails_together_is_one_step() -> None:
    story = Story()
    for attempt in story.begin(A, 16):
        attempt.failed()
    story.now += 1
    assert story.room(A) == 1


def test_an_address_that_answers_without_a_receipt_is_left_alone_for_less() -> None:
    story = Story()
    story.fail(A, 20, answered=True)
    assert story.room(A) == 0
    story.now += 60 / ANSWERED_PART
    assert story.room(A) == 1


def test_a_name_without_an_address_is_left_alone_at_once_and_for_long() -> None:
    story = Story()
    story.fail(A, for_long=True)
    story.now += 59
    assert story.room(A) == 0
    story.now += 1
    assert story.room(A) == 1


def test_what_was_not_tried_waits_and_is_no_failure() -> None:
    story = Story()
    for attempt in story.begin(A, 2):
        attempt.not_made(7)
    assert story.room(A) == 0
    story.now += 7
    assert story.room(A) == 1
    story.begin(A)[0].received()
    assert story.room(A) == FIRST + 1


def test_another_address_of_a_merchant_begins_anew_and_its_old_one_says_nothing_of_it() -> None:
    story = Story()
    old = story.begin(A, 2)
    story.fail(A, 5)
    moved = A._replace(notify_url="https://a.example/moved")
    assert story.room(moved) == 0  # The old ones still take their places.
    for attempt in old:
        attempt.failed()
    assert story.room(moved) == FIRST


def test_a_clock_that_is_set_back_lets_nobody_wait() -> None:
    story = Story()
    story.fail(A, 20)
    story.now -= 86400
    assert story.room(A) == 1


def test_many_who_fail_leave_places_for_who_comes_new() -> None:
    story = Story()
    silent = [Waiting(f"{number}", "https://silent.example/") for number in range(100)]
    for one in silent:
        story.fail(one, FAILURES_MAX)
    assert story.shares.share_out([*silent, B], 128) == {B.mchid: FIRST}
