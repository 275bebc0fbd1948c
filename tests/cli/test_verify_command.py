"""`quanma verify`: the marks in words and as a file, and an exit status that a script can rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from quanma import Wechatpay
from quanma.errors import NoAuth
from quanma.upload.target import BUSIFAVOR, TARGETS, ListedCode, Sender
from tests.cli.conftest import Quanma
from tests.support.platform import mode_of


@pytest.fixture
def uploaded(quanma: Quanma, stock_id: str, codes: str) -> str:
    """The ledger of A1, B2 and C3, all stored."""
    assert quanma("upload", codes, "--stock", stock_id).status == 0
    return f"codes.txt.{stock_id}.quanma"


def test_all_of_mine_is_there(quanma: Quanma, uploaded: str, tmp_path: Path) -> None:
    ended = quanma("verify", uploaded, "--combined", "combined.txt")
    assert ended.status == 0
    assert ended.out.splitlines() == [
        "by the ledger 3 codes are in the stock, 0 are not settled; the stock says that it holds 3",
        "  =            3  mine, and there, free to be drawn",
        "  *            0  mine, and there, in a user's hands",
        "  +            0  mine, and not there",
        "  -            0  there, and not mine",
        "  ?            0  mine, not settled yet",
    ]
    assert (tmp_path / "combined.txt").read_text() == "= A1\n= B2\n= C3\n"
    assert mode_of(tmp_path / "combined.txt") == 0o600


def test_what_is_missing_ends_with_1(quanma: Quanma, wxpay: Wechatpay, stock_id: str, uploaded: str) -> None:
    wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes["B2"].delete(delete_request_no="d1")
    ended = quanma("verify", uploaded)
    assert ended.status == 1
    assert "  +            1  mine, and not there\n" in ended.out


def test_a_list_that_can_not_be_read_whole_ends_with_4(
    quanma: Quanma, uploaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(client: Sender, stock_id: str, offset: int, limit: int) -> list[ListedCode]:
        raise NoAuth("not yours", status_code=403)

    async def short(client: Sender, stock_id: str, offset: int, limit: int) -> list[ListedCode]:
        return [ListedCode("A1", given=False)] if offset == 0 else []

    monkeypatch.setitem(TARGETS, BUSIFAVOR.name, BUSIFAVOR._replace(list_codes=closed))
    ended = quanma("verify", uploaded)
    assert (ended.status, ended.out.splitlines()[-1]) == (
        4,
        "the list of codes is not open here: only the counts were compared",
    )
    monkeypatch.setitem(TARGETS, BUSIFAVOR.name, BUSIFAVOR._replace(list_codes=short))
    ended = quanma("verify", uploaded)
    assert ended.status == 4
    assert ended.out.splitlines()[-1].startswith("not complete: codes came or went while the list was read")


def test_a_ledger_that_is_not_there_is_named(quanma: Quanma) -> None:
    ended = quanma("verify", "no.quanma")
    assert ended.status == 1
    assert "no.quanma" in ended.err
