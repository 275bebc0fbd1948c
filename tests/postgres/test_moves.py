"""A pool whose database moves: replicas promoted, copies put back, servers beside each other, settings changed.

Each on real servers, under load, through two hosts: no code is told to two numbers, no answered number is answered
with another code. A move that loses nothing goes on by itself; one that lost something gives nothing out.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from quanma.api.coupons import ListCoupons
from quanma.cli.main import group
from quanma.errors import Misconfigured, PoolFenced, QuanmaError, StoreUnavailable
from tests.contract.driver import NOW, list_coupons
from tests.support import postgres
from tests.support.cable import Cable
from tests.support.cluster import SYNCHRONOUS, AnotherCluster, Member, address, insist, wait_for_a_waiting_commit
from tests.support.judge import GOES_ON_WITHIN_SECONDS, Host, Judge, patiently
from tests.support.oldcopy import OldCopy
from tests.support.platform import APPID, MCHID
from tests.support.postgres import Server, execute, query

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

Hosts = Callable[..., list[Host]]
Make = Callable[..., Member]
Reconcile = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def origin() -> Iterator[Server]:
    """Initialised, never started: every cluster here is a copy of it."""
    if why := postgres.why_absent(own_server=True):
        pytest.skip(why)
    server = Server({}, in_memory=True)
    yield server
    server.close()


@pytest.fixture(scope="module")
def server(origin: Server) -> Iterator[Member]:
    """One that stays where it is; each test has a database of its own on it."""
    running = Member(origin)
    running.start()
    yield running
    running.close()


@pytest.fixture
def make(origin: Server) -> Iterator[Make]:
    """Makes servers of one cluster; they are not started."""
    with contextlib.ExitStack() as made:

        def member(settings: dict[str, str] | None = None) -> Member:
            return made.enter_context(contextlib.closing(Member(origin, settings)))

        yield member


@pytest.fixture
def cable() -> Iterator[Cable]:
    """From a primary to its replica; where it leads, the test says."""
    with Cable(0) as laid:
        yield laid


@pytest.fixture
def hosts(made_world: Path, tmp_path: Path) -> Iterator[Hosts]:
    """Makes machines that serve a pool, each with its own world."""
    with contextlib.ExitStack() as serving:

        def open_hosts(url: str, count: int = 2, **options: Any) -> list[Host]:
            opened: list[Host] = []
            for name in "ab"[:count]:
                shutil.copytree(made_world, tmp_path / name)
                opened.append(Host(url, tmp_path / name, **options))
                serving.callback(opened[-1].close)
            return opened

        yield open_hosts


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on, a COMMIT, a statement and a call are given up after a second or two."""

    def begins() -> None:
        for module, patience in (
            ("connections", "WAIT_SECONDS"),
            ("connections", "KEEP_TRYING_SECONDS"),
            ("session", "COMMIT_SECONDS"),
            ("epochs", "COMMIT_OVERDUE_SECONDS"),
        ):
            monkeypatch.setattr(f"quanma.platform.pool.postgres.{module}.{patience}", 1.0)

    return begins


@pytest.fixture
def reconcile() -> Reconcile:
    """`quanma reconcile` on a host: its exit status, and what it printed."""

    def run(host: Host, *options: str) -> tuple[int, str]:
        line = ["reconcile", "--config", str(host.folder / "platform.toml"), "--database", host.url, *options]
        done = CliRunner().invoke(group, line, standalone_mode=False, catch_exceptions=False)
        if isinstance(done.exception, QuanmaError):
            raise done.exception
        return done.return_value or 0, done.output

    return run


def replicated(make: Make, cable: Cable | None = None, *, synchronous: bool) -> tuple[Member, Member]:
    """A primary and its replica, started, level with each other. The replica itself wants no replica."""
    primary = make(SYNCHRONOUS if synchronous else None)
    replica = make()
    if cable is not None:
        cable.leads_to = primary.port
    replica.follow(primary, port=cable.port if cable else None)
    primary.start()
    replica.start()
    if synchronous:
        primary.wait_until_followed()
    else:
        replica.wait_until_level_with(primary)
    return primary, replica


def new_database(server: Server) -> str:
    """Its name."""
    return urlsplit(server.databases.fresh()).path[1:]


# Failover


