"""`quanma watch` and `quanma refill`: a low stock is told of once, and again after a refill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quanma import Wechatpay
from quanma.cli.level import Alarm
from tests.cli.conftest import Quanma
from tests.support.every import every_row
from tests.support.way import Answer, Message, answering


class Hook(NamedTuple):
    url: str
    came: list[dict[str, Any]]
    status: list[int]


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook that takes what comes, or answers the status that is set."""
    came: list[dict[str, Any]] = []
    status = [200]

    def taken(message: Message, verb: str) -> Answer:
        came.append({"verb": verb, "target": message.target, **json.loads(message.body)})
        return Answer(status[0], {}, b"")

    with answering(taken) as url:
        yield Hook(f"{url}/low?key=secret-word", came, status)


def upload(wxpay: Wechatpay, stock_id: str, *codes: str) -> None:
    wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes.post(
        stock_id=stock_id, coupon_code_list=list(codes), upload_request_no=f"level-{codes[0]}"
    )


@every_row(
    ("levels", "told"),
    [
        ([9, 9, 9], [9]),
        ([20, 9, 8, 20, 9], [9, 9]),
        ([9, 10, 9], [9, 9]),
        ([10, 11], []),
        ([0, 5, 9], [0]),
    ],
)
def test_it_is_told_once_and_again_after_a_refill(levels: list[int], told: list[int]) -> None:
    alarm, found = Alarm(below=10), []
    for available in levels:
        if alarm.is_due(available):
            found.append(available)
            alarm.told()
    assert found == told


def test_what_did_not_arrive_is_due_again() -> None:
    alarm = Alarm(below=10)
    assert [alarm.is_due(9), alarm.is_due(9)] == [True, True]
    alarm.told()
    assert alarm.is_due(9) is False


def test_runs_by_cron_tell_once_and_again_after_a_refill(
    quanma: Quanma, wxpay: Wechatpay, stock_id: str, hook: Hook
) -> None:
    def look() -> tuple[int, int]:
        ended = quanma("watch", "--stock", stock_id, "--below", "3", "--state", "w.json", "--webhook", hook.url)
        assert "secret-word" not in ended.out + ended.err
        return ended.status, len(hook.came)

    assert [look(), look()] == [(3, 1), (3, 1)]
    upload(wxpay, stock_id, "A1", "B2", "C3")
    assert [look(), look()] == [(0, 1), (0, 1)]
    wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes._coupon_code_.delete(
        stock_id=stock_id, coupon_code="A1", delete_request_no="level-delete"
    )
    assert [look(), look()] == [(3, 2), (3, 2)]
    assert [(one["verb"], one["target"], one["available_count"]) for one in hook.came] == [
        ("POST", "/low?key=secret-word", 0),
        ("POST", "/low?key=secret-word", 2),
    ]
    assert hook.came[0]["text"]["content"] == f"stock {stock_id}: 0 codes are available, fewer than 3"


def test_a_webhook_that_takes_nothing_is_tried_again_by_the_next_run(quanma: Quanma, stock_id: str, hook: Hook) -> None:
    arguments = ("watch", "--stock", stock_id, "--below", "3", "--state", "w.json", "--webhook", hook.url)
    hook.status[0] = 500
    ended = quanma(*arguments)
    assert (ended.status, "the webhook answers HTTP 500" in ended.err, "secret-word" in ended.err) == (1, True, False)
    hook.status[0] = 204
    assert [quanma(*arguments).status, len(hook.came)] == [3, 2]


def test_a_webhook_that_is_away_is_told_in_words(quanma: Quanma, stock_id: str) -> None:
    ended = quanma("watch", "--stock", stock_id, "--below", "3", "--webhook", "http://127.0.0.1:1/secret-word")
    assert (ended.status, "the webhook took nothing" in ended.err, "secret-word" in ended.err) == (1, True, False)


def test_it_goes_on_looking_until_it_is_stopped(
    quanma: Quanma, wxpay: Wechatpay, stock_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = [False, True, False]
    """Whether codes come before the next look."""

    def between_looks(seconds: float) -> None:
        assert seconds == 60
        if not rounds:
            raise KeyboardInterrupt
        if rounds.pop(0):
            upload(wxpay, stock_id, "A1", "B2", "C3")

    monkeypatch.setattr("quanma.cli.watch.time.sleep", between_looks)
    ended = quanma("watch", "--stock", stock_id, "--below", "3", "--every", "60")
    assert (ended.status, ended.out) == (130, f"stock {stock_id}: 0 codes are available, fewer than 3\n")


def test_a_state_file_of_something_else_is_not_overwritten(quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    ended = quanma("watch", "--stock", stock_id, "--below", "3", "--state", "notes.txt")
    assert (ended.status, (tmp_path / "notes.txt").read_text()) == (1, "mine")


def test_a_refill_takes_the_next_file_until_there_is_enough(quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"codes-{number}.txt").write_text("".join(f"R{number}-{n}\n" for n in range(4)))
    names = ("codes-1.txt", "codes-2.txt", "codes-3.txt")
    ended = quanma("refill", *names, "--stock", stock_id, "--below", "6")
    assert (ended.status, ended.out.splitlines()) == (
        0,
        [
            "codes-1.txt: 4 codes stored, 0 there before, 0 rejected",
            "codes-2.txt: 4 codes stored, 0 there before, 0 rejected",
            f"stock {stock_id}: 8 codes are available",
        ],
    )
    assert quanma("refill", *names, "--stock", stock_id, "--below", "6").out.count("stored") == 0
    ended = quanma("refill", *names, "--stock", stock_id, "--below", "50")
    assert (ended.status, ended.out.count("codes-3.txt: 4 codes stored"), ended.err) == (
        3,
        1,
        "no file is left: name more\n",
    )


def test_a_refill_names_a_file_that_is_not_there(quanma: Quanma, stock_id: str) -> None:
    ended = quanma("refill", "absent.txt", "--stock", stock_id, "--below", "6")
    assert (ended.status, ended.err) == (
        1,
        "quanma: there is no file absent.txt: name files of codes, like codes-*.txt\n",
    )
