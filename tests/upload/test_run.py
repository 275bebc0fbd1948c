"""A whole upload from a program: what it returns, what it tells on the way, how it is stopped and goes on."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from quanma import Wechatpay
from quanma.client import config
from quanma.errors import LedgerRefused, PlanRefused, RequestInvalid, ResourceNotExists
from quanma.upload import Ending, Events, Ledger, Options, Progress, Result, Sending, Uploaded, upload, upload_sync
from quanma.upload.plan import Planned
from quanma.upload.prepare import Objection
from quanma.upload.target import StockFacts
from tests.support.platform import MCHID, Served, create_stock, merchant_config

FAST = 100.0
"""Requests a second from the beginning: what is not about the pace need not wait for it."""


@pytest.fixture(scope="module")
def wxpay(served: Served) -> Iterator[Wechatpay]:
    with served.wechatpay() as wxpay:
        yield wxpay


@pytest.fixture
def stock_id(wxpay: Wechatpay) -> str:
    return create_stock(wxpay, f"run-{time.monotonic_ns()}")


@pytest.fixture(scope="module")
def merchant(served: Served) -> config.Merchant:
    return config.load(merchant_config(served.world), base_url=served.url)


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    """405 codes: three batches."""
    file = tmp_path / "codes.txt"
    file.write_text("".join(f"R{number:04}\n" for number in range(405)), "utf-8")
    return file


class Told(Events):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def _note(self, what: str) -> None:
        if self.said[-1:] != [what]:
            self.said.append(what)

    def stock(self, facts: StockFacts, lines: Sequence[str]) -> None:
        self._note(f"stock {facts.mode}")

    def read(self, rows: int) -> None:
        self._note(f"read {rows}")

    def planned(self, planned: Planned, too_many: str | None) -> None:
        self._note(f"planned {planned.distinct}")

    def sending(self, sending: Sending) -> None:
        self._note("sending")

    def progress(self, progress: Progress) -> None:
        if progress.totals.batches_open == 0:
            self._note(f"stored {progress.totals.stored}")

    def ended(self, ledger: Ledger, result: Result) -> None:
        self._note(f"ended {result.ending.name}")


def test_a_file_is_uploaded_and_every_row_accounted_for(codes: Path, stock_id: str, merchant: config.Merchant) -> None:
    uploaded = upload_sync([str(codes)], Options(stock_id, first_rate=FAST), merchant)
    assert (uploaded.ending, uploaded.reason) == (Ending.FINISHED, "")
    assert uploaded.totals[:6] == (405, 405, 0, 0, 0, 0)
    assert uploaded.ledger == codes.with_name(f"codes.txt.{stock_id}.quanma")


def test_what_happens_is_told_in_its_order(codes: Path, stock_id: str, merchant: config.Merchant) -> None:
    told = Told()
    upload_sync([str(codes)], Options(stock_id, first_rate=FAST), merchant, told)
    assert told.said == [
        "stock MERCHANT_UPLOAD",
        "read 405",
        "planned 405",
        "sending",
        "stored 405",
        "ended FINISHED",
    ]


def test_the_settings_may_be_named_by_their_file(codes: Path, stock_id: str, served: Served, tmp_path: Path) -> None:
    shutil.copytree(merchant_config(served.world).parent, tmp_path / "merchant")
    file = tmp_path / "merchant" / merchant_config(served.world).name
    file.write_text(file.read_text("utf-8").replace("http://127.0.0.1:8460", served.url), "utf-8")
    assert upload_sync([str(codes)], Options(stock_id, first_rate=FAST), file).totals.stored == 405


def test_a_platform_that_is_known_is_asked_as_fast_from_the_beginning(
    codes: Path, stock_id: str, merchant: config.Merchant
) -> None:
    class Rates(Events):
        def __init__(self) -> None:
            self.rates: list[float] = []

        def progress(self, progress: Progress) -> None:
            self.rates.append(progress.rate)

    rates = Rates()
    upload_sync([str(codes)], Options(stock_id, first_rate=FAST), merchant, rates)
    assert min(rates.rates) >= 97


class TestRefused:
    def test_too_many_rejected_rows_send_nothing_and_leave_no_ledger(
        self, tmp_path: Path, stock_id: str, merchant: config.Merchant
    ) -> None:
        (tmp_path / "codes.txt").write_text("A1\n券\n", "utf-8")
        with pytest.raises(PlanRefused, match=r"1 of 2 rows \(50 %\) are rejected, more than 1 %"):
            upload_sync([str(tmp_path / "codes.txt")], Options(stock_id, first_rate=FAST), merchant)
        assert [file.name for file in tmp_path.glob("codes*")] == ["codes.txt"]

    def test_somebody_may_allow_them(self, tmp_path: Path, stock_id: str, merchant: config.Merchant) -> None:
        class Allows(Events):
            def confirm(self, objection: Objection, planned: Planned) -> bool:
                return planned.rejected == 1

        (tmp_path / "codes.txt").write_text("A1\n券\n", "utf-8")
        uploaded = upload_sync([str(tmp_path / "codes.txt")], Options(stock_id, first_rate=FAST), merchant, Allows())
        assert uploaded.totals[:6] == (2, 1, 0, 0, 1, 0)

    def test_an_error_of_who_listens_ends_it_and_leaves_no_ledger(
        self, codes: Path, stock_id: str, merchant: config.Merchant
    ) -> None:
        class Fails(Events):
            def planned(self, planned: Planned, too_many: str | None) -> None:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            upload_sync([str(codes)], Options(stock_id, first_rate=FAST), merchant, Fails())
        assert [file.name for file in codes.parent.glob("codes*")] == ["codes.txt"]

    def test_a_ledger_that_is_there_is_not_taken_over_unasked(
        self, codes: Path, stock_id: str, merchant: config.Merchant
    ) -> None:
        upload_sync([str(codes)], Options(stock_id, first_rate=FAST), merchant)
        with pytest.raises(LedgerRefused, match="is there already"):
            upload_sync([str(codes)], Options(stock_id, first_rate=FAST), merchant)
        again = upload_sync([str(codes)], Options(stock_id, first_rate=FAST, restart=True), merchant)
        assert again.totals.existed == 405

    def test_nothing_to_upload(self, stock_id: str, merchant: config.Merchant) -> None:
        with pytest.raises(RequestInvalid, match="name a file"):
            upload_sync([], Options(stock_id, first_rate=FAST), merchant)

    def test_a_stock_that_is_not_there(self, codes: Path, merchant: config.Merchant) -> None:
        with pytest.raises(ResourceNotExists):
            upload_sync([str(codes)], Options("12345"), merchant)


class TestStopping:
    """The rate is so low that the third batch waits."""

    def test_it_is_stopped_and_goes_on(self, codes: Path, stock_id: str, merchant: config.Merchant) -> None:
        class Stops(Events):
            def sending(self, sending: Sending) -> None:
                self._sending = sending

            def progress(self, progress: Progress) -> None:
                if progress.totals.stored == 400:
                    self._sending.stop()

        stopped = upload_sync([str(codes)], Options(stock_id, rate=0.01), merchant, Stops())
        assert (stopped.ending, stopped.totals.stored, stopped.totals.pending) == (Ending.STOPPED, 400, 5)
        resumed = upload_sync([str(codes)], Options(stock_id, resume=True), merchant)
        assert (resumed.ending, resumed.totals.stored, resumed.totals.requests) == (Ending.FINISHED, 405, 3)

    def test_asked_twice_it_drops_what_is_under_way(
        self, codes: Path, stock_id: str, merchant: config.Merchant
    ) -> None:
        class StopsTwice(Events):
            def sending(self, sending: Sending) -> None:
                self.firsts = [sending.stop(), sending.stop()]

        events = StopsTwice()
        stopped = upload_sync([str(codes)], Options(stock_id, first_rate=FAST), merchant, events)
        assert events.firsts == [True, False]
        assert (stopped.ending, stopped.totals.pending) == (Ending.STOPPED, 405)

    def test_its_task_is_cancelled_as_any_other(self, codes: Path, stock_id: str, merchant: config.Merchant) -> None:
        async def run() -> None:
            class Cancels(Events):
                def progress(self, progress: Progress) -> None:
                    if progress.totals.stored == 400:
                        running.cancel()

            options = Options(stock_id, rate=0.01)
            running: asyncio.Task[Uploaded] = asyncio.create_task(upload([str(codes)], options, merchant, Cancels()))
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(run())
        path = codes.with_name(f"codes.txt.{stock_id}.quanma")
        with Ledger.resume(path, target="busifavor", mchid=MCHID, stock_id=stock_id) as ledger:
            assert (ledger.totals().stored, ledger.totals().batches_open) == (400, 1)
