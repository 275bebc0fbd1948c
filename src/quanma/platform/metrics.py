"""Figures for `GET /metrics`, as Prometheus reads them. Labels are declared operations and statuses, never a path, a
code or a user: what a stranger sends makes no new series.

Several workers write into files of one folder, and whichever is asked adds them up. The parent makes the folder before
they start.
"""

from __future__ import annotations

import contextlib
import os
import resource
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from .refusals import Cause

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
UNKNOWN = "unknown"
"""The operation of a request that asks for none."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Metrics:
    """The figures of one process, or with a folder its part of those of all workers."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        if folder is not None:
            # The library decides by its environment when it is imported; here the number of workers is known only now.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # Partly typed.
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("quanma_requests", "Requests answered.", ("operation", "status"), registry=registry)
        self._seconds = Histogram(
            "quanma_request_seconds",
            "From a whole request to its signed answer.",
            ("operation", "status"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._overload = Counter(
            "quanma_overload_refusals", "Requests refused because too many were under way.", registry=registry
        )
        self._signature_refusals = Counter(
            "quanma_signature_refusals", "Requests whose signature was refused.", ("cause",), registry=registry
        )
        for cause in Cause:
            self._signature_refusals.labels(cause.value)  # At 0 from the start: an alarm can be set on it.
        self._under_way = Gauge(
            "quanma_requests_under_way", "Requests being answered.", multiprocess_mode="livesum", registry=registry
        )
        self._connections = Gauge(
            "quanma_connections", "Open connections.", multiprocess_mode="livesum", registry=registry
        )
        self._series: dict[tuple[str, int], _Series] = {}
        if folder is None:
            ProcessCollector(registry=registry)
        else:
            self._resident = Gauge(
                "process_resident_memory_bytes", "Memory of a worker.", multiprocess_mode="liveall", registry=registry
            )
            self._cpu = Gauge(
                "process_cpu_seconds", "CPU time of a worker.", multiprocess_mode="liveall", registry=registry
            )

    def count(self, operation: str, status: int, seconds: float) -> None:
        series = self._series.get((operation, status))
        if series is None:
            labels = operation or UNKNOWN, str(status)
            series = _Series(self._requests.labels(*labels), self._seconds.labels(*labels))
            self._series[operation, status] = series
        series.requests.inc()
        series.seconds.observe(seconds)

    def count_overload(self) -> None:
        self._overload.inc()

    def count_refusal(self, cause: Cause) -> None:
        self._signature_refusals.labels(cause.value).inc()

    def note(self, *, under_way: int, connections: int) -> None:
        """How it stands. Called a few times a second."""
        self._under_way.set(under_way)
        self._connections.set(connections)
        if self._folder is not None:
            used = resource.getrusage(resource.RUSAGE_SELF)
            self._resident.set(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES)
            self._cpu.set(used.ru_utime + used.ru_stime)

    def text(self) -> bytes:
        if self._folder is None:
            return generate_latest(self._registry)
        all_workers = CollectorRegistry()
        MultiProcessCollector(all_workers, path=str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(all_workers)


class _Series(NamedTuple):
    requests: Counter
    seconds: Histogram


@contextlib.contextmanager
def shared_folder() -> Generator[Path]:
    """Where several workers keep their figures. For the parent, around all of them."""
    with tempfile.TemporaryDirectory(prefix="quanma-metrics-") as folder:
        yield Path(folder)


def worker_ended(folder: Path, pid: int) -> None:
    """Forget what was true of a worker as long as it lived. What it counted stays counted."""
    mark_process_dead(pid, path=str(folder))  # type: ignore[no-untyped-call]
