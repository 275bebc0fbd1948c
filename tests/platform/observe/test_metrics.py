"""Figures of several workers: each counts in memory that all share, and whichever is asked adds them up."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quanma.platform.observe.metrics import Figures, Metrics, Outcome
from quanma.serving.messages import Request
from tests.platform.caller import Caller
from tests.platform.test_framing import CLOSE, raw, statuses, talk
from tests.support.platform import InProcess, Served, served

ONE = "GET /v3/certificates"


def count(metrics: Metrics) -> None:
    for status in (200, 200, 404):
        metrics.count(ONE, status, 0.02)
    metrics.count_overload()
    metrics.note(under_way=3, connections=7)


def in_a_process(work: Callable[[], None]) -> int:
    """Do it in a process that is forked here and then ends. Returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_the_figures_of_all_workers_are_added_up_and_a_dead_one_is_not_under_way() -> None:
    figures = Figures(3)
    asked = Metrics(figures, 2)
    for place in (0, 1):
        in_a_process(lambda place=place: count(Metrics(figures, place)))  # type: ignore[misc]
    lines = asked.text().decode().splitlines()
    assert f'quanma_requests_total{{operation="{ONE}",status="200"}} 4.0' in lines
    assert f'quanma_requests_total{{operation="{ONE}",status="404"}} 2.0' in lines
    assert f'quanma_request_seconds_bucket{{le="0.025",operation="{ONE}",status="200"}} 4.0' in lines
    assert f'quanma_request_seconds_bucket{{le="0.01",operation="{ONE}",status="200"}} 0.0' in lines
    assert f'quanma_request_seconds_bucket{{le="+Inf",operation="{ONE}",status="200"}} 4.0' in lines
    assert f'quanma_request_seconds_count{{operation="{ONE}",status="200"}} 4.0' in lines
    assert "quanma_overload_refusals_total 2.0" in lines
    assert "quanma_requests_under_way 6.0" in lines
    figures.worker_ended(0)
    figures.worker_ended(1)
    in_a_process(lambda: count(Metrics(figures, 0)))  # Another one in the place of the first.
    lines = asked.text().decode().splitlines()
    assert f'quanma_requests_total{{operation="{ONE}",status="200"}} 6.0' in lines
    assert "quanma_requests_under_way 3.0" in lines
    assert "quanma_connections 7.0" in lines


def names(metrics: Metrics) -> set[tuple[str, str]]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(sample.name, family.type) for family in families for sample in family.samples}


def test_one_worker_and_many_have_the_same_names_and_types() -> None:
    alone, one_of_many = Metrics(), Metrics(Figures(2), 1)
    count(alone)
    count(one_of_many)
    assert names(alone) == names(one_of_many)
    assert ("process_cpu_seconds_total", "counter") in names(alone)
    assert ("quanma_request_seconds_bucket", "histogram") in names(alone)


def test_workers_that_serve_and_that_ended_are_counted() -> None:
    figures = Figures(2)
    asked = Metrics(figures, 0)
    assert {"quanma_workers 1.0", "quanma_worker_ends_total 0.0"} <= {*asked.text().decode().splitlines()}
    in_a_process(lambda: count(Metrics(figures, 1)))
    assert "quanma_workers 2.0" in asked.text().decode().splitlines()
    figures.worker_ended(1)
    in_a_process(lambda: count(Metrics(figures, 1)))
    figures.worker_ended(1)
    assert {"quanma_workers 1.0", "quanma_worker_ends_total 2.0"} <= {*asked.text().decode().splitlines()}


def test_how_the_store_stands_is_what_the_asked_worker_finds() -> None:
    metrics = Metrics()
    assert {"quanma_store_up 1.0", "quanma_pool_fenced 0.0"} <= {*metrics.text().decode().splitlines()}
    told = metrics.text(store_up=False, fenced=True).decode().splitlines()
    assert {"quanma_store_up 0.0", "quanma_pool_fenced 1.0"} <= {*told}


def test_events_are_counted_by_what_came_of_them_and_stand_at_0_before() -> None:
    metrics = Metrics()
    assert 'quanma_event_attempts_total{outcome="failed"} 0.0' in metrics.text().decode().splitlines()
    metrics.count_event(Outcome.FAILED)
    metrics.count_event(Outcome.RECEIVED)
    metrics.count_event(Outcome.RECEIVED)
    lines = metrics.text().decode().splitlines()
    assert 'quanma_event_attempts_total{outcome="failed"} 1.0' in lines
    assert 'quanma_event_attempts_total{outcome="received"} 2.0' in lines


def test_memory_and_cpu_are_each_workers_own_by_pid_where_there_are_several() -> None:
    figures = Figures(2)
    metrics = Metrics(figures, 1)
    assert f'\nprocess_resident_memory_bytes{{pid="{os.getpid()}"}} ' in metrics.text().decode()
    assert "\nprocess_resident_memory_bytes " in Metrics().text().decode()
    figures.regions[0].begin(2**22 + 1)  # One that is gone, and whose end is not noted yet.
    assert b"quanma_connections" in metrics.text()


@pytest.mark.slow
def test_more_series_than_there_is_memory_for_are_not_shown_and_stop_nothing() -> None:
    metrics = Metrics()
    for status in range(2100):
        metrics.count(ONE, status, 0.02)
    metrics.count("GET /" + "x" * 300, 200, 0.02)
    text = metrics.text().decode()
    assert 'status="2000"' in text
    assert 'status="2099"' not in text
    assert "xxx" not in text


def test_what_strangers_send_makes_no_series(still: InProcess) -> None:
    async def ask(path: bytes) -> None:
        request = Request("GET", path, [])
        still.app.finish(request, await still.app.answer(request))

    for number in range(50):
        still.run(ask(b"/v3/%d" % number))
    assert b"/v3/49" not in still.app.metrics.text()


def figures_of(platform: Served) -> str:
    with urlopen(f"{platform.url}/metrics", timeout=10) as answer:
        return bytes(answer.read()).decode()


def workers(platform: Served) -> set[str]:
    return set(re.findall(r'process_resident_memory_bytes\{pid="(\d+)"\}', figures_of(platform)))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_served_by_two_workers_the_figures_are_of_both_and_of_one_that_died_only_what_it_counted(
    world: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    caller = Caller(world)
    with served(world, "--database", postgres_url, "--workers", "2") as platform:
        for _ in range(20):  # Each over a connection of its own, so to either of them.
            assert statuses(talk(platform, raw(caller, ONE[:3], ONE[4:], more=CLOSE))) == [200]
        line = f'quanma_requests_total{{operation="{ONE}",status="200"}} 20.0'
        assert all(line in figures_of(platform) for _ in range(10))
        until(lambda: len(workers(platform)) == 2)
        died = min(workers(platform))
        os.kill(int(died), signal.SIGKILL)
        until(lambda: len(workers(platform) - {died}) == 2)
        assert died not in workers(platform)
        assert line in figures_of(platform)
        # Nothing of it is a file: there is none to fill up or to be left behind.
        assert not [*temporary.iterdir()]
        assert platform.stop() == 0