def test_an_address_of_two_hosts_without_a_synchronous_replica_is_refused(make: Make, hosts: Hosts) -> None:
    primary, replica = replicated(make, synchronous=False)
    (host,) = hosts(address(new_database(primary), primary, replica), 1)
    with pytest.raises(Misconfigured, match="synchronous_standby_names"):
        host.worker.create()


def test_a_replica_that_is_behind_gives_nothing_out_when_it_is_promoted(
    make: Make, cable: Cable, hosts: Hosts, reconcile: Reconcile, tmp_path: Path
) -> None:
    primary, replica = replicated(make, cable, synchronous=False)
    database = new_database(primary)
    judge = Judge(hosts(address(database, primary, replica), accept_lost_failover=True))
    with judge.drawing() as load:
        load.more(10)
        replica.wait_until_level_with(primary)
        cable.hold()
        load.more(10)
        primary.kill()
        replica.promote()
        load.until_nothing_more()
    assert judge.lost(replica.databases.url_of(database))
    judge.settle()
    judge.assert_fenced()
    # The operator's part: what merchants know of the lost ones is taken out, and the pool goes on.
    now_at = replica.databases.url_of(database)
    judge.hosts[0].url = now_at
    issued = judge.write_issued(now_at, tmp_path / "issued.csv")
    assert reconcile(judge.hosts[0], "--issued", str(issued))[0] == 0
    judge.reconciled(now_at)
    with judge.drawing() as load:
        load.more(5)
    judge.settle()


def test_a_replica_that_has_received_nothing_is_fenced_and_does_not_say_that_there_is_no_stock(
    make: Make, cable: Cable, hosts: Hosts
) -> None:
    primary, replica = replicated(make, cable, synchronous=False)
    database = new_database(primary)
    replica.wait_until_level_with(primary)
    cable.hold()
    judge = Judge(hosts(address(database, primary, replica), accept_lost_failover=True), codes=40)
    judge.draw(5)
    judge.draw(5, judge.hosts[1])
    primary.kill()
    replica.promote()
    for _ in range(2):
        assert judge.ask_again().refused == 10
        for host in judge.hosts:
            with pytest.raises(StoreUnavailable):
                judge.draw(1, host)
            host.restart()


def test_an_asynchronous_replica_that_had_everything_goes_on_by_itself(make: Make, hosts: Hosts) -> None:
    primary, replica = replicated(make, synchronous=False)
    judge = Judge(hosts(address(new_database(primary), primary, replica), accept_lost_failover=True), codes=200)
    with judge.drawing() as load:
        load.more(10)
    replica.wait_until_level_with(primary)
    primary.kill()
    replica.promote()
    with judge.drawing() as load:
        load.more(10, GOES_ON_WITHIN_SECONDS)
    judge.settle_whole()


def test_a_synchronous_replica_goes_on_by_itself(make: Make, hosts: Hosts) -> None:
    primary, replica = replicated(make, synchronous=True)
    judge = Judge(hosts(address(new_database(primary), primary, replica), workers=2))
    with judge.drawing() as load:
        load.more(20)
        primary.kill()
        replica.promote()
        load.more(20, GOES_ON_WITHIN_SECONDS)
    judge.settle_whole()


def test_a_promoted_server_that_waits_for_a_replica_says_so_and_goes_on_when_it_need_not(
    make: Make, hosts: Hosts, impatience: Callable[[], None]
) -> None:
    primary, replica = replicated(make, synchronous=True)
    replica.alter_system(**SYNCHRONOUS)
    judge = Judge(hosts(address(new_database(primary), primary, replica)), codes=200)
    judge.draw(5)
    judge.draw(5, judge.hosts[1])
    impatience()
    primary.kill()
    replica.promote()
    with pytest.raises(StoreUnavailable):
        judge.draw()
    assert says_that_nothing_can_be_committed(judge.hosts[0])
    replica.alter_system(synchronous_standby_names="")
    with judge.drawing() as load:
        load.more(5, GOES_ON_WITHIN_SECONDS)
    judge.settle_whole()
    judge.pool.run(judge.pool.pool.check())


def says_that_nothing_can_be_committed(host: Host) -> bool:
    """What `/healthz` asks, within the time of a few beats."""
    deadline = time.monotonic() + GOES_ON_WITHIN_SECONDS
    while time.monotonic() < deadline:
        try:
            host.worker.run(host.worker.pool.check())
        except StoreUnavailable:
            return True
    return False


# A synchronous replica that hangs


