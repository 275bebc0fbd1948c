"""A pooler between the platform and PostgreSQL: PgBouncer in each of its modes, with the configuration of the page."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from quanma.errors import Misconfigured, NotSent, OutcomeUnknown, StoreUnavailable, TryAgain
from quanma.platform.pool import open_pool
from quanma.platform.pool.postgres.address import addresses_of
from quanma.platform.pool.postgres.session import SETTINGS, ServerConnection, begin_session
from tests.contract.driver import DrivenPool
from tests.support import poolers
from tests.support.platform import APPID, Served, create_stock, served
from tests.support.poolers import PGBOUNCER, pgbouncer
from tests.support.postgres import Server, query
from tests.support.under_load import client

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(poolers.why_absent(PGBOUNCER)), reason=poolers.why_absent(PGBOUNCER) or ""),
]

IGNORED = ",".join(["extra_float_digits", *SETTINGS])
SESSION = {
    "the page's": {},
    "startup parameters ignored": {"ignore_startup_parameters": IGNORED},
    "no authentication": {"auth_type": "any"},
    "md5, and the session that waited longest first": {"auth_type": "md5", "server_round_robin": "1"},
}
SHARING = {
    "transaction": {"pool_mode": "transaction"},
    "transaction, one session": {"pool_mode": "transaction", "default_pool_size": "1"},
    "transaction, startup parameters ignored": {"pool_mode": "transaction", "ignore_startup_parameters": IGNORED},
    "transaction, in turn": {"pool_mode": "transaction", "server_round_robin": "1"},
    "statement": {"pool_mode": "statement"},
}


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


def opened(pools: contextlib.ExitStack, url: str, folder: Path) -> DrivenPool:
    return pools.enter_context(contextlib.closing(DrivenPool(lambda: open_pool(url, folder))))


def quanma(world: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that must end by itself; its output is one text."""
    return subprocess.run(
        [sys.executable, "-m", "quanma", *arguments, "--config", str(world / "platform.toml")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def health(platform: Served) -> int:
    try:
        with urllib.request.urlopen(f"{platform.url}/healthz", timeout=15) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def wait_until_unwell(platform: Served) -> None:
    deadline = time.monotonic() + 20
    while health(platform) != 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextlib.contextmanager
def busy(url: str, clients: int) -> Generator[None, None, None]:
    """Others' clients, so that the pooler has several of the server's sessions, now free and now not."""
    stopping = threading.Event()

    async def ask() -> None:
        connection = await asyncpg.connect(url, statement_cache_size=0)
        try:
            while not stopping.is_set():
                await connection.execute("SELECT pg_sleep(0.02)")
                await asyncio.sleep(0.01)
        except (asyncpg.PostgresError, asyncpg.InterfaceError):
            pass  # One of its sessions was ended.
        finally:
            connection.terminate()
            await asyncio.sleep(0)

    async def all_ask() -> None:
        await asyncio.gather(*(ask() for _ in range(clients)))

    thread = threading.Thread(target=lambda: asyncio.run(all_ask()))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(20)


@pytest.mark.parametrize("changes", SESSION.values(), ids=SESSION)
def test_in_session_mode_every_setting_holds_and_a_silent_turn_is_ended(
    postgres_url: str, pools: contextlib.ExitStack, tmp_path: Path, changes: dict[str, str]
) -> None:
    with pgbouncer(postgres_url, changes) as pooler:
        pool = opened(pools, pooler.url, tmp_path)
        stock_id = pool.create()
        pool.upload(stock_id, ["A1", "B2", "C3"])
        first = pool.send(stock_id, "oFirst", "n1")
        (address,) = addresses_of(pooler.url)

        async def stop_within_a_turn() -> ServerConnection:
            connection = await begin_session(address, None)
            held = {name: str(await connection.fetchval(f"SHOW {name}")) for name in SETTINGS}
            assert held == {**SETTINGS, "tcp_user_timeout": "10000"}  # In ms.
            await connection.execute("BEGIN")
            await connection.execute("SELECT FROM stock_lock FOR UPDATE")
            return connection

        silent = pool.run(stop_within_a_turn())
        began = time.monotonic()
        second = pool.send(stock_id, "oSecond", "n2")
        assert time.monotonic() - began < 30  # 5 s, and the machine's own
        assert pool.send(stock_id, "oFirst", "n1") == first != second
        silent.terminate()
        pool.reopen()
        assert pool.counts(stock_id) == (3, 1)
        pools.close()


def test_a_worker_that_is_stopped_within_a_turn_holds_its_stock_no_longer_than_directly(
    world: Path, postgres_url: str
) -> None:
    """SIGSTOP, until PostgreSQL sees the transaction stand idle."""
    with (
        pgbouncer(postgres_url, {"ignore_startup_parameters": IGNORED}) as pooler,
        served(world, "--database", pooler.url, "--workers", "2") as platform,
    ):
        with platform.wechatpay() as wxpay:
            stock_id = create_stock(wxpay, "s1")
            for upload in range(20):
                wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes.post(
                    coupon_code_list=[f"C{upload}X{number}" for number in range(200)], upload_request_no=f"u{upload}"
                )
        given: list[float] = []
        stopping = threading.Event()

        def keep_drawing(thread: int) -> None:
            number = 0
            while not stopping.is_set():
                number += 1
                with client(platform) as wxpay, contextlib.suppress(NotSent, OutcomeUnknown, TryAgain):
                    wxpay.v3.marketing.busifavor.coupons.send.post(
                        stock_id=stock_id,
                        openid=f"o{thread}n{number}",
                        appid=APPID,
                        out_request_no=f"t{thread}n{number}",
                    )
                    given.append(time.monotonic())

        drawing = [threading.Thread(target=keep_drawing, args=(thread,)) for thread in range(6)]
        for thread in drawing:
            thread.start()
        try:
            stopped = _stop_within_a_turn(platform, postgres_url)
            began = time.monotonic()
            while not any(at > began for at in given):
                assert time.monotonic() - began < 30  # 5 s, and the machine's own
                time.sleep(0.05)
        finally:
            for worker in platform.workers():
                os.kill(worker, signal.SIGCONT)
            stopping.set()
            for thread in drawing:
                thread.join(30)
        assert stopped
        (row,) = query(postgres_url, "SELECT count(*), count(DISTINCT position) FROM coupon")
        assert row[0] == row[1]


def _stop_within_a_turn(platform: Served, url: str) -> bool:
    idle = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
        " AND state_change < clock_timestamp() - interval '0.3 s'"
    )
    for attempt in range(40):
        time.sleep(0.1)
        worker = platform.workers()[attempt % 2]
        os.kill(worker, signal.SIGSTOP)
        time.sleep(0.4)
        if query(url, idle):
            return True
        os.kill(worker, signal.SIGCONT)
    return False


@pytest.mark.parametrize("changes", SHARING.values(), ids=SHARING)
def test_a_pooler_that_shares_its_sessions_out_is_refused(
    postgres_url: str, pools: contextlib.ExitStack, tmp_path: Path, changes: dict[str, str]
) -> None:
    with pgbouncer(postgres_url, changes) as pooler:
        for _ in range(3):  # Each time it has more sessions that it could lead us to.
            pool = opened(pools, pooler.url, tmp_path)
            with pytest.raises(StoreUnavailable, match="pool_mode = session"):
                pool.run(pool.pool.check())
        pools.close()


@pytest.mark.parametrize("in_turn", ["0", "1"])
def test_it_is_refused_too_where_others_keep_its_sessions_moving(
    postgres_url: str, pools: contextlib.ExitStack, tmp_path: Path, in_turn: str
) -> None:
    changes = {"pool_mode": "transaction", "server_round_robin": in_turn}
    with pgbouncer(postgres_url, changes) as pooler, busy(pooler.url, 6):
        for _ in range(10):
            pool = opened(pools, pooler.url, tmp_path)
            with pytest.raises(StoreUnavailable, match="pool_mode = session"):
                pool.run(pool.pool.check())
        pools.close()


def test_the_start_of_several_workers_is_refused_without_a_traceback(world: Path, postgres_url: str) -> None:
    changes = {"pool_mode": "transaction", "ignore_startup_parameters": IGNORED}
    with pgbouncer(postgres_url, changes) as pooler:
        done = quanma(world, "serve", "--port", "0", "--workers", "2", "--database", pooler.url)
    assert done.returncode == 1
    assert "pool_mode = session" in done.stdout
    assert "Traceback" not in done.stdout
    assert "listening" not in done.stdout
    assert str(urlsplit(pooler.url).password) not in done.stdout


def test_commands_beside_serving_work_through_sessions_and_are_refused_through_transactions(
    world: Path, postgres_url: str, tmp_path: Path
) -> None:
    def run(url: str, name: str) -> list[subprocess.CompletedProcess[str]]:
        return [
            quanma(world, "migrate", "--database", url),
            quanma(world, "reconcile", "--database", url),
            quanma(world, "export", str(tmp_path / name), "--database", url),
        ]

    with pgbouncer(postgres_url) as pooler:
        for done in run(pooler.url, "through"):
            assert done.returncode == 0, done.stdout
    with pgbouncer(postgres_url, {"pool_mode": "transaction"}) as pooler:
        for done in run(pooler.url, "not"):
            assert done.returncode == 1
            assert "pool_mode = session" in done.stdout
            assert "Traceback" not in done.stdout


def test_a_pooler_that_is_told_to_share_while_we_serve_is_noticed_and_healthz_says_so(
    world: Path, postgres_url: str
) -> None:
    with pgbouncer(postgres_url) as pooler, served(world, "--database", pooler.url) as platform:
        assert health(platform) == 200
        pooler.change("pool_mode = session", "pool_mode = transaction")
        # What is connected stays so until its server's session ends.
        query(
            postgres_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'quanma' AND datname = current_database()",
        )
        with busy(pooler.url, 4):
            wait_until_unwell(platform)
        platform.stop()
    log = (world / "serve.log").read_text()
    assert "pool_mode = session" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("of_url", "changes", "said"),
    [
        (("quanma:", "nobody:"), {}, "no such user|authentication failed"),
        (("/quanma_test", "/none_test"), {}, "none_test|server login"),
        (("?", "?"), {"max_client_conn": "0"}, "no more connections allowed"),
        (("?", "?statement_timeout=5s&"), {}, "statement_timeout.*ignore_startup_parameters"),
    ],
    ids=["user", "database", "full", "parameter"],
)
def test_what_a_pooler_refuses_is_told_in_its_own_words(
    postgres_url: str,
    pools: contextlib.ExitStack,
    tmp_path: Path,
    of_url: tuple[str, str],
    changes: dict[str, str],
    said: str,
) -> None:
    with pgbouncer(postgres_url, changes) as pooler:
        pool = opened(pools, f"{pooler.url}?application_name=quanma".replace(*of_url), tmp_path)
        with pytest.raises((Misconfigured, StoreUnavailable), match=said):
            pool.run(pool.pool.check())
        pools.close()


def test_a_pool_that_is_too_small_is_told(postgres_url: str, pools: contextlib.ExitStack, tmp_path: Path) -> None:
    with pgbouncer(postgres_url, {"default_pool_size": "1"}) as pooler:
        pool = opened(pools, pooler.url, tmp_path)
        with pytest.raises(StoreUnavailable, match="default_pool_size"):
            pool.run(pool.pool.check())
        pools.close()


def test_a_server_that_restarts_behind_a_pooler_is_found_again(
    own_postgres: Server, pools: contextlib.ExitStack, tmp_path: Path
) -> None:
    """PgBouncer says 08P01 then, as it does of a setting that is wrong."""
    with pgbouncer(own_postgres.databases.fresh()) as pooler:
        pool = opened(pools, pooler.url, tmp_path)
        stock_id = pool.create()
        pool.upload(stock_id, ["A1"])
        own_postgres.stop()
        with pytest.raises(StoreUnavailable) as refused:
            pool.run(pool.pool.check())
        assert not isinstance(refused.value, Misconfigured)
        own_postgres.start()
        assert pool.send(stock_id, "oUser", "n1") == "A1"
        pools.close()
