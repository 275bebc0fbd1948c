"""What happens to PostgreSQL, or on the way to it: a request ends in its true outcome, or in an error to be repeated.

Nothing is ever answered wrongly, and each number finds out afterwards what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from quanma.errors import QuanmaError, StoreUnavailable
from quanma.platform.pool import open_pool
from quanma.platform.pool.postgres import between, session
from quanma.platform.pool.postgres import connections as postgres_connections
from tests.contract.driver import DrivenPool
from tests.support import postgres
from tests.support.cable import Cable
from tests.support.postgres import Server, execute, query

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

DRAWERS = 8


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """As durable as any; each test has a database of its own on it."""
    if why := postgres.why_absent(own_server=True):
        pytest.skip(why)
    running = Server()
    running.start()
    yield running
    running.close()


@pytest.fixture
def url(server: Server) -> str:
    return server.databases.fresh()


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[Callable[[str], DrivenPool]]:
    """Opens pools, each as a worker of its own would, on one loop."""
    with contextlib.ExitStack() as opened:

        def open_it(url: str) -> DrivenPool:
            driven = DrivenPool(lambda: open_pool(url, tmp_path))
            opened.callback(driven.close)
            return driven

        yield open_it


@pytest.fixture
def cable(server: Server) -> Iterator[Cable]:
    with Cable(server.port) as laid:
        yield laid


def over(cable: Cable, url: str) -> str:
    """The same database, over the cable."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{cable.port}").geturl()


