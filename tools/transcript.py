"""docs/en/transcript.md and docs/zh/transcript.md: what the command line prints, from a demo to a report.

    python -m tools.transcript

Everything is run, in each language, on a platform of its own. What differs from run to run is made the same: ports,
numbers, times. tests/docs/test_transcripts.py runs it again, and compares.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.platform import Served

ROOT = Path(__file__).parents[1]
LOCALES: Final = {"en": "en_US.UTF-8", "zh": "zh_CN.UTF-8"}
SECONDS_MAX = 60


class Step(NamedTuple):
    """Some commands under one heading. `stopped`: the last of them by Ctrl-C, once it shows how far it is."""

    heading: dict[str, str]
    commands: tuple[str, ...]
    stopped: bool = False


STEPS: Final = (
    Step({"en": "See it", "zh": "体验"}, ("quanma demo --codes 2000",)),
    Step(
        {"en": "A stock, on a local platform", "zh": "在本地平台创建批次"},
        ("quanma init world", "quanma stock create --name 八月一日活动券 --max 5000 --get stock_id"),
    ),
    Step(
        {"en": "A file that is not as it should be", "zh": "文件有问题，上传被拒绝"},
        (
            r"printf 'code\nA1001\nB２002\n合计\nA1001\nC1003\n' > codes.csv",
            "quanma upload codes.csv --stock $stock_id",
        ),
    ),
    Step(
        {"en": "Upload the rest of it", "zh": "上传其余的券码"},
        ("quanma upload codes.csv --stock $stock_id --max-rejected 100%",),
    ),
    Step(
        {"en": "Ctrl-C", "zh": "按 Ctrl-C 停止"},
        (
            "quanma codes generate 1000 --out codes.txt",
            "quanma upload codes.txt --stock $stock_id --rate 0.2 --concurrency 1",
        ),
        stopped=True,
    ),
    Step(
        {"en": "Resume", "zh": "续传"},
        (
            "quanma upload-status codes.txt.$stock_id.quanma",
            "quanma upload codes.txt --stock $stock_id --rate 100 --resume",
        ),
    ),
    Step(
        {"en": "Report", "zh": "报告"},
        ("quanma report codes.csv.$stock_id.quanma --out report", "cat report/report.csv"),
    ),
    Step(
        {"en": "Compare with the platform", "zh": "与平台核对"},
        ("quanma verify codes.txt.$stock_id.quanma",),
    ),
    Step(
        {"en": "Mistakes", "zh": "写错的命令"},
        (
            "quanma uplaod codes.txt",
            "quanma upload codes.txt",
            "quanma upload codes.txt --stock 99999999",
            "quanma use ABC9588200 --stock $stock_id",
        ),
    ),
)
ABOUT: Final = {
    "en": """\
# What the command line prints

From a demo to a report, as it is printed with `QUANMA_LANG=en`, or where the locale is not Chinese. `quanma` speaks
Chinese where the locale is `zh_*`, or with `QUANMA_LANG=zh`: [the same in Chinese](../zh/transcript.md).

JSON, codes, exit statuses and logs are the same in both languages. Written by `python -m tools.transcript`, and
checked by a test; … stands for figures that differ each time.
""",
    "zh": """\
# 命令行输出示例

从演示到报告，都是 `LANG=zh_CN.UTF-8` 时的实际输出。区域设置为 `zh_*` 时，`quanma` 说中文；也可以用 `QUANMA_LANG=zh` 或
`QUANMA_LANG=en` 指定，它优先于区域设置。[同样内容的英文](../en/transcript.md)。

