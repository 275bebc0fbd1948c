"""A spreadsheet from hell, and word for word what is said of it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from quanma.cli.main import main
from quanma.upload import prepare, report
from quanma.upload.ledger import Ledger
from quanma.upload.source import open_source
from quanma.upload.target import BUSIFAVOR
from tests.support.every import every_row
from tests.support.platform import create_stock, merchant_config, served
from tests.upload.dirty.make import HERE, make

FILES = ["codes.csv", "codes.xlsx"]


@every_row("file", FILES)
def test_the_rejected_report_is_as_it_was(file: str, tmp_path: Path) -> None:
    source = open_source(str(HERE / file))
    with Ledger.create(tmp_path / "a.quanma", target="busifavor", mchid="1900000001", stock_id="1") as ledger:
        planned = prepare.make_plan(ledger, BUSIFAVOR, [source])
        report.write(ledger, tmp_path)
        sent = [code for batch in ledger.batches() for code in batch.codes]
    assert (tmp_path / report.REJECTED).read_text() == (HERE / f"{file}.rejected.jsonl").read_text()
    assert planned.rows == len(sent) + planned.duplicate + planned.rejected
    assert sent == SENT[file]
    assert planned.duplicate == 1


SENT = {
    "codes.csv": [
        "QM-0001",
        "QM-0004 ",
        " QM-0005",
        "qm-0001",
        "QM-0004",
        "QM-0023-0023-0023-0023-0023-0023",
        "QM-0031",
    ],
    "codes.xlsx": [
        "QM-0001",
        "QM-0004 ",
        " QM-0005",
        "0012345",
        "qm-0001",
        "QM-0004",
        "QM-0023-0023-0023-0023-0023-0023",
        "QM-0031",
    ],
}


@every_row("file", FILES)
def test_the_files_are_those_that_the_script_makes(file: str, tmp_path: Path) -> None:
    make(tmp_path)
    # Row by row: a workbook's bytes hold the time and the version of what wrote it.
    again, committed = open_source(str(tmp_path / file)), open_source(str(HERE / file))
    assert list(again.blocks()) == list(committed.blocks())


@pytest.mark.slow
def test_a_dry_run_says_what_it_said(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANMA_CONFIG", str(merchant_config(world)))
    with served(world) as platform:
        monkeypatch.setenv("QUANMA_BASE_URL", platform.url)
        with platform.wechatpay() as wxpay:
            stock_id = create_stock(wxpay, "dirty", max_coupons=5)
        for file in FILES:
            shutil.copy(HERE / file, tmp_path)
            monkeypatch.setattr(sys, "argv", ["quanma", "upload", file, "--stock", stock_id, "--dry-run"])
            with pytest.raises(SystemExit, match="3"):
                main()
            said = re.sub("until [^ \n]+", "until END", capfd.readouterr().err.replace(stock_id, "STOCK"))
            assert said == (HERE / f"{file}.said.txt").read_text()
