"""`quanma upload` and `quanma codes check` on files as people have them: what is said, sent, and left behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from quanma import Wechatpay
from quanma.upload.ledger import Ledger
from tests.cli.conftest import Quanma


def pool(wxpay: Wechatpay, stock_id: str) -> list[str]:
    listed = wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes.get(limit=1000)
    return sorted(code.code for code in listed.data)


def export(path: Path) -> None:
    """As a back office makes one: a title, a hidden column, numbers among the codes, states, a total."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    rows: tuple[list[Any], ...] = (
        ["优惠券导出（2026 年 8 月）"],
        ["序号", "内部编号", "券码", "状态"],
        *(
            [str(n), f"N{n}", f"KF{n:08}" if n % 3 else 60000000 + n, "未使用" if n % 5 else "已使用"]
            for n in range(1, 31)
        ),
        ["合计", None, 30, None],
    )
    for row in rows:
        sheet.append(row)
    sheet.column_dimensions["B"].hidden = True
    book.save(path)


class TestTheExportOfABackOffice:
    def test_one_command_sends_what_is_meant(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path
    ) -> None:
        export(tmp_path / "导出.xlsx")
        ended = quanma("upload", "导出.xlsx", "--stock", stock_id, "--where", "状态=未使用", "--numbers-as-text")
        assert ended.status == 0
        assert "header in row 2, column '券码' (3 of 4); row 1 above it is a title and no code" in ended.err
        assert "left out by --where: 7 more rows" in ended.err
        assert "note: 8 × number cells are taken as text (rows 5, 8, 11 …)" in ended.err
        meant = [f"KF{n:08}" if n % 3 else str(60000000 + n) for n in range(1, 31) if n % 5]
        assert pool(wxpay, stock_id) == sorted(meant)

    def test_without_a_word_of_the_user_nothing_is_sent_and_each_kind_is_told(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path
    ) -> None:
        export(tmp_path / "导出.xlsx")
        ended = quanma("upload", "导出.xlsx", "--stock", stock_id)
        assert ended.status == 3
        assert "rejected: 10 × number cell (rows 5, 8, 11 …): the cell holds a number" in ended.err
        assert "rejected: 1 × total row (row 33)" in ended.err
        assert "stopped before the first request: 11 of 31 rows (35.5 %) are rejected, more than 1 %" in ended.err
        assert pool(wxpay, stock_id) == []
        assert [file.name for file in tmp_path.iterdir() if file.suffix == ".quanma"] == []

    def test_a_check_of_the_file_alone_says_the_same(self, quanma: Quanma, tmp_path: Path) -> None:
        export(tmp_path / "导出.xlsx")
        checked = quanma("codes", "check", "导出.xlsx")
        assert checked.status == 3
        assert "busifavor (商家券; --stock STOCK_ID): takes 20 of 31 rows\n" in checked.out
        assert "  rejected: 10 × number cell (rows 5, 8, 11 …): the cell holds a number" in checked.out
        assert "an upload would stop before the first request: 11 of 31 rows" in checked.err
        assert quanma("codes", "check", "导出.xlsx", "--where", "状态=未使用", "--numbers-as-text").status == 0
        assert quanma("codes", "check", "导出.xlsx", "--where", "状态＝未使用", "--digits", "12").status == 0
        assert quanma("codes", "check", "导出.xlsx", "--where", "状态").status == 2