JSON、券码、退出码和日志在两种语言里都一样。本页由 `python -m tools.transcript` 写成，并由测试核对；
… 表示每次不同的数字。
""",
}
_SAME: Final = (
    (r"127\.0\.0\.1:\d+", "127.0.0.1:8460"),
    (r"\b\d{16}\b", "98065001"),
    (r"20\d\d-\d\d-\d\dT23:59:59\+08:00", "2027-02-28T23:59:59+08:00"),
    (r"20\d\d-\d\d-\d\dT(?!23:59:59)\d\d:\d\d:\d\d\+08:00", "2026-12-01T10:00:00+08:00"),
    (r"\bqm[0-9a-f]{16}-", "qm94d2c8f01a7b3e56-"),
    (r"\bstock-[0-9a-f]{16}", "stock-94d2c8f01a7b3e56"),
    (r"Request-ID [0-9A-F]{32}", "Request-ID 94D2C8F01A7B3E5694D2C8F01A7B3E56"),
    (r"(\bin|用时) \d+\.\d s", r"\1 0.1 s"),
    (r"/\S*/(world/merchants)", r"/home/me/\1"),
    (r"/\S*/quanma-demo-\w+/", "/tmp/quanma-demo/"),
)
"""What differs, and what stands for it."""
_PROGRESS: Final = re.compile(r"^[\d,]+/[\d,]+ .*(req/s|个请求)")
"""How far an upload is, where standard error is no terminal."""


def main() -> None:
    for language in LOCALES:
        page(language).write_text(text(language), "utf-8")


def page(language: str) -> Path:
    return ROOT / "docs" / language / "transcript.md"


def text(language: str) -> str:
    """Run everything, and return the page."""
    with tempfile.TemporaryDirectory() as folder:
        shell = _Shell(Path(folder), language)
        try:
            sections = [f"## {step.heading[language]}\n\n```console\n{shell.shown(step)}```\n" for step in STEPS]
        finally:
            shell.close()
    return "\n".join([ABOUT[language], _contents(language), *sections])


def _contents(language: str) -> str:
    """The headings, each with its anchor."""
    headings = [step.heading[language] for step in STEPS]
    anchors = (re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings)
    return " · ".join(f"[{one}](#{anchor})" for one, anchor in zip(headings, anchors, strict=True)) + "\n"


class _Shell:
    """Runs commands in a folder, and shows them with what they print."""

    def __init__(self, folder: Path, language: str) -> None:
        self._folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QUANMA_", "LC_", "LANG"))}
        self._environment = kept | {
            "LANG": LOCALES[language],
            "PYTHONUTF8": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self._served: Served | None = None

    def close(self) -> None:
        if self._served is not None:
            self._served.close()

    def shown(self, step: Step) -> str:
        lines: list[str] = []
        for command in step.commands:
            stop = step.stopped and command == step.commands[-1]
            status, printed = self._run(command, _is_progress if stop else None)
            lines += [f"$ {command}", *_same(printed), *([f"$ echo $?\n{status}"] if status else [])]
            self._learn(command, printed)
        return "\n".join(lines) + "\n"

    def _run(self, command: str, until: Callable[[str], bool] | None) -> tuple[int, str]:
        """Run a command: its exit status, and what it printed on both outputs. `until`: a line that is its last."""
        printed: list[str] = []
        script = f"exec {command}" if until else command
        with subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                printed.append(line)
                if until is not None and until(line):
                    running.send_signal(signal.SIGINT)
                    printed.append("^C\n")
                    until = None
            return running.wait(SECONDS_MAX), "".join(printed)

    def _learn(self, command: str, printed: str) -> None:
        """Serve the world that was made; keep the stock's number."""
        if command.startswith("quanma init"):
            self._served = Served(self._folder / "world")
            config = self._folder / "world/merchants/1900000001/quanma.toml"
            self._environment |= {"QUANMA_CONFIG": str(config), "QUANMA_BASE_URL": self._served.url}
        if command.startswith("quanma stock create"):
            self._environment["stock_id"] = printed.splitlines()[-1]


def _is_progress(line: str) -> bool:
    return _PROGRESS.match(line) is not None


def _same(printed: str) -> list[str]:
    """What was printed, with what differs made the same: of how far an upload is, one line."""
    lines: list[str] = []
    progress = False
    for line in printed.replace("\ufeff", "").splitlines():
        for differs, same in _SAME:
            line = re.sub(differs, same, line)
        if _is_progress(line):
            if progress:
                continue
            progress, line = True, re.sub(r"\d[\d,.]*", "…", line)
        lines.append(line.rstrip())
    return lines


if __name__ == "__main__":
    main()
