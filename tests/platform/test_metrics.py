"""Figures of several workers: each writes its own, and whichever is asked adds them up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from quanma.platform import metrics

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