class Accounts:
    """Draws by many at once, while something happens: what was answered, and which numbers have no answer yet."""

    def __init__(self, pool: DrivenPool, codes: int = 5000) -> None:
        self.pool = pool
        self.codes = codes
        self.stock_id = pool.create()
        for first in range(0, codes, 200):
            pool.upload(self.stock_id, [f"C{number}" for number in range(first, first + 200)])
        self.answered: dict[str, str] = {}
        self.unanswered: list[str] = []
        self._numbers = itertools.count()
        self._answer = asyncio.Event()

    def while_it_happens(self, *happenings: Callable[[], object], then: int = 40) -> None:
        """Draw until all of it happened, and then until so many more were answered."""

        async def run() -> None:
            stopping = asyncio.Event()
            drawers = [asyncio.create_task(self._draw_until(stopping)) for _ in range(DRAWERS)]
            for happening in happenings:
                await self._more(20)
                await asyncio.to_thread(happening)
            await self._more(then)
            stopping.set()
            await asyncio.gather(*drawers)

        self.pool.run(run())

    async def _more(self, count: int) -> None:
        enough = len(self.answered) + count
        while len(self.answered) < enough:
            self._answer.clear()
            await self._answer.wait()

    async def _draw_until(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            number = f"n{next(self._numbers)}"
            try:
                self.answered[number] = await self.pool.sending(self.stock_id, f"o{number}", number)
                self._answer.set()
            except StoreUnavailable:
                self.unanswered.append(number)
                await asyncio.sleep(0.02)

    def settle(self) -> None:
        """Ask everything again: answers stay, what had none gets one, and the stock's counts are the sums."""
        for number, code in self.answered.items():
            assert self.pool.send(self.stock_id, f"o{number}", number) == code
        for number in self.unanswered:
            self.answered[number] = self.pool.send(self.stock_id, f"o{number}", number)
        assert len(set(self.answered.values())) == len(self.answered)
        assert self.pool.counts(self.stock_id) == (self.codes, self.codes - len(self.answered))


@pytest.mark.parametrize("how", ["fast", "immediate", "kill -9"])
def test_the_server_restarts_under_load(server: Server, url: str, pools: Callable[[str], DrivenPool], how: str) -> None:
    accounts = Accounts(pools(url))

    def restart() -> None:
        if how == "kill -9":
            server.kill()
            server.start()
        else:
            server.restart(how)

    accounts.while_it_happens(restart, restart)
    accounts.settle()


def test_a_server_that_is_away_for_longer_is_told_as_such_and_found_again(
    server: Server, url: str, pools: Callable[[str], DrivenPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connections, "KEEP_TRYING_SECONDS", 0.3)
    accounts = Accounts(pools(url))

    def away() -> None:
        server.stop("immediate")
        time.sleep(1)
        server.start()

    accounts.while_it_happens(away)
    assert accounts.unanswered
    accounts.settle()
    accounts.pool.run(accounts.pool.pool.check())


@pytest.mark.parametrize("late", [False, True], ids=["before it is carried over", "after"])
@pytest.mark.parametrize("where", ["at the commit", "in the middle"])
def test_a_connection_is_cut(
    url: str, pools: Callable[[str], DrivenPool], cable: Cable, where: str, late: bool
) -> None:
    pool = pools(over(cable, url))
    stock_id = pool.create()
    codes = [f"C{number}" for number in range(10)]

    def cut_next(number: str) -> str:
        """When this number is on its way, or when what it did is committed."""
        assert cable.cut_at is None
        cable.cut_at, cable.late = b"COMMIT" if where == "at the commit" else number.encode(), late
        return number

    assert pool.upload(stock_id, codes, cut_next("upload-1")).success_codes == codes
    code = pool.send(stock_id, "oUser", cut_next("send-1"))
    used = pool.use(stock_id, code, cut_next("use-1"))
    pool.delete(stock_id, next(one for one in codes if one != code), cut_next("delete-1"))
    assert cable.cut_at is None
    assert cable.cuts == 4
    assert pool.upload(stock_id, codes, "upload-1").success_codes == codes
    assert pool.send(stock_id, "oUser", "send-1") == code
    assert pool.use(stock_id, code, "use-1") == used
    assert pool.counts(stock_id) == (9, 8)
    assert query(url, "SELECT count(*) FROM coupon") == [(1,)]


def test_connections_are_cut_again_and_again_under_load(
    url: str, pools: Callable[[str], DrivenPool], cable: Cable
) -> None:
    accounts = Accounts(pools(over(cable, url)))
    accounts.while_it_happens(*[cable.cut] * 20)
    accounts.settle()


def test_sessions_are_ended_by_an_administrator_under_load(url: str, pools: Callable[[str], DrivenPool]) -> None:
    accounts = Accounts(pools(url))

    def end_all() -> None:
        query(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'quanma'")

    accounts.while_it_happens(*[end_all] * 10)
    accounts.settle()


# What PostgreSQL says → whether the request is tried again, so that nobody notices.
SAID = {
    "serialization failure": ("40001", True),
    "deadlock": ("40P01", True),
    "administrator's command": ("57P01", True),
    "crash of another process": ("57P02", True),
    "read-only": ("25006", True),
    "statement timeout": ("57014", False),
    "lock timeout": ("55P03", False),
    "out of memory": ("53200", False),
    "disk full": ("53100", False),
    "an error of its own": ("XX000", False),
}


@pytest.mark.parametrize("at_commit", [False, True], ids=["at a statement", "at the commit"])
@pytest.mark.parametrize(("sqlstate", "is_tried_again"), SAID.values(), ids=SAID)
def test_an_error_of_postgres_in_the_middle_of_a_draw(
    url: str, pools: Callable[[str], DrivenPool], sqlstate: str, is_tried_again: bool, at_commit: bool
) -> None:
    pool = pools(url)
    stock_id = pool.create()
    pool.upload(stock_id, [f"C{number}" for number in range(10)])
    # A sequence is not rolled back: it fails once, or until it is told to stop.
    execute(
        url,
        "CREATE SEQUENCE failures",
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('failures') <= {1 if is_tried_again else 1000} THEN"
        f" RAISE EXCEPTION 'made to fail' USING ERRCODE = '{sqlstate}'; END IF; RETURN NULL; END $$",
        f"CREATE CONSTRAINT TRIGGER failing AFTER INSERT ON coupon DEFERRABLE INITIALLY"
        f" {'DEFERRED' if at_commit else 'IMMEDIATE'} FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    if is_tried_again:
        code = pool.send(stock_id, "oUser", "n1")
    else:
        with pytest.raises(StoreUnavailable):
            pool.send(stock_id, "oUser", "n1")
        assert pool.counts(stock_id) == (10, 10)
        execute(url, "DROP TRIGGER failing ON coupon")
        code = pool.send(stock_id, "oUser", "n1")
    assert query(url, "SELECT last_value FROM failures")[0][0] >= 1
    assert pool.send(stock_id, "oUser", "n1") == code
    assert pool.counts(stock_id) == (10, 9)


@pytest.mark.parametrize("timeout", ["lock_timeout", "statement_timeout"])
def test_a_lock_that_somebody_holds_for_long_is_not_waited_for_for_ever(
    url: str, pools: Callable[[str], DrivenPool], monkeypatch: pytest.MonkeyPatch, timeout: str
) -> None:
    monkeypatch.setitem(session.SETTINGS, timeout, "300ms")
    pool = pools(url)
    stock_id = pool.create()
    pool.upload(stock_id, ["A", "B"])

    async def draw_while_locked() -> None:
        holding = await asyncpg.connect(url)
        async with holding.transaction():
            await holding.execute("LOCK TABLE coupon IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreUnavailable):
                await pool.sending(stock_id, "oUser", "n1")
        await holding.close()

    pool.run(draw_while_locked())
    assert pool.counts(stock_id) == (2, 2)
    assert pool.send(stock_id, "oUser", "n1") in ("A", "B")


def test_the_server_takes_no_more_connections(server: Server, url: str, pools: Callable[[str], DrivenPool]) -> None:
    execute(
        url,
        "CREATE ROLE merchant LOGIN PASSWORD 'p' CONNECTION LIMIT 2",
        "GRANT ALL ON SCHEMA public TO merchant",
    )
    parts = urlsplit(url)
    pool = pools(parts._replace(netloc=f"merchant:p@127.0.0.1:{server.port}").geturl())
    stock_ids = [pool.create() for _ in range(20)]
    for stock_id in stock_ids:
        pool.upload(stock_id, ["A", "B"])
    outcomes = pool.together(*(pool.sending(stock_id, "oUser", "n1") for stock_id in stock_ids))
    assert all(isinstance(outcome, StoreUnavailable | str) for outcome in outcomes)
    assert sum(isinstance(outcome, str) for outcome in outcomes) >= 2
    again = [pool.send(stock_id, "oUser", "n1") for stock_id in stock_ids]
    assert [one for one, first in zip(again, outcomes, strict=True) if isinstance(first, str)] == [
        first for first in outcomes if isinstance(first, str)
    ]
    assert {pool.counts(stock_id) for stock_id in stock_ids} == {(2, 1)}


def test_more_stocks_than_connections_are_asked_at_once(url: str, pools: Callable[[str], DrivenPool]) -> None:
    pool = pools(url)
    stock_ids = [pool.create() for _ in range(8 * postgres_connections.CONNECTIONS_MAX)]
    for stock_id in stock_ids:
        pool.upload(stock_id, ["A"])
    assert pool.together(*(pool.sending(stock_id) for stock_id in stock_ids)) == ["A"] * len(stock_ids)
    (connections,) = query(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'quanma' AND datname = current_database()",
    )
    assert connections[0] <= postgres_connections.CONNECTIONS_MAX


def test_a_worker_that_is_paused_in_its_turn_holds_the_others_up_for_a_moment_and_harms_nothing(
    url: str, pools: Callable[[str], DrivenPool], cable: Cable
) -> None:
    paused, other = pools(over(cable, url)), pools(url)
    stock_id = other.create()
    other.upload(stock_id, [f"C{number}" for number in range(10)])
    paused.send(stock_id, "oFirst", "n0")

    async def ask() -> tuple[float, str | QuanmaError]:
        cable.hold_at = b"COMMIT"
        waking = asyncio.create_task(paused.sending(stock_id, "oPaused", "n1"))
        assert await asyncio.to_thread(cable.held.wait, 20)
        began = time.monotonic()
        await asyncio.to_thread(other.send, stock_id, "oOther", "n2")
        took = time.monotonic() - began
        # Somebody repeats what the paused one was asked, as a client would.
        again = await asyncio.to_thread(other.send, stock_id, "oPaused", "n1")
        cable.release()
        try:
            outcome: str | QuanmaError = await waking
        except QuanmaError as error:
            outcome = error
        assert outcome == again or isinstance(outcome, StoreUnavailable)
        return took, outcome

    took, _ = paused.run(ask())
    assert took < 30  # 5 s, and the machine's own.
    assert other.counts(stock_id) == (10, 7)
    assert query(url, "SELECT count(*) FROM coupon") == [(3,)]
    assert paused.send(stock_id, "oPaused", "n1") == other.send(stock_id, "oPaused", "n1")


def test_nothing_comes_through_and_nothing_is_refused_either(
    url: str, pools: Callable[[str], DrivenPool], cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(between, "OTHERS", 0)  # The cable is something in between.
    monkeypatch.setattr(postgres_connections, "WAIT_SECONDS", 4)  # A connection keeps what was set when it was made.
    pool = pools(over(cable, url))
    stock_id = pool.create()
    pool.upload(stock_id, [f"C{number}" for number in range(10)])
    with monkeypatch.context() as short:
        short.setattr(session, "CONNECT_SECONDS", 0.5)
        short.setattr(postgres_connections, "KEEP_TRYING_SECONDS", 0.5)
        cable.hold()
        began = time.monotonic()
        outcomes = pool.together(*(pool.sending(stock_id, "oUser", f"n{number}") for number in range(5)))
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        assert time.monotonic() - began < 50  # For ever, were nobody to give up.
        cable.release()
    codes = {pool.send(stock_id, "oUser", f"n{number}") for number in range(5)}
    assert len(codes) == 5
    assert pool.counts(stock_id) == (10, 5)


def test_a_replica_is_promoted_and_found_by_the_urls_second_host(pools: Callable[[str], DrivenPool]) -> None:
    if why := postgres.why_absent(own_server=True):
        pytest.skip(why)
    with contextlib.closing(Server({"synchronous_standby_names": "*"})) as primary:
        primary.start()
        with contextlib.closing(primary.replica({"synchronous_standby_names": ""})) as replica:
            replica.start()
            parts = urlsplit(primary.databases.fresh())
            hosts = f"127.0.0.1:{primary.port},127.0.0.1:{replica.port}"
            both = parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{hosts}").geturl()
            accounts = Accounts(pools(both))

            def fail_over() -> None:
                primary.kill()
                replica.promote()

            accounts.while_it_happens(fail_over)
            accounts.settle()
            assert query(replica.databases.url_of(parts.path[1:]), "SELECT count(*) FROM coupon") == [
                (len(accounts.answered),)
            ]


def test_an_address_moves_to_a_replica_that_is_promoted_later(pools: Callable[[str], DrivenPool]) -> None:
    """No decision is taken from a replica's read: until it takes writes, there is no answer."""
    if why := postgres.why_absent(own_server=True):
        pytest.skip(why)
    with contextlib.ExitStack() as running:
        primary = running.enter_context(contextlib.closing(Server({"synchronous_standby_names": "*"})))
        primary.start()
        replica = running.enter_context(contextlib.closing(primary.replica({"synchronous_standby_names": ""})))
        replica.start()
        cable = running.enter_context(Cable(primary.port))
        url = over(cable, primary.databases.fresh())
        accounts, watching = Accounts(pools(url)), pools(url)

        def move() -> None:
            cable.leads_to = replica.port
            cable.cut()
            answered = len(accounts.answered)
            with pytest.raises(StoreUnavailable):
                watching.stock(accounts.stock_id)
            assert len(accounts.answered) <= answered + DRAWERS
            primary.kill()
            replica.promote()

        accounts.while_it_happens(move)
        accounts.settle()