def shown(host: Host, openid: str) -> list[str | None]:
    """The codes that a user sees."""
    listing = list_coupons(host.worker.pool, MCHID, ListCoupons(openid=openid, appid=APPID), NOW)
    return [coupon.coupon_code for coupon in host.worker.run(listing).data]


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_wait_for_a_replica_that_an_administrator_ends_is_no_answer(
    make: Make, cable: Cable, hosts: Hosts, impatience: Callable[[], None], how: str
) -> None:
    """Neither is what it leaves, asked for again, nor what it shows."""
    primary, replica = replicated(make, cable, synchronous=True)
    judge = Judge(hosts(address(new_database(primary), primary, replica)), codes=40)
    one, other = judge.hosts
    judge.draw(5)
    judge.draw(5, other)
    cable.hold()
    impatience()
    asked = one.worker.spawn(one.worker.sending(judge.stock_id, "oWaits", "Waits"))
    execute(primary.url, f"SELECT {how}({wait_for_a_waiting_commit(primary)})")
    answers = [_outcome(asked.result, 3)]
    for host in judge.hosts:
        again = host.worker.spawn(host.worker.sending(judge.stock_id, "oWaits", "Waits"))
        answers.append(_outcome(again.result, 3))
        for _ in range(5):
            with contextlib.suppress(StoreUnavailable):
                answers += shown(host, "oWaits")
    for code in filter(None, answers):
        judge.noted("Waits", code)
    primary.kill()
    replica.promote()
    patiently(lambda: judge.draw(1))
    judge.settle()
    assert not any(answers), answers


def _outcome(answer: Callable[[float], str], seconds: float) -> str | None:
    """The code; None: no answer yet, or an error that says to ask again."""
    try:
        return answer(seconds)
    except (StoreUnavailable, TimeoutError):
        return None


@pytest.mark.parametrize("ends", ["released", "promoted"])
def test_what_waits_for_a_replica_is_shown_to_nobody_though_we_give_up_waiting(
    make: Make, cable: Cable, hosts: Hosts, impatience: Callable[[], None], ends: str
) -> None:
    primary, replica = replicated(make, cable, synchronous=True)
    judge = Judge(hosts(address(new_database(primary), primary, replica)), codes=40)
    judge.draw(5)
    judge.draw(5, judge.hosts[1])
    cable.hold()
    impatience()
    pool = judge.pool
    asked = pool.spawn(pool.sending(judge.stock_id, "oWaits", "Waits"))
    wait_for_a_waiting_commit(primary)
    began = time.monotonic()
    while not asked.done() or time.monotonic() < began + 4:
        assert time.monotonic() < began + 30
        for host in judge.hosts:
            with contextlib.suppress(StoreUnavailable):
                assert shown(host, "oWaits") == []
        time.sleep(0.1)
    with pytest.raises(StoreUnavailable):
        asked.result()
    if ends == "released":
        cable.release()
        code = patiently(lambda: pool.send(judge.stock_id, "oWaits", "Waits"))
        assert isinstance(code, str)
        judge.noted("Waits", code)
        assert patiently(lambda: shown(judge.hosts[1], "oWaits")) == [code]
        judge.settle_whole()
    else:
        primary.kill()
        replica.promote()
        patiently(lambda: judge.draw(1))
        judge.settle_whole()


# Older copies, put back


def restored_anew(server: Member, database: str, dump: Path) -> None:
    server.databases.drop(server.databases.url_of(database))
    execute(server.url, f"CREATE DATABASE {database}")
    server.load(dump, server.databases.url_of(database))


def restored_whole(server: Member, database: str, dump: Path) -> None:
    server.databases.drop(server.databases.url_of(database))
    server.load(dump, server.url, "--create")


def restored_beside_and_renamed(server: Member, database: str, dump: Path) -> None:
    beside = new_database(server)
    server.load(dump, server.databases.url_of(beside))
    server.databases.drop(server.databases.url_of(database))
    execute(server.url, f"ALTER DATABASE {beside} RENAME TO {database}")


def restored_in_place(server: Member, database: str, dump: Path) -> None:
    server.load(dump, server.databases.url_of(database), "--clean", "--if-exists", "-1")


# First what each transaction locks first: else the load and the restore wait for each other.
_ALONE = "BEGIN; LOCK TABLE stock_lock IN ACCESS EXCLUSIVE MODE"


