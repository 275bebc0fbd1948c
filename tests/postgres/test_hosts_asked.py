"""Hosts that come, go and stay idle while a database moves: who is asked before anything is given out, who need not be.

A restore is all rows put back at one moment (`OldCopy`), which is what `pg_restore` in place is to those connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import asyncpg
import pytest

from quanma.errors import PoolFenced, StoreUnavailable
from quanma.platform.pool import maintenance
from quanma.platform.pool.postgres import schema
from quanma.platform.pool.postgres.epochs import COMMIT_OVERDUE_SECONDS
from quanma.platform.pool.postgres.peers import KNOWN_SECONDS
from quanma.platform.pool.reconcile_file import read_reconcile_file
from tests.contract.driver import NOW
from tests.support.judge import GOES_ON_WITHIN_SECONDS, Host, Judge, patiently
from tests.support.oldcopy import OldCopy
from tests.support.platform import served
from tests.support.postgres import execute, query

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Hosts = Callable[..., list[Host]]


@pytest.fixture
def hosts(postgres_url: str, made_world: Path, tmp_path: Path) -> Iterator[Hosts]:
    """Makes machines that serve the pool, each with its own world; the first call's first one is `a`."""
    with contextlib.ExitStack() as serving:
        names = iter("abcd")

        def open_hosts(count: int = 2, **options: Any) -> list[Host]:
            opened: list[Host] = []
            for _ in range(count):
                folder = tmp_path / next(names)
                shutil.copytree(made_world, folder)
                opened.append(Host(postgres_url, folder, **options))
                serving.callback(opened[-1].close)
            return opened

        yield open_hosts


def test_a_copy_of_long_ago_gives_nothing_out_before_a_living_host_has_spoken(postgres_url: str, hosts: Hosts) -> None:
    """In the copy, every host's lease is over. The one that knows what is missing lives all the same."""
    judge = Judge(hosts(), codes=40)
    busy, idle = judge.hosts
    judge.draw(2, busy)
    judge.draw(2, idle)
    execute(postgres_url, "UPDATE host SET beat_at = beat_at - interval '1 hour'")
    copy = OldCopy.of(postgres_url)
    judge.draw(20, busy)
    copy.put_back(postgres_url)
    refusal = patiently(lambda: judge.draw(1, idle))
    assert isinstance(refusal, PoolFenced), "it was given out, and may be somebody's"
    judge.assert_fenced()
    judge.settle()


def test_a_copy_of_before_a_host_came_gives_nothing_out_before_that_host_has_spoken(
    postgres_url: str, hosts: Hosts
) -> None:
    """The copy does not know of the host; the other host does."""
    judge = Judge(hosts(1), codes=40)
    first = judge.hosts[0]
    judge.draw(2, first)
    copy = OldCopy.of(postgres_url)
    judge.hosts = [first, *hosts(1)]
    judge.draw(20, judge.hosts[1])
    copy.put_back(postgres_url)
    refusal = patiently(lambda: judge.draw(1, first))
    assert isinstance(refusal, PoolFenced), "it was given out, and may be somebody's"
    judge.assert_fenced()
    judge.settle()


@pytest.mark.parametrize("anew", [False, True], ids=["rows alone", "tables made anew"])
def test_a_host_whose_beat_meets_a_restore_forgets_nobody(postgres_url: str, hosts: Hosts, anew: bool) -> None:
    """It looked before the restore, and writes after it, into a copy that does not know of the other host."""
    judge = Judge(hosts(1), codes=40)
    first = judge.hosts[0]
    judge.draw(2, first)
    copy = OldCopy.of(postgres_url)
    judge.hosts = [first, *hosts(1)]
    judge.draw(20, judge.hosts[1])
    copy.put_back(postgres_url, anew=anew, under_beats=2)
    refusal = patiently(lambda: judge.draw(1, first))
    assert isinstance(refusal, PoolFenced), "it was given out, and may be somebody's"
    judge.assert_fenced()
    judge.settle()


