"""`quanma upload` as a user or a script meets it: the exit status, the sums, and words that lead on."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openpyxl import Workbook

from quanma import Wechatpay
from tests.cli.conftest import JSON_KEYS, Ended, Quanma
from tests.support.every import every_row
from tests.support.faults import REFUSED, SILENCE_AFTER, faults
from tests.support.platform import OTHER_MCHID, Served, create_stock, merchant_config, mode_of


def pool(wxpay: Wechatpay, stock_id: str) -> list[str]:
    listed = wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes.get(limit=1000)
    return sorted(code.code for code in listed.data)


class TestDone:
    def test_it_says_where_every_row_is_and_ends_with_0(self, quanma: Quanma, stock_id: str, codes: str) -> None:
        status, out, err = quanma("upload", codes, "--stock", stock_id)
        assert status == 0
        sums, buckets, requests = out.splitlines()
        assert sums == f"stock {stock_id}: 3 of 3 rows accounted for"
        assert buckets == "  stored 3   existed 0   duplicate 0   rejected 0   pending 0"
        assert requests.startswith("  1 requests, 0 of them retries, in 0.")
        assert requests.endswith(f"; ledger codes.txt.{stock_id}.quanma")
        assert "codes.txt: text, one code a line\n" in err
        assert "3 rows: 3 codes to send, 0 repeat an earlier row, 0 rejected\n" in err

    def test_json_is_one_object_with_the_contract_s_keys(self, quanma: Quanma, stock_id: str, codes: str) -> None:
        ended = quanma("upload", codes, "--stock", stock_id, "--json")
        printed = json.loads(ended.out)
        assert list(printed) == JSON_KEYS
        assert ended.out.count("\n") == 1
        assert (printed["stock_id"], printed["ledger"]) == (stock_id, f"codes.txt.{stock_id}.quanma")
        assert ended.sums == {"rows": 3, "stored": 3}

    def test_the_platform_holds_the_codes_and_the_ledger_is_private(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, codes: str, tmp_path: Path
    ) -> None:
        quanma("upload", codes, "--stock", stock_id, "--ledger", "mine.quanma")
        assert pool(wxpay, stock_id) == ["A1", "B2", "C3"]
        assert mode_of(tmp_path / "mine.quanma") == 0o600

    @pytest.mark.slow
    def test_rejected_rows_end_with_3_and_the_way_to_see_them(
        self, quanma: Quanma, stock_id: str, tmp_path: Path
    ) -> None:
        (tmp_path / "codes.txt").write_text("A1\nA1\n券码\n")
        ended = quanma("upload", "codes.txt", "--stock", stock_id, "--json", "--max-rejected", "40%")
        assert (ended.status, ended.sums) == (3, {"rows": 3, "stored": 1, "duplicate": 1, "rejected": 1})
        assert f"next: see the rejected rows with  quanma report codes.txt.{stock_id}.quanma --out DIR" in ended.err

    @pytest.mark.slow
    def test_what_was_there_before_existed(self, quanma: Quanma, stock_id: str, codes: str) -> None:
        quanma("upload", codes, "--stock", stock_id)
        ended = quanma("upload", codes, "--stock", stock_id, "--restart", "--json")
        assert (ended.status, ended.sums) == (0, {"rows": 3, "existed": 3})

    @pytest.mark.slow
    def test_a_resume_of_what_is_done_sends_nothing(self, quanma: Quanma, stock_id: str, codes: str) -> None:
        quanma("upload", codes, "--stock", stock_id)
        ended = quanma("upload", codes, "--stock", stock_id, "--resume", "--json")
        assert (ended.status, ended.sums) == (0, {"rows": 3, "stored": 3})
        assert json.loads(ended.out)["requests"] == 1

    @pytest.mark.slow
    def test_its_status_can_be_asked_for(self, quanma: Quanma, stock_id: str, codes: str) -> None:
        done = quanma("upload", codes, "--stock", stock_id, "--json")
        asked = quanma("upload-status", f"codes.txt.{stock_id}.quanma", "--json")
        assert (asked.status, asked.out) == (0, done.out)


class TestInputs:
    def test_standard_input(
        self, quanma: Quanma, stock_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"A1\nB2\n")))
        ended = quanma("upload", "-", "--stock", stock_id, "--json")
        assert (ended.status, ended.sums) == (0, {"rows": 2, "stored": 2})
        assert (tmp_path / f"stdin.{stock_id}.quanma").exists()

    @pytest.mark.slow
    def test_several_files_are_one_upload(self, quanma: Quanma, stock_id: str, codes: str, tmp_path: Path) -> None:
        (tmp_path / "more.txt").write_text("C3\nD4\n")
        ended = quanma("upload", codes, "more.txt", "--stock", stock_id, "--json")
        assert ended.sums == {"rows": 5, "stored": 4, "duplicate": 1}
        quanma("report", f"codes.txt.{stock_id}.quanma", "--out", "report")
        assert "more.txt:1,C3,duplicate,repeats row codes.txt:3," in (tmp_path / "report/report.csv").read_text()

    @pytest.mark.slow
    @pytest.mark.parametrize("column", ["券", "2"])
    def test_a_column_by_name_or_number(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path, column: str
    ) -> None:
        (tmp_path / "codes.csv").write_text("no,券\n1,A1\n2,B2\n")
        assert quanma("upload", "codes.csv", "--stock", stock_id, "--column", column).status == 0
        assert pool(wxpay, stock_id) == ["A1", "B2"]

    @pytest.mark.slow
    def test_a_workbook(self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path) -> None:
        book = Workbook()
        assert book.active is not None
        for code in ("code", "A1", "00123"):
            book.active.append([code])
        book.save(tmp_path / "codes.xlsx")
        assert quanma("upload", "codes.xlsx", "--stock", stock_id).status == 0
        assert pool(wxpay, stock_id) == ["00123", "A1"]

    def test_a_dry_run_reads_everything_and_sends_nothing(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path
    ) -> None:
        (tmp_path / "codes.txt").write_text("".join(f"A{number}\n" for number in range(1001)) + "券\n")
        ended = quanma("upload", "codes.txt", "--stock", stock_id, "--dry-run")
        assert ended.status == 3
        assert "would send 1,001 codes in 6 requests:\n  at   1 requests/s: 6.0 s\n" in ended.err
        assert pool(wxpay, stock_id) == []
        assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["codes.txt"]


class TestRefusedBeforeTheFirstRequest:
    @every_row(
        ("arguments", "said"),
        [
            (["--stock", "1"], "name a FILE, or - for standard input, or --sql URL QUERY"),
            (["codes.txt"], "Missing option '--stock'"),
            (["codes.txt", "--stock", "1", "--resume", "--restart"], "--resume and --restart exclude each other"),
            (["codes.txt", "--stock", "1", "--rate", "fast"], "'fast' is not a valid float"),
            (["codes.txt", "--stock", "1", "--concurrency", "65"], "65 is not in the range 1<=x<=64"),
            (["codes.txt", "--stock", "1", "--force"], "No such option"),
        ],
    )
    def test_wrong_usage_ends_with_2(self, quanma: Quanma, codes: str, arguments: list[str], said: str) -> None:
        status, out, err = quanma("upload", *arguments)
        assert (status, out) == (2, "")
        assert said in err

    def test_a_file_that_is_not_there(self, quanma: Quanma, stock_id: str) -> None:
        assert quanma("upload", "nowhere.txt", "--stock", stock_id) == (
            1,
            "",
            "quanma: nowhere.txt cannot be read: No such file or directory\n",
        )

    @pytest.mark.slow
    def test_a_file_that_breaks_at_its_end_sends_nothing(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path
    ) -> None:
        (tmp_path / "codes.txt").write_bytes(b"".join(b"A%d\n" % number for number in range(100_000)) + b"\xff\n")
        ended = quanma("upload", "codes.txt", "--stock", stock_id)
        assert ended.status == 1
        assert "quanma: codes.txt: row 100001 is not UTF-8 (byte 0xFF" in ended.err
        assert pool(wxpay, stock_id) == []

    def test_a_stock_that_is_not_there(self, quanma: Quanma, codes: str) -> None:
        status, out, err = quanma("upload", codes, "--stock", "98065001")
        assert (status, out) == (1, "")
        assert "quanma: 404 RESOURCE_NOT_EXISTS: 批次不存在" in err

    def test_a_stock_of_another_mode(self, quanma: Quanma, wxpay: Wechatpay, codes: str) -> None:
        stock_id = create_stock(wxpay, f"mode-{time.monotonic_ns()}", coupon_code_mode="WECHATPAY_MODE")
        status, _, err = quanma("upload", codes, "--stock", stock_id)
        assert status == 1
        assert err.endswith(
            f"quanma: stock {stock_id} has coupon_code_mode WECHATPAY_MODE, and only MERCHANT_UPLOAD takes codes; "
            "the mode can't be changed, create a new stock\n"
        )

    @pytest.mark.slow
    def test_a_ledger_that_is_there(self, quanma: Quanma, stock_id: str, codes: str) -> None:
        quanma("upload", codes, "--stock", stock_id)
        status, out, err = quanma("upload", codes, "--stock", stock_id)
        assert (status, out) == (1, "")
        assert (
            f"quanma: codes.txt.{stock_id}.quanma is there already: --resume goes on with it, --restart begins anew"
            in err
        )

    def test_no_ledger_to_resume(self, quanma: Quanma, stock_id: str, codes: str) -> None:
        status, _, err = quanma("upload", codes, "--stock", stock_id, "--resume")
        assert status == 1
        assert "there is no ledger" in err
        assert "start without --resume" in err

    @pytest.mark.slow
    def test_a_file_that_changed(self, quanma: Quanma, stock_id: str, codes: str, tmp_path: Path) -> None:
        quanma("upload", codes, "--stock", stock_id)
        (tmp_path / codes).write_text("A1\nB2\nC4\n")
        status, out, err = quanma("upload", codes, "--stock", stock_id, "--resume")
        assert (status, out) == (1, "")
        assert "codes.txt changed since it was planned: put the old file back to resume" in err

    @pytest.mark.slow
    def test_other_files_or_another_way_to_read_them(
        self, quanma: Quanma, stock_id: str, codes: str, tmp_path: Path
    ) -> None:
        quanma("upload", codes, "--stock", stock_id)
        ledger = f"codes.txt.{stock_id}.quanma"
        shutil.copy(tmp_path / codes, tmp_path / "copy.txt")
        renamed = quanma("upload", "copy.txt", "--stock", stock_id, "--resume", "--ledger", ledger)
        assert renamed.status == 1
        assert f"{ledger} was planned from codes.txt: name the same files" in renamed.err
        trimmed = quanma("upload", codes, "--stock", stock_id, "--resume", "--trim")
        assert trimmed.status == 1
        assert "was planned with --column (none) and without --trim: use the same" in trimmed.err

    @pytest.mark.slow
    def test_another_merchant(
        self,
        quanma: Quanma,
        served: Served,
        stock_id: str,
        codes: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        quanma("upload", codes, "--stock", stock_id)
        monkeypatch.setenv("QUANMA_CONFIG", str(merchant_config(served.world, OTHER_MCHID)))
        status, _, err = quanma("upload", codes, "--stock", stock_id, "--resume")
        assert (status, "404 RESOURCE_NOT_EXISTS" in err) == (1, True)


class TestUnfinished:
    @pytest.mark.slow
    def test_a_full_stock_ends_with_4_and_a_file_of_the_rest(
        self, quanma: Quanma, wxpay: Wechatpay, tmp_path: Path
    ) -> None:
        stock_id = create_stock(wxpay, f"full-{time.monotonic_ns()}", max_coupons=250)
        (tmp_path / "codes.txt").write_text("".join(f"A{number}\n" for number in range(450)))
        ended = quanma("upload", "codes.txt", "--stock", stock_id, "--json", "--concurrency", "1")
        assert (ended.status, ended.sums) == (4, {"rows": 450, "stored": 200, "pending": 250})
        assert "warning: 450 codes are more than the 250 that the stock has room for: raise max_coupons" in ended.err
        assert "stopped: the stock is full: 400 INVALID_REQUEST: 上传的自定义code已达上限" in ended.err
        leftover = f"codes.txt.{stock_id}.quanma.report/leftover.txt"
        assert f"next: raise max_coupons and resume, or upload {leftover} into another stock\n" in ended.err
        assert (tmp_path / leftover).read_text() == "".join(f"A{number}\n" for number in range(200, 450))
        again = create_stock(wxpay, f"again-{time.monotonic_ns()}")
        assert quanma("upload", leftover, "--stock", again, "--json").sums == {"rows": 250, "stored": 250}

    @pytest.mark.slow
    def test_a_platform_that_refuses_everything_ends_with_4_and_resumes(
        self, quanma: Quanma, served: Served, stock_id: str, codes: str
    ) -> None:
        with faults(served.url, 1, share=1.0, deck={REFUSED: 1}) as proxy:
            os.environ["QUANMA_BASE_URL"] = proxy.url
            ended = quanma("upload", codes, "--stock", stock_id, "--json")
        assert (ended.status, ended.sums) == (4, {"rows": 3, "pending": 3})
        assert "stopped: the platform refuses every request: 400 INVALID_REQUEST: from the proxy" in ended.err
        assert ended.err.endswith("  next: the same command with --resume\n")
        os.environ["QUANMA_BASE_URL"] = served.url
        assert quanma("upload", codes, "--stock", stock_id, "--json", "--resume").sums == {"rows": 3, "stored": 3}

    @pytest.mark.slow
    @pytest.mark.parametrize(("bytes_max", "planned"), [(600_000, True), (60_000, False)])
    def test_a_full_disk_ends_with_4_and_resumes(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path, bytes_max: int, planned: bool
    ) -> None:
        (tmp_path / "codes.txt").write_text("".join(f"A{number}\n" for number in range(6000)))
        done = subprocess.run(
            [sys.executable, "-m", "quanma", "upload", "codes.txt", "--stock", stock_id],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max)),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, "Traceback" in done.stderr) == (4, False), done.stderr
        assert "free the disk" in done.stderr
        assert bool(pool(wxpay, stock_id)) == planned
        ended = quanma("upload", "codes.txt", "--stock", stock_id, "--json", "--resume")
        assert (ended.status, ended.sums) == (0, {"rows": 6000, "stored": 6000})

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_ctrl_c_finishes_what_is_under_way_and_ends_with_130(
        self, quanma: Quanma, served: Served, wxpay: Wechatpay, stock_id: str, tmp_path: Path, number: int
    ) -> None:
        (tmp_path / "codes.txt").write_text("".join(f"A{number}\n" for number in range(2000)))
        command = [sys.executable, "-m", "quanma", "upload", "codes.txt", "--stock", stock_id, "--json"]
        with faults(served.url, 1, share=0.0, deck={}) as proxy:
            environment = {**os.environ, "QUANMA_BASE_URL": proxy.url}
            with subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                # Once: at the second one it would not wait for what is under way.
                signals = [number]
                proxy.on_answer = lambda: process.send_signal(signals.pop()) if signals else None
                out, err = process.communicate(timeout=100)
        stopped = Ended(process.returncode, out, err)
        assert stopped.status == 130
        assert "stopping: what is under way is finished first; Ctrl-C again stops at once" in err
        assert stopped.sums["stored"] + stopped.sums["pending"] == 2000
        assert len(pool(wxpay, stock_id)) == stopped.sums["stored"]
        ended = quanma("upload", "codes.txt", "--stock", stock_id, "--json", "--resume")
        assert (ended.status, ended.sums) == (0, {"rows": 2000, "stored": 2000})

    @pytest.mark.slow
    def test_a_second_ctrl_c_stops_at_once(self, quanma: Quanma, served: Served, stock_id: str, codes: str) -> None:
        command = [sys.executable, "-m", "quanma", "upload", codes, "--stock", stock_id, "--json"]
        with faults(served.url, 1, share=1.0, deck={SILENCE_AFTER: 1}) as proxy:
            environment = {**os.environ, "QUANMA_BASE_URL": proxy.url}
            with subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                while not proxy.counts[SILENCE_AFTER]:
                    time.sleep(0.01)
                process.send_signal(signal.SIGINT)
                assert process.stderr is not None
                while "stopping" not in (line := process.stderr.readline()):
                    assert line
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=10)
        stopped = Ended(process.returncode, out, err)
        assert (stopped.status, stopped.sums, "Traceback" in err) == (130, {"rows": 3, "pending": 3}, False)
        ended = quanma("upload", codes, "--stock", stock_id, "--json", "--resume")
        assert (ended.status, ended.sums) == (0, {"rows": 3, "stored": 3})


@pytest.mark.slow
def test_no_message_holds_a_whole_code(quanma: Quanma, wxpay: Wechatpay, tmp_path: Path) -> None:
    stock_id = create_stock(wxpay, f"secret-{time.monotonic_ns()}", max_coupons=2)
    (tmp_path / "codes.csv").write_text("HUSH-123456,SECRET-123456\nHUSH-234567,SECRET-234567\n")
    (tmp_path / "codes.txt").write_text(
        " SECRET-345678\nSECRET-456789券\nSECRET-567890\nSECRET-567890\nSECRET-678901\nSECRET-789012" + 30 * "3"
    )
    said = [
        quanma("upload", "codes.csv", "--stock", stock_id),
        quanma("upload", "codes.txt", "--stock", stock_id, "--dry-run"),
        quanma("upload", "codes.txt", "--stock", stock_id),
        quanma("upload", "codes.txt", "--stock", stock_id, "--max-rejected", "50%", "--report", "report"),
        quanma("upload", "codes.txt", "--stock", stock_id),
        quanma("codes", "check", "codes.txt", "--strict"),
    ]
    assert [ended.status for ended in said] == [1, 3, 3, 4, 1, 3]
    for ended in said:
        assert ended.err
        assert "SECRET" not in ended.err + ended.out
        assert "HUSH" not in ended.err + ended.out