def restored_without_its_schema(server: Member, database: str, dump: Path) -> None:
    url = server.databases.url_of(database)
    insist(url, f"{_ALONE}; DROP SCHEMA public CASCADE; CREATE SCHEMA public; COMMIT")
    server.load(dump, url, "-n", "public", "-1")


def restored_rows_alone(server: Member, database: str, dump: Path) -> None:
    url = server.databases.url_of(database)
    tables = ", ".join(
        f'"{name}"' for (name,) in query(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    )
    insist(url, f"{_ALONE}; TRUNCATE {tables}; COMMIT")
    server.load(dump, url, "--data-only", "--disable-triggers", "-1")


RESTORES = [
    restored_anew,
    restored_whole,
    restored_beside_and_renamed,
    restored_in_place,
    restored_without_its_schema,
    restored_rows_alone,
]


@pytest.mark.parametrize("restore", RESTORES, ids=lambda restore: restore.__name__)
def test_a_dump_that_is_put_back_gives_nothing_out(
    server: Member,
    hosts: Hosts,
    restore: Callable[[Member, str, Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = new_database(server)
    judge = Judge(hosts(server.databases.url_of(database)))
    with judge.drawing() as load:
        load.more(10)
        dump = server.dump(judge.hosts[0].url)
        load.more(10)
        caplog.clear()
        restore(server, database, dump)
        load.until_nothing_more()
    judge.settle()
    judge.assert_fenced()
    critical = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert 1 <= len(critical) <= len(judge.hosts)
    for host in judge.hosts:
        host.restart()
    judge.settle()
    judge.assert_fenced()


def test_what_merchants_know_lifts_the_fence_and_nothing_is_given_twice(
    server: Member, hosts: Hosts, reconcile: Reconcile, tmp_path: Path
) -> None:
    database = new_database(server)
    url = server.databases.url_of(database)
    judge = Judge(hosts(url))
    judge.draw(10)
    judge.draw(10, judge.hosts[1])
    dump = server.dump(url)
    with judge.drawing() as load:
        load.more(10)
    restored_in_place(server, database, dump)
    judge.assert_fenced()
    assert reconcile(judge.hosts[1])[0] == 1
    issued = judge.write_issued(url, tmp_path / "issued.csv")
    assert reconcile(judge.hosts[1], "--issued", str(issued))[0] == 0
    assert reconcile(judge.hosts[0])[0] == 0
    judge.reconciled(url)
    with judge.drawing() as load:
        load.more(10, GOES_ON_WITHIN_SECONDS)
    judge.settle()


def test_what_only_the_other_host_knows_of_is_not_given_out_by_this_one(server: Member, hosts: Hosts) -> None:
    """Neither at once, nor while the other one is idle."""
    database = new_database(server)
    url = server.databases.url_of(database)
    judge = Judge(hosts(url), codes=40)
    busy, idle = judge.hosts
    judge.draw(5, busy)
    judge.draw(5, idle)
    dump = server.dump(url)
    judge.draw(20, busy)
    restored_in_place(server, database, dump)
    with contextlib.suppress(StoreUnavailable):
        judge.draw(1, idle)
        pytest.fail("it was given out, and may be somebody's")
    judge.assert_fenced()
    judge.settle()


def test_what_only_a_worker_that_ended_knows_of_is_not_given_out_by_the_next_one(server: Member, hosts: Hosts) -> None:
    database = new_database(server)
    url = server.databases.url_of(database)
    judge = Judge(hosts(url, 1, workers=2), codes=40)
    first, second = judge.hosts[0].workers
    judge.draw(5)
    dump = server.dump(url)
    judge.draw(10)
    first.close()
    restored_in_place(server, database, dump)
    judge.hosts[0].workers.remove(first)
    refusal = patiently(lambda: second.send(judge.stock_id, "oUser", "n"))
    assert isinstance(refusal, PoolFenced), refusal


def test_what_a_host_committed_and_has_not_marked_when_the_database_goes_back_is_not_acknowledged(
    server: Member, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host stands still for a moment between COMMIT and mark, as one does whose machine is short of memory."""
    url = server.databases.url_of(new_database(server))
    judge = Judge(hosts(url), codes=8)
    paused, other = judge.hosts
    judge.draw(2, paused)
    judge.draw(2, other)
    copy = OldCopy.of(url)
    stands_still, goes_on = threading.Event(), threading.Event()
    witness = importlib.import_module("quanma.platform.pool.postgres.witness").Witness
    note = witness.note

    def noted(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.folder.is_relative_to(paused.folder):
            stands_still.set()
            assert goes_on.wait(30)
        return note(self, *arguments, **options)

    monkeypatch.setattr(witness, "note", noted)
    asked = paused.worker.spawn(paused.worker.sending(judge.stock_id, "oPaused", "Paused"))
    assert stands_still.wait(20)
    copy.put_back(url)
    drawing = threading.Thread(target=lambda: patiently(lambda: judge.draw(1, other)))
    drawing.start()
    time.sleep(1)  # As long as it stands still; the other one may draw meanwhile, or wait.
    goes_on.set()
    drawing.join()
    if (code := _outcome(asked.result, 30)) is not None:
        judge.noted("Paused", code)
    judge.settle()


def test_a_dump_of_a_pool_at_rest_is_put_back_and_goes_on_by_itself(server: Member, hosts: Hosts) -> None:
    database = new_database(server)
    judge = Judge(hosts(server.databases.url_of(database)), codes=100)
    judge.draw(5)
    judge.draw(5, judge.hosts[1])
    restored_in_place(server, database, server.dump(judge.hosts[0].url))
    with judge.drawing() as load:
        load.more(10, GOES_ON_WITHIN_SECONDS)
    judge.settle_whole()


def test_another_cluster_on_the_same_port_gives_nothing_out(server: Member, make: Make, hosts: Hosts) -> None:
    here = make()
    here.start()
    database = new_database(here)
    judge = Judge(hosts(here.databases.url_of(database)))
    other = contextlib.closing(AnotherCluster(here, here.programs))
    with other as another, judge.drawing() as load:
        another.start()
        load.more(10)
        dump = here.dump(judge.hosts[0].url)
        load.more(10)
        another.load(dump, another.url, "--create")
        another.stop()
        here.stop()
        here.become(another)
        here.start()
        load.until_nothing_more()
    judge.settle()
    judge.assert_fenced()


@pytest.mark.parametrize("restarted", [False, True], ids=["while it runs", "restarted"])
def test_a_base_backup_that_is_put_back_gives_nothing_out(make: Make, hosts: Hosts, restarted: bool) -> None:
    here = make()
    here.start()
    judge = Judge(hosts(here.databases.url_of(new_database(here))))
    with judge.drawing() as load:
        load.more(10)
        backup = here.base_backup()
        load.more(10)
        if restarted:
            load.stop()
            for host in judge.hosts:
                host.stop()
        here.stop()
        here.put_back(backup)
        here.start()
        if restarted:
            for host in judge.hosts:
                host.start()
        else:
            load.until_nothing_more()
    judge.settle()
    judge.assert_fenced()


# There and back, and two at once


def test_switchovers_back_and_forth_with_rewind_lose_nothing_and_go_on(make: Make, hosts: Hosts) -> None:
    one, two = replicated(make, synchronous=True)
    judge = Judge(hosts(address(new_database(one), one, two)))
    with judge.drawing(2) as load:
        for old, new in ((one, two), (two, one)):
            load.more(10)
            old.stop()
            new.promote()
            load.more(10, GOES_ON_WITHIN_SECONDS)
            old.rewind(new)
            old.start()
            old.wait_until_level_with(new)
            old.alter_system(synchronous_standby_names="")  # So that it need not wait when it is promoted.
            new.alter_system(**SYNCHRONOUS)
            new.wait_until_followed()
        load.more(10)
    judge.settle_whole()
    timelines = query(one.url, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
    assert timelines == [("00000003",)]


@pytest.mark.parametrize("restarted", [False, True], ids=["while it runs", "restarted"])
def test_the_old_primary_beside_the_promoted_one_gives_nothing_twice(make: Make, hosts: Hosts, restarted: bool) -> None:
    old, new = replicated(make, synchronous=False)
    judge = Judge(hosts(address(new_database(old), old, new), accept_lost_failover=True, workers=2))
    with judge.drawing(2) as load:
        load.more(10)
    new.wait_until_level_with(old)
    old.kill()
    new.promote()
    with judge.drawing(2) as load:
        load.more(10)
        old.start()
        if not restarted:
            execute(new.url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'quanma'")
            load.until_nothing_more()
    if restarted:
        for host in judge.hosts:
            host.restart()
    judge.settle()


def test_an_address_that_leads_back_to_the_old_primary_gives_nothing_out(
    make: Make, cable: Cable, hosts: Hosts
) -> None:
    """A floating address: one host in the URL, another server behind it."""
    old, new = replicated(make, synchronous=False)
    database = new_database(old)
    cable.leads_to = old.port
    there = urlsplit(old.databases.url_of(database))
    url = there._replace(netloc=f"{there.netloc.rpartition(':')[0]}:{cable.port}").geturl()
    judge = Judge(hosts(url), codes=200)
    with judge.drawing(2) as load:
        load.more(5)
    new.wait_until_level_with(old)
    new.promote()
    cable.leads_to = new.port
    cable.cut()
    with judge.drawing(2) as load:
        load.more(5, GOES_ON_WITHIN_SECONDS)
    cable.leads_to = old.port
    cable.cut()
    for host in judge.hosts:
        with pytest.raises(StoreUnavailable):
            judge.draw(1, host)
        host.restart()
        with pytest.raises(StoreUnavailable):
            judge.draw(1, host)
    cable.leads_to = new.port
    cable.cut()
    with judge.drawing(2) as load:
        load.more(5, GOES_ON_WITHIN_SECONDS)
    judge.settle_whole()


# Settings of a running server


def test_synchronous_commit_is_switched_off_while_it_runs_and_the_server_crashes(make: Make, hosts: Hosts) -> None:
    here = make({"wal_writer_delay": "10s"})
    here.start()
    database = new_database(here)
    judge = Judge(hosts(here.databases.url_of(database)))
    with judge.drawing() as load:
        load.more(10)
        here.alter_system(synchronous_commit="off")
        load.more(20)
        here.crash()
        here.start()
        load.until_nothing_more()
    judge.settle()
    if not judge.lost(here.databases.url_of(database)):
        judge.settle_whole()


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_is_made_unsafe_while_it_runs_gives_nothing_out_until_it_is_safe_again(
    make: Make, hosts: Hosts, setting: str
) -> None:
    here = make()
    here.start()
    judge = Judge(hosts(here.databases.url_of(new_database(here))), codes=200)
    judge.draw(5)
    here.alter_system(**{setting: "off"})
    try:
        with pytest.raises(StoreUnavailable, match=setting):
            judge.draw()
        with pytest.raises(StoreUnavailable, match=setting):
            judge.pool.run(judge.pool.pool.check())
    finally:
        here.alter_system(**{setting: "on"})
    with judge.drawing() as load:
        load.more(5, GOES_ON_WITHIN_SECONDS)
    judge.settle_whole()


def test_maintenance_goes_unnoticed(server: Member, hosts: Hosts) -> None:
    url = server.databases.url_of(new_database(server))
    judge = Judge(hosts(url))
    tables = [f'"{name}"' for (name,) in query(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    with judge.drawing(2) as load:
        load.more(5)
        execute(url, f"REINDEX DATABASE CONCURRENTLY {urlsplit(url).path[1:]}", "ANALYZE")
        for table in tables:
            execute(url, f"VACUUM (FULL) {table}")
        execute(url, "CLUSTER coupon USING coupon_pkey", "CLUSTER code USING code_by_hash")
        load.more(5)
    assert judge.unanswered == []
    judge.settle_whole()


def test_an_upgraded_cluster_is_fenced_until_somebody_says_that_nothing_is_missing(
    make: Make, hosts: Hosts, reconcile: Reconcile
) -> None:
    programs = postgres.newer_programs()
    if programs is None:
        pytest.skip("no second, newer version of PostgreSQL with pg_upgrade is installed")
    old = make()
    old.start()
    database = new_database(old)
    judge = Judge(hosts(old.databases.url_of(database)))
    with judge.drawing() as load:
        load.more(10)
    with contextlib.closing(AnotherCluster(old, programs)) as new:
        old.stop()
        new.upgrade(old)
        new.start()
        for host in judge.hosts:
            host.url = new.databases.url_of(database)
            host.restart()
        told = judge.ask_again()
        assert told.refused == 0, told.why
        if judge.pool.pool.fence():
            assert reconcile(judge.hosts[0], "--nothing-issued")[0] == 0
        with judge.drawing() as load:
            load.more(10, GOES_ON_WITHIN_SECONDS)
        judge.settle_whole()
        for host in judge.hosts:
            host.close()