@pytest.mark.parametrize("first", ["serves", "starts"])
def test_a_host_whose_question_is_cut_short_knows_no_more_when_it_asks_again(
    postgres_url: str, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """It confirmed the epoch in a copy that does not know of the other host, and lost its connection."""
    judge = Judge(hosts(1), codes=40)
    (asking,) = judge.hosts
    judge.draw(2, asking)
    copy = OldCopy.of(postgres_url)
    judge.hosts = [asking, *hosts(1)]
    if first == "starts":
        asking.stop()
    judge.draw(20, judge.hosts[1])
    if first == "starts":
        asking.start()
        asking.worker._looking.result(20)  # type: ignore[union-attr]
    epochs = asking.worker.pool._connections.epochs  # type: ignore[attr-defined]
    confirm, cut_short = epochs._confirm, iter([True])

    async def confirm_and_lose_the_connection(*about: Any, **more: Any) -> None:
        await confirm(*about, **more)
        if next(cut_short, False):
            raise ConnectionError

    monkeypatch.setattr(epochs, "_confirm", confirm_and_lose_the_connection)
    copy.put_back(postgres_url)
    refusal = patiently(lambda: judge.draw(1, asking))
    assert next(cut_short, None) is None
    assert isinstance(refusal, PoolFenced), "it was given out, and may be somebody's"
    judge.assert_fenced()
    judge.settle()


def test_a_host_that_had_left_when_the_copy_was_made_and_serves_again_is_asked(postgres_url: str, hosts: Hosts) -> None:
    judge = Judge(hosts(), codes=40)
    one, other = judge.hosts
    judge.draw(2, one)
    judge.draw(2, other)
    one.stop()
    copy = OldCopy.of(postgres_url)
    one.start()
    patiently(lambda: judge.draw(3, one))
    copy.put_back(postgres_url)
    refusal = patiently(lambda: judge.draw(1, other))
    assert isinstance(refusal, PoolFenced), "it was given out, and may be somebody's"
    judge.assert_fenced()
    judge.settle()


def test_a_host_that_is_late_with_its_beat_knows_nothing_of_one_that_came_meanwhile(
    postgres_url: str, hosts: Hosts
) -> None:
    judge = Judge(hosts(1), codes=40)
    (late,) = judge.hosts
    judge.draw(2, late)
    copy = OldCopy.of(postgres_url)
    until_there_are(postgres_url, 1, "SELECT count(*) FROM host WHERE beat > 1")
    stop_beats(late)
    until_there_are(postgres_url, 1, "SELECT count(*) FROM host WHERE beat_at < now() - interval '2.5 s'")
    judge.hosts = [late, *hosts(1)]
    patiently(lambda: judge.draw(20, judge.hosts[1]))
    copy.put_back(postgres_url)
    refusal = patiently(lambda: judge.draw(1, late))
    assert isinstance(refusal, PoolFenced), "it was given out, and may be somebody's"
    judge.settle()


def test_a_host_that_confirms_an_epoch_while_another_one_joins_knows_of_it(postgres_url: str, hosts: Hosts) -> None:
    """Its row is written again when it confirms. That it knows of the other one is another matter."""
    judge = Judge(hosts(1), codes=40)
    (late,) = judge.hosts
    judge.draw(2, late)
    early = OldCopy.of(postgres_url)
    until_there_are(postgres_url, 1, "SELECT count(*) FROM host WHERE beat > 1")
    stop_beats(late)
    known = list(judge.told)
    judge.hosts = [late, *hosts(1)]
    with ThreadPoolExecutor(1) as threads:
        joining = threads.submit(lambda: patiently(lambda: judge.draw(1, judge.hosts[1])))
        until_there_are(postgres_url, 2, "SELECT count(*) FROM host")
        OldCopy.of(postgres_url).put_back(postgres_url)
        number = known[-1]  # It acknowledges nothing but what is in the early copy too.
        patiently(lambda: late.worker.send(judge.stock_id, f"o{number}", number))
        joining.result(30)
    judge.draw(3, judge.hosts[1])
    early.put_back(postgres_url)
    refusal = patiently(lambda: judge.draw(1, late))
    assert isinstance(refusal, PoolFenced), "it was given out, and may be somebody's"


def test_no_worker_of_a_host_that_joins_gives_anything_out_before_the_host_is_noticed(
    postgres_url: str, hosts: Hosts
) -> None:
    """One worker asks whether it is. The other one sees that the epoch is settled."""
    judge = Judge(hosts(1), codes=40)
    (late,) = judge.hosts
    judge.draw(2, late)
    until_there_are(postgres_url, 1, "SELECT count(*) FROM host WHERE beat > 1")
    stop_beats(late)
    (joining,) = hosts(1, workers=2)
    asking, other = joining.workers
    began = time.monotonic()  # Before it joins: how late that is seen is the machine's affair.
    waiting = asking.spawn(asking.sending(judge.stock_id, "o1", "a1"))
    until_there_are(postgres_url, 2, "SELECT count(*) FROM host")
    assert not isinstance(patiently(lambda: other.send(judge.stock_id, "o2", "a2")), PoolFenced)
    assert time.monotonic() - began > KNOWN_SECONDS - 1
    with contextlib.suppress(StoreUnavailable):
        waiting.result(30)


def stop_beats(host: Host) -> None:
    """As on a machine that is too busy for it."""
    beats = host.worker.pool._connections.epochs._loop_task  # type: ignore[attr-defined]

    async def stop() -> None:
        beats.cancel()

    host.worker.run(stop())


def test_what_a_host_misses_that_nobody_knows_of_is_waited_for_by_reconcile(postgres_url: str, hosts: Hosts) -> None:
    """Neither the copy nor the host that starts and fences it knows of the other one."""
    judge = Judge(hosts(1), codes=40)
    (one,) = judge.hosts
    judge.draw(2, one)
    copy = OldCopy.of(postgres_url)
    judge.draw(2, one)
    one.stop()
    judge.hosts = [one, *hosts(1)]
    judge.draw(5, judge.hosts[1])
    copy.put_back(postgres_url)
    stop_beats(judge.hosts[1])  # The next one comes only after a while.
    one.start()
    assert isinstance(patiently(lambda: judge.draw(1, one)), PoolFenced)
    judge.hosts[1].worker.spawn(judge.hosts[1].worker.pool._connections.epochs._run())  # type: ignore[attr-defined]
    decision = maintenance.reconcile(postgres_url, one.folder, None, NOW, accept_short=None, dry_run=False)
    assert len(decision.take_out) == 7, decision
    judge.reconciled(postgres_url)
    judge.settle()


@pytest.mark.parametrize("starting", ["that was away", "that is new"])
def test_a_host_that_starts_on_a_copy_of_before_another_came_gives_nothing_out_before_that_one_has_spoken(
    postgres_url: str, hosts: Hosts, starting: str
) -> None:
    """Neither the copy nor the host that starts knows of the other one, which lives, and is not asked anything else."""
    judge = Judge(hosts(1), codes=40)
    first = judge.hosts[0]
    judge.draw(2, first)
    copy = OldCopy.of(postgres_url)
    first.stop()
    judge.hosts = hosts(1)
    judge.draw(20, judge.hosts[-1])
    copy.put_back(postgres_url)
    if starting == "that is new":
        judge.hosts += hosts(1)
    else:
        judge.hosts.append(first)
        first.start()
    first = judge.hosts[-1]
    refusal = patiently(lambda: judge.draw(1, first))
    assert isinstance(refusal, PoolFenced), "it was given out, and may be somebody's"
    judge.assert_fenced()
    judge.settle()


def test_a_host_that_ends_says_first_that_something_is_missing(postgres_url: str, hosts: Hosts) -> None:
    """Nobody else knows of it: neither the copy, nor a host that starts later."""
    judge = Judge(hosts(1), codes=40)
    first = judge.hosts[0]
    judge.draw(2, first)
    copy = OldCopy.of(postgres_url)
    first.stop()
    (other,) = hosts(1)
    judge.draw(20, other)
    copy.put_back(postgres_url)
    other.stop()
    first.start()
    refusal = patiently(lambda: judge.draw(1, first))
    assert isinstance(refusal, PoolFenced), "it was given out, and may be somebody's"
    other.start()
    judge.hosts = [*judge.hosts, other]
    judge.assert_fenced()
    judge.settle()


def test_a_database_that_went_back_twice_is_reconciled(postgres_url: str, hosts: Hosts, tmp_path: Path) -> None:
    """What each host knows to be missing it says once for each fence."""
    judge = Judge(hosts(), codes=40)
    for host in judge.hosts:
        judge.draw(2, host)
    copy = OldCopy.of(postgres_url)
    for host in judge.hosts:
        judge.draw(3, host)
    copy.put_back(postgres_url)
    judge.assert_fenced()
    until_there_are(postgres_url, 2, "SELECT count(*) FROM host WHERE confirmed = 'fenced'")
    copy.put_back(postgres_url)
    assert isinstance(patiently(lambda: judge.draw(1)), PoolFenced)
    issued = read_reconcile_file(judge.write_issued(postgres_url, tmp_path / "issued.csv"))
    decision = maintenance.reconcile(postgres_url, judge.hosts[0].folder, issued, NOW, accept_short=None, dry_run=False)
    assert len(decision.take_out) == 6
    judge.reconciled(postgres_url)
    judge.settle()


def test_what_was_acknowledged_under_a_fence_is_missed_in_a_copy_that_lacks_nothing_else(
    postgres_url: str, hosts: Hosts
) -> None:
    """The operator put the wrong copy back, and then the right one. Meanwhile a merchant uploaded."""
    judge = Judge(hosts(), codes=40)
    judge.draw(2)
    wrong = OldCopy.of(postgres_url)
    judge.draw(2)
    right = OldCopy.of(postgres_url)
    wrong.put_back(postgres_url)
    judge.assert_fenced()
    judge.upload(["LATE"], judge.hosts[1])
    right.put_back(postgres_url)
    judge.assert_fenced()


def test_what_a_stranger_acknowledged_under_a_fence_is_missed_too(postgres_url: str, hosts: Hosts) -> None:
    """It came under the fence, and nobody has seen it yet."""
    judge = Judge(hosts(1), codes=40)
    judge.draw(2)
    wrong = OldCopy.of(postgres_url)
    judge.draw(2)
    right = OldCopy.of(postgres_url)
    until_there_are(postgres_url, 1, "SELECT count(*) FROM host WHERE beat > 1")
    wrong.put_back(postgres_url)
    judge.assert_fenced()
    judge.upload(["LATE"], *hosts(1))
    right.put_back(postgres_url)
    judge.assert_fenced()


def test_a_right_copy_in_the_place_of_a_wrong_one_goes_on_if_nothing_was_written_meanwhile(
    postgres_url: str, hosts: Hosts
) -> None:
    judge = Judge(hosts(), codes=40)
    judge.draw(2)
    wrong = OldCopy.of(postgres_url)
    judge.draw(2)
    right = OldCopy.of(postgres_url)
    wrong.put_back(postgres_url)
    judge.assert_fenced()
    right.put_back(postgres_url)
    assert not isinstance(patiently(lambda: judge.draw(1)), PoolFenced)
    judge.settle_whole()


def test_a_platform_that_starts_waits_until_the_others_were_asked(postgres_url: str, hosts: Hosts, world: Path) -> None:
    """After a power failure all start at once. One that is slow is waited for longer than a probe would be."""
    judge = Judge(hosts(1), codes=40)
    judge.hosts[0].stop()
    execute(postgres_url, "UPDATE epoch SET server = 'before'")
    execute(postgres_url, "INSERT INTO host VALUES ('slow', 'slow', 1, now(), 'before')")

    def speak() -> None:
        until_there_are(postgres_url, 1, "SELECT count(*) FROM epoch WHERE server <> 'before'")
        time.sleep(COMMIT_OVERDUE_SECONDS + 1)
        execute(postgres_url, "UPDATE host SET confirmed = (SELECT number || '.' || token FROM epoch)")

    with ThreadPoolExecutor(1) as threads:
        speaking = threads.submit(speak)
        with served(world, "--database", postgres_url) as platform:
            speaking.result(30)
            assert urlopen(f"{platform.url}/readyz").status == 200


def test_a_host_is_killed_and_another_one_started_and_the_pool_goes_on(
    postgres_url: str, hosts: Hosts, made_world: Path, tmp_path: Path
) -> None:
    """The database stays where it is: so nobody waits for the word of the dead one."""
    judge = Judge(hosts(1), codes=200)
    judge.draw(3)
    shutil.copytree(made_world, tmp_path / "killed")
    command = [sys.executable, "-m", "tests.support.dyinghost", postgres_url, str(tmp_path / "killed"), judge.stock_id]
    done = subprocess.run([*command, "after", "1"], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        judge.noted(*line.split(" "))
    judge.hosts = [*judge.hosts, *hosts(1)]
    with judge.drawing(1) as load:
        load.more(3, GOES_ON_WITHIN_SECONDS)
    judge.hosts[0].restart()
    with judge.drawing(1) as load:
        load.more(3, GOES_ON_WITHIN_SECONDS)
    judge.settle_whole()


@pytest.mark.parametrize("stopped", [False, True], ids=["while they serve", "while they are stopped"])
def test_a_copy_of_before_a_reconcile_gives_nothing_out(
    postgres_url: str, hosts: Hosts, tmp_path: Path, stopped: bool
) -> None:
    """What was taken out is in it again. Nothing was drawn since, so no mark tells."""
    judge = Judge(hosts(), codes=40)
    judge.draw(2)
    judge.draw(2, judge.hosts[1])
    copy = OldCopy.of(postgres_url)
    (given_elsewhere,) = judge.pool.codes(judge.stock_id, status="AVAILABLE")[:1]
    execute(postgres_url, "INSERT INTO about VALUES ('fenced', 'yes')")
    issued = tmp_path / "issued.csv"
    issued.write_text(f"{judge.stock_id},{given_elsewhere}\n")
    if stopped:
        for host in judge.hosts:
            host.stop()
    decision = maintenance.reconcile(
        postgres_url, judge.hosts[0].folder, read_reconcile_file(issued), NOW, accept_short=None, dry_run=False
    )
    assert [code for _, code in decision.take_out] == [given_elsewhere]
    if not stopped:
        until_there_are(postgres_url, 2, CONFIRMED)
    copy.put_back(postgres_url)
    if stopped:
        for host in judge.hosts:
            host.start()
    for host in judge.hosts:
        assert isinstance(patiently(lambda host=host: judge.draw(1, host)), PoolFenced)  # type: ignore[misc]
    judge.assert_fenced()


CONFIRMED = "SELECT count(*) FROM host h, epoch e WHERE h.confirmed = e.number || '.' || e.token"
"""How many hosts have confirmed the epoch."""


def until_there_are(url: str, count: int, question: str) -> None:
    """Wait for it: a platform may have to start first."""
    deadline = time.monotonic() + 4 * GOES_ON_WITHIN_SECONDS
    while query(url, question) != [(count,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_stock_that_a_fenced_copy_does_not_hold_is_refused_at_once(postgres_url: str, hosts: Hosts) -> None:
    host, other = hosts()
    host.worker.create()
    copy = OldCopy.of(postgres_url)
    judge = Judge([host, other], codes=10)
    judge.draw(2)
    copy.put_back(postgres_url)
    for _ in range(2):
        for each in judge.hosts:
            refusal = patiently(lambda each=each: judge.draw(1, each))  # type: ignore[misc]
            assert isinstance(refusal, PoolFenced)


def test_what_was_committed_and_told_only_when_it_was_asked_again_is_missed_too(
    postgres_url: str, hosts: Hosts, made_world: Path, tmp_path: Path
) -> None:
    """The host was killed between COMMIT and mark, so its mark does not know of it; the repeat's does."""
    judge = Judge(hosts(1), codes=40)
    judge.draw(3)
    copy = OldCopy.of(postgres_url)
    number = unacknowledged_draw(judge)
    judge.noted(number, judge.pool.send(judge.stock_id, f"o{number}", number))
    copy.put_back(postgres_url)
    judge.assert_fenced()
    judge.settle()


def unacknowledged_draw(judge: Judge) -> str:
    """A draw that is committed, of a host that died before it could say so."""
    number = judge.fresh("lost")
    witness = judge.pool.pool._connections.witness  # type: ignore[attr-defined]
    note, witness.note = witness.note, died
    try:
        with pytest.raises(StoreUnavailable):
            judge.pool.send(judge.stock_id, f"o{number}", number)
    finally:
        witness.note = note
    return number


def died(*_: object) -> None:
    raise RuntimeError("it is dead")


def test_what_a_host_that_stands_still_knows_to_be_missing_is_waited_for_by_reconcile(
    postgres_url: str, hosts: Hosts
) -> None:
    """Each living host says what it misses. Whoever reconciles at once would not hear of the second one's."""
    judge = Judge(hosts(), codes=40)
    one, other = judge.hosts
    judge.draw(2, one)
    judge.draw(2, other)
    copy = OldCopy.of(postgres_url)
    judge.draw(2, one)
    judge.draw(2, other)
    copy.put_back(postgres_url)
    assert isinstance(patiently(lambda: judge.draw(1, one)), PoolFenced)
    decision = maintenance.reconcile(postgres_url, one.folder, None, NOW, accept_short=None, dry_run=False)
    assert not decision.refused
    judge.reconciled(postgres_url)
    for host in judge.hosts:
        patiently(lambda host=host: judge.draw(1, host))  # type: ignore[misc]
    judge.settle()


def test_workers_that_start_together_on_an_empty_database_see_none_of_its_tables_or_all(postgres_url: str) -> None:
    async def together() -> None:
        connections = [await asyncpg.connect(postgres_url) for _ in range(4)]
        try:
            for _ in range(5):
                await connections[0].execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
                await asyncio.gather(*(schema.check(connection) for connection in connections))
        finally:
            for connection in connections:
                await connection.close()

    asyncio.run(together())
