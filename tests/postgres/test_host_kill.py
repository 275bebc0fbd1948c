"""kill -9 of a host beside its witness: what it acknowledged is neither lost nor taken for lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.judge import Host, Judge
from tests.support.oldcopy import OldCopy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LIVES = 100


@pytest.fixture
def judge(postgres_url: str, made_world: Path, tmp_path: Path) -> Iterator[Judge]:
    """Of a stock that the first host serves, while the second one lives and dies."""
    for name in "ab":
        shutil.copytree(made_world, tmp_path / name)
    first = Host(postgres_url, tmp_path / "a")
    judge = Judge([first], codes=2000)
    yield judge
    for host in judge.hosts:
        host.close()


def live_and_die(judge: Judge, folder: Path, when: str, lives: int = LIVES) -> None:
    """What the host told before it died is noted."""
    command = [sys.executable, "-m", "tests.support.dyinghost", judge.hosts[0].url, str(folder), judge.stock_id, when]
    done = subprocess.run([*command, str(lives)], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        judge.noted(*line.split(" "))
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_hundred_kills_at_the_mark_raise_no_fence_and_lose_nothing(judge: Judge, tmp_path: Path, when: str) -> None:
    judge.draw(3)
    live_and_die(judge, tmp_path / "b", when)
    judge.draw(3)
    judge.hosts = [*judge.hosts, Host(judge.hosts[0].url, tmp_path / "b")]
    judge.draw(3, judge.hosts[1])
    assert len(judge.told) > LIVES
    judge.settle_whole()


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_killed_host_acknowledged_is_missed_when_it_comes_back(judge: Judge, tmp_path: Path, when: str) -> None:
    """Its last word was a mark, or was not written any more: those before it were."""
    copy = OldCopy.of(judge.hosts[0].url)
    told = len(judge.told)
    live_and_die(judge, tmp_path / "b", when, lives=5)
    assert len(judge.told) > told
    judge.hosts[0].close()
    copy.put_back(judge.hosts[0].url)
    judge.hosts = [Host(judge.hosts[0].url, tmp_path / "b")]
    judge.assert_fenced()
    judge.settle()
