"""Figures for `GET /metrics`, as Prometheus reads them. Labels are declared operations and statuses, never a path, a
code or a user: what a stranger sends makes no new series.

Several workers write into memory that they share, each into a region of its own, and whichever is asked adds them up.
The parent makes it before they start. It is no file: a full disk can't stop a worker, nothing stays behind, and what
a worker counted is still there when it has died. The library makes the format of it.
"""

from __future__ import annotations

import mmap
import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ..keys.refusals import Cause

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
UNKNOWN = "unknown"
"""The operation of a request that asks for none."""

REQUESTS, OVERLOAD, REFUSALS, EVENTS = "requests", "overload", "refusals", "events"
"""What is counted. The rest of a series' name is its labels."""

_SERIES_MAX = 2048
_NAME_BYTES, _CELLS = 248, 16
_SERIES_BYTES = _NAME_BYTES + 8 * _CELLS
_HEAD_CELLS = 8
_PID, _UNDER_WAY, _CONNECTIONS, _COUNT, _SETTINGS_AS_OF, _ENDS, _NOTED_AT = range(7)
"""Cells at the head of a region. `_COUNT`: how many series it has. `_ENDS`: how many workers ended in this place.
`_NOTED_AT`: when its worker last noted how it stands, on the clock that all processes share."""
_REGION_BYTES = 8 * _HEAD_CELLS + (_SERIES_MAX + 1) * _SERIES_BYTES  # One that is never shown.
_BUCKETS_AT = 1
"""The cells of a request's series: the sum of seconds, then a count for each bucket, the last one without a bound."""


class Outcome(StrEnum):
    """What came of posting an event once."""

    RECEIVED = "received"
    FAILED = "failed"


class Metrics:
    """The figures of one process: its part of those of all workers."""

    def __init__(self, figures: Figures | None = None, place: int = 0) -> None:
        """`place`: which of the workers this is. Without `figures` it is the only one."""
        self._figures = figures or Figures(1)
        self._region = self._figures.regions[place]
        self._region.begin(os.getpid())
        self._shown = _Figures(self._figures)
        self._registry = CollectorRegistry()
        self._registry.register(self._shown)

    def count(self, operation: str, status: int, seconds: float) -> None:
        cells, first = self._region.series(REQUESTS, operation or UNKNOWN, str(status))
        cells[first] += seconds
        cells[first + _BUCKETS_AT + bisect_left(BUCKETS, seconds)] += 1.0

    def count_overload(self) -> None:
        cells, first = self._region.series(OVERLOAD)
        cells[first] += 1.0

    def count_refusal(self, cause: Cause) -> None:
        cells, first = self._region.series(REFUSALS, cause.value)
        cells[first] += 1.0

    def count_event(self, outcome: Outcome) -> None:
        cells, first = self._region.series(EVENTS, outcome.value)
        cells[first] += 1.0

    def note(self, *, under_way: int, connections: int) -> None:
        """How it stands. Called a few times a second."""
        self._region.note(under_way, connections)

    def note_settings(self, as_of: float) -> None:
        """When the settings in use were last seen to be those of the files, in Unix seconds."""
        self._region.note_settings(as_of)

    def text(self, *, store_up: bool = True, fenced: bool = False) -> bytes:
        """Everything. `store_up`, `fenced`: how this process finds the store now."""
        self._shown.store = store_up, fenced
        return generate_latest(self._registry)


class Figures:
    """Memory for the figures of so many workers, shared with every process that is forked later."""

    def __init__(self, workers: int) -> None:
        self.began_at = time.time()
        whole = memoryview(mmap.mmap(-1, _REGION_BYTES * workers))
        self.regions = [Region(whole[_REGION_BYTES * place : _REGION_BYTES * (place + 1)]) for place in range(workers)]

    def worker_ended(self, place: int) -> None:
        """Forget what was true of a worker as long as it lived. What it counted stays counted."""
        self.regions[place].end()

    def silent_seconds(self, place: int) -> float:
        """How long ago a worker noted how it stands, as it does several times a second; 0: it has not begun to."""
        return self.regions[place].silent_seconds

    def pids(self) -> list[int]:
        return [pid for region in self.regions if (pid := region.pid)]

    def sums(self) -> dict[tuple[str, ...], list[float]]:
        """The cells of each series, those of all workers added up."""
        added: dict[tuple[str, ...], list[float]] = {}
        for region in self.regions:
            for name, cells in region:
                before = added.get(name)
                added[name] = cells if before is None else [a + b for a, b in zip(before, cells, strict=True)]
        return added


class Standing(NamedTuple):
    under_way: float
    connections: float
    settings_as_of: float
    """0: not known yet."""


