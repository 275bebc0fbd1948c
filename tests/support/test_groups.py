"""Tests of one group run in one process, so that what they share is made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GROUPED = """
import os, time
import pytest

@pytest.mark.parametrize("number", range(8))
@pytest.mark.xdist_group("together")
def test_one(number):
    time.sleep(0.05)  # So that another process has time to take one.
    with open("processes.txt", "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


@pytest.mark.slow
def test_a_group_is_dealt_out_as_one(tmp_path: Path) -> None:
    (tmp_path / "test_grouped.py").write_text(GROUPED, "utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:schemathesis"]
    subprocess.run([*command, "--rootdir", "."], cwd=tmp_path, env=clean, capture_output=True, check=True)
    processes = (tmp_path / "processes.txt").read_text("utf-8").split()
    assert len(processes) == 8
    assert len({*processes}) == 1