class TestTooMuchDirt:
    def test_json_says_that_nothing_was_sent(self, quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
        (tmp_path / "codes.txt").write_text("A1\nB2\nA1\n券\n")
        ended = quanma("upload", "codes.txt", "--stock", stock_id, "--json")
        assert ended.status == 3
        assert json.loads(ended.out) == {
            "stock_id": stock_id,
            "rows": 4,
            "stored": 0,
            "existed": 0,
            "duplicate": 1,
            "rejected": 1,
            "pending": 2,
            "requests": 0,
            "retries": 0,
            "seconds": 0.0,
            "ledger": None,
        }

    @pytest.mark.parametrize(("answer", "status", "stored"), [("y\n", 3, ["A1", "B2"]), ("n\n", 3, []), ("\n", 3, [])])
    @pytest.mark.slow
    def test_on_a_terminal_it_asks(
        self,
        quanma: Quanma,
        wxpay: Wechatpay,
        stock_id: str,
        tmp_path: Path,
        answer: str,
        status: int,
        stored: list[str],
    ) -> None:
        (tmp_path / "codes.txt").write_text("A1\nB2\n券\n")
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "quanma", "upload", "codes.txt", "--stock", stock_id]
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
            os.close(theirs)
            said = b""
            while b"Send the other 2 codes?" not in said and select.select([ours], [], [], 20)[0]:
                said += os.read(ours, 4096)
            os.write(ours, answer.encode())
            with contextlib.suppress(OSError):  # So a terminal ends.
                while read := os.read(ours, 4096):
                    said += read
        os.close(ours)
        assert (process.returncode, pool(wxpay, stock_id)) == (status, stored)

    @pytest.mark.parametrize(
        ("share", "status"), [("0%", 3), ("33%", 3), ("34%", 3), ("34", 3), ("100％", 3), ("101%", 2), ("x", 2)]
    )
    def test_the_share_is_said_in_hundredths(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path, share: str, status: int
    ) -> None:
        (tmp_path / "codes.txt").write_text("A1\nB2\n券\n")
        assert quanma("upload", "codes.txt", "--stock", stock_id, "--max-rejected", share).status == status
        assert bool(pool(wxpay, stock_id)) == (share in ("34%", "34", "100％"))

    def test_strict_refuses_a_warning(self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path) -> None:
        (tmp_path / "codes.txt").write_text("A1\nB2 \n")
        refused = quanma("upload", "codes.txt", "--stock", stock_id, "--strict")
        assert refused.status == 3
        assert "there is a warning, and --strict allows none" in refused.err
        assert pool(wxpay, stock_id) == []
        assert quanma("upload", "codes.txt", "--stock", stock_id).status == 0

    def test_a_dry_run_writes_a_report_and_nothing_else(self, quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
        (tmp_path / "codes.txt").write_text("A1\nB2\nA1\n券\n")
        ended = quanma("upload", "codes.txt", "--stock", stock_id, "--dry-run", "--report", "report")
        assert ended.status == 3
        assert sorted(file.name for file in tmp_path.iterdir() if file.name != "world") == ["codes.txt", "report"]
        assert sorted(file.name for file in (tmp_path / "report").iterdir()) == [
            *("rejected.jsonl", "rejected.xlsx", "report.csv")
        ]
        assert (
            (tmp_path / "report/report.csv").read_text("utf-8-sig").splitlines()[1].startswith("1,A1,pending,not sent")
        )

    def test_rejected_rows_corrected_in_a_spreadsheet_go_in(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path
    ) -> None:
        from openpyxl import load_workbook

        (tmp_path / "codes.txt").write_text("A1\n券B2\nTotal\n")
        quanma("upload", "codes.txt", "--stock", stock_id, "--max-rejected", "100%", "--report", "report")
        assert quanma("upload", "report/rejected.xlsx", "--stock", stock_id).status == 3
        assert pool(wxpay, stock_id) == ["A1"]
        book = load_workbook(tmp_path / "report/rejected.xlsx")
        assert book.active is not None
        assert book.active["B3"].value == "Total"
        book.active["D2"].value = "B2"
        book.save(tmp_path / "report/rejected.xlsx")
        ended = quanma("upload", "report/rejected.xlsx", "--stock", stock_id, "--max-rejected", "50%")
        assert "note: 1 × rows are taken as they were corrected (row 2)" in ended.err
        assert pool(wxpay, stock_id) == ["A1", "B2"]


class TestEmpty:
    @pytest.mark.parametrize(
        ("name", "content"), [("codes.csv", ""), ("codes.csv", "券码\n"), ("codes.txt", "\n\n"), ("codes.jsonl", "")]
    )
    def test_a_file_without_a_code_ends_with_3_and_leaves_no_ledger(
        self, quanma: Quanma, stock_id: str, tmp_path: Path, name: str, content: str
    ) -> None:
        (tmp_path / name).write_text(content)
        for arguments in (["upload", name, "--stock", stock_id], ["upload", name, "--stock", stock_id, "--dry-run"]):
            ended = quanma(*arguments)
            assert ended.status == 3
            assert f"{name} holds no row: look whether the export failed" in ended.err
        assert quanma("codes", "check", name).status == 3
        assert [file.name for file in tmp_path.iterdir() if file.suffix == ".quanma"] == []

    def test_a_job_that_expects_it_says_so(self, quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
        (tmp_path / "codes.csv").write_text("券码\n")
        for _ in range(2):
            ended = quanma("upload", "codes.csv", "--stock", stock_id, "--allow-empty", "--json")
            assert (ended.status, json.loads(ended.out)["rows"]) == (0, 0)
        assert quanma("codes", "check", "codes.csv", "--allow-empty").status == 0

    def test_one_empty_file_among_others_is_named(self, quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("A1\n")
        (tmp_path / "b.txt").write_text("")
        assert "b.txt holds no row" in quanma("upload", "a.txt", "b.txt", "--stock", stock_id).err

    def test_a_file_that_breaks_leaves_no_ledger_in_the_way(
        self, quanma: Quanma, stock_id: str, tmp_path: Path
    ) -> None:
        (tmp_path / "codes.csv").write_text('code\n"A1\n')
        assert quanma("upload", "codes.csv", "--stock", stock_id).status == 1
        (tmp_path / "codes.csv").write_text("code\nA1\n")
        assert quanma("upload", "codes.csv", "--stock", stock_id).status == 0


GBK_NAME = os.fsdecode("优惠券.csv".encode("gbk"))


class TestPaths:
    @pytest.mark.parametrize("ledger", [[], ["--ledger", "plain.quanma"]])
    def test_a_name_that_is_no_utf_8(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path, ledger: list[str]
    ) -> None:
        (tmp_path / GBK_NAME).write_text("code\nQM-0001\n")
        assert quanma("codes", "check", GBK_NAME).status == 0
        assert quanma("upload", GBK_NAME, "--stock", stock_id, "--dry-run").status == 0
        done = quanma("upload", GBK_NAME, "--stock", stock_id, "--json", *ledger)
        assert done.status == 0
        assert pool(wxpay, stock_id) == ["QM-0001"]
        assert quanma("upload", GBK_NAME, "--stock", stock_id, *ledger, "--resume").status == 0
        path = "plain.quanma" if ledger else f"{GBK_NAME}.{stock_id}.quanma"
        assert quanma("upload-status", path).status == 0
        assert quanma("report", path, "--out", "report", "--xlsx").status == 0
        assert quanma("verify", path).status == 0

    @pytest.mark.slow
    def test_the_command_that_is_printed_resumes(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path
    ) -> None:
        names = ["优惠 券's.csv", GBK_NAME]
        for name in names:
            rows = "".join(f"1,x, {name[:1].encode('utf-8', 'replace').hex()}{n:06}\n" for n in range(2000))
            (tmp_path / name).write_text("id,who,number\n" + rows)
        options = ["--column", "number", "--trim", "--where", "who=x", "--ledger", "a b.quanma"]
        stopped_early(["upload", *names, "--stock", stock_id, *options, "--rate", "2"], tmp_path / "a b.quanma")
        line = quanma("upload-status", "a b.quanma").out.splitlines()[-1].removeprefix("  if it is not running: ")
        assert line.startswith("quanma upload '优惠 券'\"'\"'s.csv' $'\\xd3\\xc5\\xbb\\xdd\\xc8\\xaf.csv' --stock")
        done = subprocess.run(["bash", "-c", our(line)], capture_output=True)
        assert done.returncode == 0, done.stderr
        assert len(pool(wxpay, stock_id)) == 1000

    @pytest.mark.slow
    @pytest.mark.parametrize("given", ["- < many.txt", "<(cat many.txt)", "fifo"])
    def test_what_came_through_a_pipe_goes_on_without_it(
        self, quanma: Quanma, wxpay: Wechatpay, stock_id: str, tmp_path: Path, given: str
    ) -> None:
        (tmp_path / "many.txt").write_text("".join(f"QI{n:06}\n" for n in range(2000)))
        os.mkfifo(tmp_path / "fifo")
        feed = "cat many.txt > fifo & " if given == "fifo" else ""
        ledger = tmp_path / f"{'stdin' if given.startswith('-') else 'pipe'}.{stock_id}.quanma"
        dry = subprocess.run(
            ["bash", "-c", our(f"{feed}quanma upload {given} --stock {stock_id} --dry-run")], capture_output=True
        )
        assert dry.returncode == 0, dry.stderr
        stopped_early(["bash", "-c", our(f"{feed}exec quanma upload {given} --stock {stock_id} --rate 2")], ledger)
        line = quanma("upload-status", ledger.name).out.splitlines()[-1].removeprefix("  if it is not running: ")
        done = subprocess.run(["bash", "-c", our(line)], capture_output=True)
        assert done.returncode == 0, done.stderr
        assert b"2,000 of 2,000 rows accounted for" in done.stdout

    def test_a_folder_that_is_not_there_is_named(self, quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
        (tmp_path / "codes.txt").write_text("A1\n")
        for arguments in ([], ["--dry-run"]):
            ended = quanma("upload", "codes.txt", "--stock", stock_id, "--ledger", "missing/a.quanma", *arguments)
            assert ended.status == 1
            assert ended.err.splitlines()[-1].startswith("quanma: missing/a.quanma can't be")

    def test_a_folder_that_can_only_be_read(self, quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
        (tmp_path / "shut").mkdir()
        (tmp_path / "shut/codes.txt").write_text("A1\n")
        (tmp_path / "shut").chmod(0o500)
        if os.access("shut", os.W_OK):
            pytest.skip("root may write everywhere")
        dry = quanma("upload", "shut/codes.txt", "--stock", stock_id, "--dry-run")
        assert dry.status == 0
        assert "shut can't be written: the upload needs --ledger with another place" in dry.err
        refused = quanma("upload", "shut/codes.txt", "--stock", stock_id)
        assert refused.status == 1
        assert "Permission denied: name another with --ledger" in refused.err
        assert quanma("upload", "shut/codes.txt", "--stock", stock_id, "--ledger", "a.quanma").status == 0

    @pytest.mark.slow
    def test_a_full_disk_in_a_dry_run_is_one_sentence(self, quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
        (tmp_path / "codes.txt").write_text(
            "".join(f"A{number}\n" for number in range(30_000))
        )  # More than wait in memory.
        program = (
            "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (9000, 9000)); from quanma.cli.main import main; main()"
        )
        for arguments in (["upload", "codes.txt", "--stock", stock_id, "--dry-run"], ["codes", "check", "codes.txt"]):
            done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
            assert done.returncode in (1, 4)
            assert "Traceback" not in done.stderr
            assert "can't be written" in done.stderr.splitlines()[-1] or "no temporary file" in done.stderr


def our(line: str) -> str:
    """A line for a shell, with this interpreter's command."""
    return line.replace("quanma upload", f"{shlex.quote(sys.executable)} -m quanma upload")


def stopped_early(command: list[str], ledger: Path) -> None:
    """Start an upload, and stop it once a batch was settled."""
    words = command if command[0] == "bash" else [sys.executable, "-m", "quanma", *command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        give_up = time.monotonic() + 20
        while process.poll() is None and not stored(ledger) and time.monotonic() < give_up:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 130, err


def stored(ledger: Path) -> int:
    try:
        with Ledger.look(ledger) as looked:
            return looked.totals().stored
    except Exception:  # It is being made.
        return 0
