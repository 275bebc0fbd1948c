"""A ledger beside the platform's list: the mark of each code, and what is not called complete."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quanma.errors import NoAuth, ResourceNotExists
from quanma.upload import verify
from quanma.upload.target import BUSIFAVOR, ListedCode, Sender, Target
from tests.support.line import Office, Story
from tests.support.platform import APPID, InProcess

Marked = list[tuple[str, str]]


@pytest.fixture(scope="module")
def office(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    world = Path(shutil.copytree(made_world, tmp_path_factory.mktemp("verified") / "world"))
    platform = InProcess(world, "sqlite:///quanma.db")
    yield Office(platform)
    platform.close()


@pytest.fixture
def story(office: Office, tmp_path: Path) -> Iterator[Story]:
    with Story(office, tmp_path, f"verified-{time.monotonic_ns()}") as story:
        yield story


def compared(
    office: Office, story: Story, folder: Path, target: Target = BUSIFAVOR
) -> tuple[verify.Compared, list[tuple[str, str]]]:
    """The outcome, and each code with its mark."""
    marked: Marked = []

    async def compare() -> verify.Compared:
        client = office.platform.async_wechatpay()
        return await verify.compare(
            story.ledger, target, client, folder, lambda sign, code: marked.append((sign, code))
        )

    outcome = asyncio.run(compare())
    assert list(folder.glob(".quanma-verify*")) == []
    return outcome, sorted(marked)


def listing(codes: list[str], *, at_most: int = 1000, then: Callable[[int], None] = lambda page: None) -> Target:
    """The target, but its list is `codes` in pages of `at_most`. `then` is called after each page, with its number."""
    pages = itertools.count(1)

    async def list_codes(client: Sender, stock_id: str, offset: int, limit: int) -> list[ListedCode]:
        page = [ListedCode(code, given=False) for code in codes[offset : offset + min(limit, at_most)]]
        then(next(pages))
        return page

    return BUSIFAVOR._replace(list_codes=list_codes)


def test_each_code_has_its_mark(office: Office, story: Story, tmp_path: Path) -> None:
    story.plan(["A1"], ["A2"], ["GONE"])
    story.send()
    busifavor = office.wechatpay.v3.marketing.busifavor
    busifavor.stocks[story.stock_id].couponcodes["GONE"].delete(delete_request_no="d1")
    # Of the two that are left, one at random.
    drawn = busifavor.coupons.send.post(
        stock_id=story.stock_id, openid="oUser", appid=APPID, out_request_no="n1"
    ).send_coupon_result.coupon_code
    story.somebody_stores("THEIRS")
    outcome, marked = compared(office, story, tmp_path)
    (free,) = {"A1", "A2"} - {drawn}
    assert marked == [("*", drawn), ("+", "GONE"), ("-", "THEIRS"), ("=", free)]
    assert outcome.marks == {"=": 1, "*": 1, "+": 1, "-": 1, "?": 0}
    assert (outcome.complete, outcome.agrees) == (True, False)


def test_what_is_not_settled_is_neither_mine_nor_somebodys(office: Office, story: Story, tmp_path: Path) -> None:
    story.plan(["A1"], ["B2"])
    story.somebody_stores("B2")
    outcome, marked = compared(office, story, tmp_path)
    assert marked == [("?", "A1"), ("?", "B2")]
    assert outcome.counts == verify.Counts(mine=0, pending=2, there=1)
    assert (outcome.complete, outcome.agrees) == (True, True)


def test_everything_of_mine_is_there(office: Office, story: Story, tmp_path: Path) -> None:
    story.plan(["A1", "A2"])
    story.send()
    outcome, marked = compared(office, story, tmp_path)
    assert marked == [("=", "A1"), ("=", "A2")]
    assert (outcome.complete, outcome.agrees) == (True, True)


def test_a_short_page_is_not_the_last(office: Office, story: Story, tmp_path: Path) -> None:
    story.plan(["A1", "A2", "A3"])
    story.send()
    outcome, _ = compared(office, story, tmp_path, listing(["A1", "A2", "A3"], at_most=2))
    assert outcome.marks == {"=": 3, "*": 0, "+": 0, "-": 0, "?": 0}
    assert outcome.complete


@pytest.mark.parametrize(
    "listed",
    [["A1", "A2"], ["A1", "A1", "A2"], ["A1", "A2", "A3", "A4"], []],
    ids=["too few", "one twice", "too many", "none"],
)
def test_a_list_of_another_length_than_the_stock_says_is_not_complete(
    office: Office, story: Story, tmp_path: Path, listed: list[str]
) -> None:
    story.plan(["A1", "A2", "A3"])
    story.send()
    outcome, _ = compared(office, story, tmp_path, listing(listed))
    assert (outcome.complete, outcome.agrees) == (False, False)


def test_a_list_from_which_one_goes_while_another_comes_is_not_complete(
    office: Office, story: Story, tmp_path: Path
) -> None:
    """One goes and another comes: the stock's count stays, and what stood between two pages is in neither."""
    story.plan(["A1", "A2", "A3", "A4"])
    story.send()
    listed = ["A1", "A2", "A3", "A4"]

    def move(page: int) -> None:
        if page == 1:
            listed[:] = ["A2", "A3", "A4", "B1"]

    outcome, _ = compared(office, story, tmp_path, listing(listed, at_most=2, then=move))
    assert not outcome.complete
    assert not outcome.agrees


def test_a_code_that_comes_while_the_list_is_read_makes_it_incomplete(
    office: Office, story: Story, tmp_path: Path
) -> None:
    story.plan(["A1", "A2"])
    story.send()
    real = BUSIFAVOR.list_codes
    assert real is not None

    async def moving(client: Sender, stock_id: str, offset: int, limit: int) -> list[ListedCode]:
        page = await real(client, stock_id, offset, limit)
        if offset:  # The end, after both codes.
            await asyncio.to_thread(story.somebody_stores, "B1")
        return page

    outcome, _ = compared(office, story, tmp_path, BUSIFAVOR._replace(list_codes=moving))
    assert (outcome.complete, outcome.agrees) == (False, False)


@pytest.mark.parametrize(
    "refusal",
    [NoAuth("no", code="NO_AUTH", status_code=403), ResourceNotExists("no", code="X", status_code=404)],
    ids=["403", "404"],
)
@pytest.mark.parametrize("page", [1, 2])
def test_where_the_list_is_not_open_only_the_counts_are_compared(
    office: Office, story: Story, tmp_path: Path, refusal: Exception, page: int
) -> None:
    story.plan(["A1", "A2"])
    story.send()

    def refuse(number: int) -> None:
        if number == page:
            raise refusal

    outcome, marked = compared(office, story, tmp_path, listing(["A1", "A2"], at_most=1, then=refuse))
    assert outcome == verify.Compared(verify.Counts(mine=2, pending=0, there=2), None, complete=False)
    assert marked == []
    assert outcome.agrees


def test_a_target_without_a_list_has_its_counts(office: Office, story: Story, tmp_path: Path) -> None:
    story.plan(["A1"])
    story.send()
    office.wechatpay.v3.marketing.busifavor.stocks[story.stock_id].couponcodes["A1"].delete(delete_request_no="d1")
    outcome, _ = compared(office, story, tmp_path, BUSIFAVOR._replace(list_codes=None))
    assert outcome.counts == verify.Counts(mine=1, pending=0, there=0)
    assert not outcome.agrees
