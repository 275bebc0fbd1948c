"""Figures of several workers: each writes its own, and whichever is asked adds them up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from quanma.platform import metrics
from tests.support.platform import served

WORKER = """
import os, sys
from pathlib import Path
from quanma.platform.metrics import Metrics
figures = Metrics(Path(sys.argv[1]))
for status in (200, 200, 404):
    figures.count("GET /v3/certificates", status, 0.02)
figures.count_overload()
figures.note(under_way=3, connections=7)
print(os.getpid(), figures.text().decode())
"""


def work(folder: Path) -> tuple[int, str]:
    """A worker that counts, asks and ends: its pid, and what it was told."""
    command = [sys.executable, "-c", WORKER, str(folder)]
    pid, _, text = subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition(" ")
    return int(pid), text


@pytest.mark.slow
def test_the_figures_of_all_workers_are_added_up_and_a_dead_one_is_not_under_way() -> None:
    with metrics.shared_folder() as folder:
        first, _ = work(folder)
        second, text = work(folder)
        lines = text.splitlines()
        assert 'quanma_requests_total{operation="GET /v3/certificates",status="200"} 4.0' in lines
        assert 'quanma_requests_total{operation="GET /v3/certificates",status="404"} 2.0' in lines
        bucket = 'quanma_request_seconds_bucket{le="0.025",operation="GET /v3/certificates",status="200"} 4.0'
        assert bucket in lines
        assert "quanma_overload_refusals_total 2.0" in lines
        assert "quanma_requests_under_way 6.0" in lines
        assert f'process_resident_memory_bytes{{pid="{first}"}}' in text
        metrics.worker_ended(folder, first)
        third, text = work(folder)
        lines = text.splitlines()
        assert 'quanma_requests_total{operation="GET /v3/certificates",status="200"} 6.0' in lines
        assert "quanma_requests_under_way 6.0" in lines
        assert "quanma_connections 14.0" in lines
        assert f'pid="{first}"' not in text
        assert all(f'pid="{pid}"' in text for pid in (second, third))
    assert not folder.exists()


@pytest.mark.slow
def test_served_by_two_workers_the_figures_are_of_both_and_of_one_that_died_only_what_it_counted(
    world: Path, postgres_url: str
) -> None:
    with served(world, "--database", postgres_url, "--workers", "2") as platform:

        def figures() -> str:
            with urlopen(f"{platform.url}/metrics", timeout=10) as answer:
                return bytes(answer.read()).decode()

        def workers() -> set[str]:
            return set(re.findall(r'process_resident_memory_bytes\{pid="(\d+)"\}', figures()))

        def until(holds: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 20
            while not holds():
                assert time.monotonic() < deadline
                time.sleep(0.05)

        for _ in range(20):  # Each over a connection of its own, so to either of them.
            with platform.wechatpay() as wxpay:
                wxpay.v3.certificates.get()
        line = 'quanma_requests_total{operation="GET /v3/certificates",status="200"} 20.0'
        assert all(line in figures() for _ in range(10))
        until(lambda: len(workers()) == 2)
        died = min(workers())
        os.kill(int(died), signal.SIGKILL)
        until(lambda: len(workers() - {died}) == 2)
        assert died not in workers()
        assert line in figures()
        assert platform.stop() == 0
    assert not [left for left in Path(tempfile.gettempdir()).glob("quanma-metrics-*") if died in str([*left.iterdir()])]