class Region:
    """The figures of one worker at a time, which alone writes here. A number is written and read whole."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._cells: memoryview[float] = memory.cast("d")
        self._places: dict[tuple[str, ...], int] = {}
        """By the names of a series: its first cell."""

    def begin(self, pid: int) -> None:
        """Go on where an earlier worker in this place ended."""
        self._places = {name: self._first_cell(number) for number, name in self._names()}
        self._cells[_PID] = pid

    def end(self) -> None:
        for cell in (_PID, _UNDER_WAY, _CONNECTIONS, _SETTINGS_AS_OF, _NOTED_AT):
            self._cells[cell] = 0.0
        self._cells[_ENDS] += 1.0

    @property
    def ends(self) -> float:
        """How many workers ended in this place so far."""
        return self._cells[_ENDS]

    @property
    def pid(self) -> int:
        """Of the worker that is here; 0: none is."""
        return int(self._cells[_PID])

    @property
    def standing(self) -> Standing:
        return Standing(self._cells[_UNDER_WAY], self._cells[_CONNECTIONS], self._cells[_SETTINGS_AS_OF])

    def note(self, under_way: int, connections: int) -> None:
        self._cells[_UNDER_WAY], self._cells[_CONNECTIONS] = under_way, connections
        self._cells[_NOTED_AT] = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        noted_at = self._cells[_NOTED_AT]
        return time.monotonic() - noted_at if noted_at else 0.0

    def note_settings(self, as_of: float) -> None:
        self._cells[_SETTINGS_AS_OF] = as_of

    def series(self, *name: str) -> tuple[memoryview[float], int]:
        """The cells, and which is the first of this series. One too many for the memory is counted, and not shown."""
        first = self._places.get(name)
        if first is None:
            first = self._places[name] = self._add(name)
        return self._cells, first

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], list[float]]]:
        for number, name in self._names():
            first = self._first_cell(number)
            yield name, list(self._cells[first : first + _CELLS])

    def _add(self, name: tuple[str, ...]) -> int:
        number = int(self._cells[_COUNT])
        text = "\0".join(name).encode()
        if number == _SERIES_MAX or len(text) > _NAME_BYTES:
            return self._first_cell(_SERIES_MAX)
        start = self._first_cell(number) * 8 - _NAME_BYTES
        self._memory[start : start + len(text)] = text
        # Now it is there. Whoever reads in between sees one less.
        self._cells[_COUNT] = number + 1
        return self._first_cell(number)

    def _names(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        for number in range(int(self._cells[_COUNT])):
            end = self._first_cell(number) * 8
            text = bytes(self._memory[end - _NAME_BYTES : end]).rstrip(b"\0")
            yield number, tuple(text.decode().split("\0"))

    def _first_cell(self, number: int) -> int:
        return (8 * _HEAD_CELLS + number * _SERIES_BYTES + _NAME_BYTES) // 8


class _Figures(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self.store: tuple[bool, bool] = True, False
        """Whether the store answers; whether nothing is given out."""

    def collect(self) -> Iterable[Metric]:
        sums = self._figures.sums()
        requests = CounterMetricFamily("quanma_requests", "Requests answered.", labels=("operation", "status"))
        seconds = HistogramMetricFamily(
            "quanma_request_seconds", "From a whole request to its signed answer.", labels=("operation", "status")
        )
        overload = CounterMetricFamily("quanma_overload_refusals", "Requests refused because too many were under way.")
        overload.add_metric((), sums.pop((OVERLOAD,), [0.0])[0])
        refusals = CounterMetricFamily(
            "quanma_signature_refusals", "Requests whose signature was refused.", labels=("cause",)
        )
        for cause in Cause:  # At 0 from the start: an alarm can be set on it.
            refusals.add_metric((cause.value,), sums.pop((REFUSALS, cause.value), [0.0])[0])
        events = CounterMetricFamily(
            "quanma_event_attempts", "Events posted once, by what came of it.", labels=("outcome",)
        )
        for outcome in Outcome:
            events.add_metric((outcome.value,), sums.pop((EVENTS, outcome.value), [0.0])[0])
        for (_, *labels), cells in sorted(sums.items()):
            counts = cells[_BUCKETS_AT : _BUCKETS_AT + len(BUCKETS) + 1]
            requests.add_metric(labels, sum(counts))
            seconds.add_metric(labels, list(_buckets(counts)), cells[0])
        standing = [region.standing for region in self._figures.regions]
        under_way = GaugeMetricFamily("quanma_requests_under_way", "Requests being answered.")
        under_way.add_metric((), sum(one.under_way for one in standing))
        connections = GaugeMetricFamily("quanma_connections", "Open connections.")
        connections.add_metric((), sum(one.connections for one in standing))
        settings = GaugeMetricFamily(
            "quanma_settings_as_of_timestamp_seconds",
            "When the settings in use were last seen to be those of the files, in the worker where that is longest "
            "ago. It stays behind while newer ones can't be used.",
        )
        if as_of := [one.settings_as_of for one in standing if one.settings_as_of]:
            settings.add_metric((), min(as_of))
        counted = [requests, seconds, overload, refusals, events]
        return [*counted, under_way, connections, settings, *self._standing(), *_processes(self._figures)]

    def _standing(self) -> Iterator[Metric]:
        store_up, fenced = self.store
        yield GaugeMetricFamily("quanma_store_up", "1: the store answers; 0: as /healthz, 503.", value=store_up)
        yield GaugeMetricFamily(
            "quanma_pool_fenced", "1: nothing is given out until `quanma reconcile` says so.", value=fenced
        )
        yield GaugeMetricFamily("quanma_workers", "Processes that serve.", value=len(self._figures.pids()))
        ends = sum(region.ends for region in self._figures.regions)
        yield CounterMetricFamily("quanma_worker_ends", "Workers that ended, and were followed by another.", value=ends)
        yield GaugeMetricFamily(
            "quanma_began_timestamp_seconds", "When the platform was started.", value=self._figures.began_at
        )


def _buckets(counts: list[float]) -> Iterator[tuple[str, float]]:
    below = 0.0
    for bound, count in zip((*BUCKETS, float("inf")), counts, strict=True):
        below += count
        yield floatToGoString(bound), below  # type: ignore[no-untyped-call]  # Partly typed.


def _processes(figures: Figures) -> Iterable[Metric]:
    """Memory, CPU and files of each worker, as the library reads them; by `pid`, where there may be several."""
    several = len(figures.regions) > 1
    found: dict[str, Metric] = {}
    for pid in figures.pids():
        for family in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
            merged = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                labels = {**sample.labels, "pid": str(pid)} if several else sample.labels
                merged.add_sample(sample.name, labels, sample.value)
    return found.values()
