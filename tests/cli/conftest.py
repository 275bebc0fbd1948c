"""Commands, run in this process: on a world of the test's own, or as the merchant of a platform that is served."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from quanma import Wechatpay
from quanma.cli.main import group, main
from quanma.errors import QuanmaError
from tests.support.platform import Served, create_stock, merchant_config

Run = Callable[..., tuple[int, str]]
JSON_KEYS = [
    "stock_id",
    "rows",
    "stored",
    "existed",
    "duplicate",
    "rejected",
    "pending",
    "requests",
    "retries",
    "seconds",
    "ledger",
]


@pytest.fixture
def run(world: Path) -> Run:
    """Runs a command on the world: its exit status and what it printed. Raises what the command raises."""

    def run(command: str, *arguments: str) -> tuple[int, str]:
        line = [command, "--config", str(world / "platform.toml"), *arguments]
        done = CliRunner().invoke(group, line, standalone_mode=False, catch_exceptions=False)
        if isinstance(done.exception, QuanmaError):
            raise done.exception
        return done.return_value or 0, done.output

    return run


@pytest.fixture(scope="session")
def wxpay(served: Served) -> Iterator[Wechatpay]:
    with served.wechatpay() as client:
        yield client


class Ended(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def sums(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return {name: found[name] for name in JSON_KEYS[1:7] if found[name]}


Quanma = Callable[..., Ended]


@pytest.fixture
def quanma(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Quanma:
    """The command in this process, in an empty folder, as the merchant of the served world."""
    monkeypatch.setenv("QUANMA_CONFIG", str(merchant_config(served.world)))
    monkeypatch.setenv("QUANMA_BASE_URL", served.url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["quanma", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run


@pytest.fixture
def stock_id(wxpay: Wechatpay) -> str:
    return create_stock(wxpay, f"stock-{time.monotonic_ns()}")


@pytest.fixture
def codes(tmp_path: Path) -> str:
    """codes.txt in the folder where the command runs: A1, B2, C3."""
    (tmp_path / "codes.txt").write_text("A1\nB2\nC3\n")
    return "codes.txt"
