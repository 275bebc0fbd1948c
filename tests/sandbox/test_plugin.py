"""The pytest plugin, in pytest runs of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quanma.testing import Sandbox

TEST = """
def test_a_lost_answer_gives_one_coupon(quanma_sandbox, wxpay, quanma_faults):
    quanma_faults.add("certificates.get", first=1, cut="after_commit")
    wxpay.v3.certificates.get()
    assert [one.status for one in quanma_sandbox.requests.find("certificates.get")] == [0, 200]
"""
FAILING = """
import pytest
from quanma.errors import PlatformError

@pytest.mark.quanma(faults=[{"id": "refused", "do": {"error": "NO_AUTH"}}], now="2026-11-24T00:00:00+08:00")
def test_that_fails(wxpay, quanma_clock):
    assert quanma_clock() == 1795449600
    wxpay.v3.certificates.get()

@pytest.mark.quanma(faults=[{"id": "never", "do": {"status": 500}}], strict=True)
def test_that_meets_no_fault(quanma_sandbox):
    pass
"""
AWAITED = """
import asyncio

def test_awaited(async_wxpay, quanma_sandbox):
    async def ask():
        async with async_wxpay as wxpay:
            return await wxpay.v3.certificates.get()
    assert asyncio.run(ask()).data
    assert quanma_sandbox.requests.count("certificates.get") == 1
"""


def run(folder: Path, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(test)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:quanma",
        "-p",
        "_quanma_pytest",
        "-p",
        "no:cacheprovider",
        "--strict-markers",
    ]
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("test", [TEST, AWAITED], ids=["sync", "async"])
def test_a_users_test_passes(sandbox: Sandbox, tmp_path: Path, test: str) -> None:
    done = run(tmp_path, test, "--quanma-url", sandbox.url)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_failing_test_tells_what_the_platform_saw(sandbox: Sandbox, tmp_path: Path) -> None:
    done = run(tmp_path, FAILING, "--quanma-url", sandbox.url)
    assert "1 failed, 1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "quanma: what the platform saw" in done.stdout
    assert "v3.certificates.get: 403 NO_AUTH fault=refused" in done.stdout
    assert "rules that never hit: never" in done.stdout


def test_the_plugin_loads_nothing_of_quanma() -> None:
    code = (
        "import sys, pytest, _quanma_pytest; print([one for one in sys.modules if one.partition('.')[0] == 'quanma'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.slow
def test_a_users_test_starts_its_own_sandbox(tmp_path: Path) -> None:
    done = run(tmp_path, TEST)
    assert done.returncode == 0, done.stdout + done.stderr
