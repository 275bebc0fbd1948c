"""What merchants were told by any host of a pool, and whether it stays true, whatever becomes of the database.

Two promises are judged: no code is told to two numbers; a number that was answered is never answered with another code.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from quanma.api.couponcodes import DeleteCode, UploadCodes
from quanma.api.coupons import UseCoupon
from quanma.errors import Misconfigured, NotEnough, PoolFenced, QuanmaError, RequestRefused, StoreUnavailable
from quanma.platform.coupons.states import USE
from quanma.platform.pool import open_pool
from quanma.platform.pool.contract import CodePool
from tests.contract.driver import NOW, DrivenPool
from tests.support.platform import APPID, MCHID
from tests.support.postgres import query

T = TypeVar("T")

DRAWERS = 3
"""Of each worker."""
CODES = 600
GOES_ON_WITHIN_SECONDS = 30.0
"""After a move that lost nothing. 10 s are promised, and others use the machine."""

USE_TIME = "2026-09-21T22:13:20+08:00"
"""What `DrivenPool.use` says."""

NUMBERS = "SELECT k.out_request_no FROM coupon k JOIN stock s USING (stock_no) WHERE s.stock_id = $1"
"""Under which coupons of a stock were given out."""
_DELETIONS = "SELECT delete_request_no FROM deletion JOIN stock USING (stock_no) WHERE stock_id = $1"
_PAUSE_SECONDS = 0.01
_PATIENCE_SECONDS = 40.0


def open_host_pool(url: str, folder: Path, *, accept_lost_failover: bool = False) -> CodePool:
    """The one place where tests of moves open a pool."""
    if "accept_lost_failover" not in inspect.signature(open_pool).parameters:
        return open_pool(url, folder)
    options: dict[str, Any] = {"accept_lost_failover": accept_lost_failover}
    return open_pool(url, folder, **options)


class LivePool(DrivenPool):
    """A pool whose loop goes on between the calls, as a worker's does, on a thread of its own."""

    def __init__(self, open_it: Callable[[], CodePool]) -> None:
        super().__init__(open_it)
        self._looking: concurrent.futures.Future[None] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, request: Coroutine[Any, Any, T]) -> T:
        return self.spawn(asyncio.wait_for(request, 60)).result()

    def spawn(self, request: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(request, self._loop)

    def shut(self) -> None:
        """As `quanma serve` ends."""
        if self._looking is not None:
            with contextlib.suppress(QuanmaError):
                self._looking.result(60)
        self.run(self.pool.close())

    def open_again(self) -> None:
        """As `quanma serve` begins: it looks at its database before anybody asks."""
        self.pool = self._open()
        self._looking = self.spawn(self.pool.check())

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Host:
    """A machine: its own folder, in which `quanma` keeps what it must remember, and its workers."""

    def __init__(self, url: str, folder: Path, *, workers: int = 1, accept_lost_failover: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.url = url
        self.folder = folder
        self.name = folder.name

        def opened() -> CodePool:
            return open_host_pool(self.url, folder, accept_lost_failover=accept_lost_failover)

        self.workers = [LivePool(opened) for _ in range(workers)]

    @property
    def worker(self) -> LivePool:
        return self.workers[0]

    def stop(self) -> None:
        for worker in self.workers:
            worker.shut()

    def start(self) -> None:
        for worker in self.workers:
            worker.open_again()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


class Told(NamedTuple):
    """How numbers that were answered before are answered now."""

    same: int
    refused: int
    why: str = ""
    """The last refusal."""


class Judge:
    """The merchant of one stock, whose users are drawn for through several hosts."""

    def __init__(self, hosts: Sequence[Host], codes: int = CODES) -> None:
        self.hosts = hosts
        self.pool = hosts[0].worker
        self.stock_id = self.pool.create()
        self.told: dict[str, str] = {}
        """Each number's code, as first answered."""
        self.unanswered: list[str] = []
        self.uploads: dict[str, tuple[list[str], Any]] = {}
        self.deletions: dict[str, tuple[str, Any]] = {}
        self.uses: dict[str, tuple[str, Any]] = {}
        self.untrue: list[str] = []
        """Other words than a code, or that to ask again."""
        self._to_whom: dict[str, set[str]] = defaultdict(set)
        self._changed: list[str] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        for first in range(0, codes, 200):
            self.upload([f"C{number:05}" for number in range(first, min(first + 200, codes))])

    # What is asked once, and noted when it is answered

    def upload(self, codes: list[str], host: Host | None = None) -> None:
        pool, number = (host or self.hosts[0]).worker, self.fresh("u")
        self.uploads[number] = codes, pool.upload(self.stock_id, codes, number)

    def delete(self, code: str, host: Host | None = None) -> None:
        pool, number = (host or self.hosts[0]).worker, self.fresh("d")
        self.deletions[number] = code, pool.delete(self.stock_id, code, number)

    def use(self, code: str, host: Host | None = None) -> None:
        pool, number = (host or self.hosts[0]).worker, self.fresh("x")
        self.uses[number] = code, pool.use(self.stock_id, code, number)

    def draw(self, count: int = 1, host: Host | None = None) -> list[str]:
        """Draw for new users, one after the other. Returns their codes."""
        pool = (host or self.hosts[0]).worker
        return [self.noted(number, pool.send(self.stock_id, f"o{number}", number)) for number in self._fresh(count)]

    def fresh(self, kind: str = "n") -> str:
        return f"{kind}{next(self._numbers)}"

    @contextlib.contextmanager
    def drawing(self, drawers: int = DRAWERS) -> Generator[Load, None, None]:
        """Draws by many, through every worker of every host, as long as the block takes."""
        load = Load(self, drawers)
        try:
            yield load
        finally:
            load.stop()

    # What is asked at the end

    def settle(self) -> Told:
        """Ask each number that was answered again; then draw to the end. Raises AssertionError: a promise is broken."""
        self._check()
        told = self.ask_again()
        self.drain()
        self._check()
        return told

    def settle_whole(self) -> None:
        """As `settle`, of a database that lost nothing: everything has its answer of before, nothing is refused."""
        self._check()
        answered = len(self.told)
        assert self.ask_again() == Told(answered, 0)
        for number in self.unanswered:
            with contextlib.suppress(NotEnough):
                self.noted(number, self.pool.send(self.stock_id, f"o{number}", number))
        self.drain()
        self._check()
        for number, (codes, answer) in self.uploads.items():
            assert self.pool.upload(self.stock_id, codes, number) == answer
        for number, (code, deletion) in self.deletions.items():
            assert self.pool.delete(self.stock_id, code, number) == deletion
        for number, (code, use) in self.uses.items():
            assert self.pool.use(self.stock_id, code, number) == use

    def ask_again(self) -> Told:
        """Through all workers in turn."""
        told = list(self.told.items())
        same, refused, why = 0, 0, ""
        pools = itertools.cycle([worker for host in self.hosts for worker in host.workers])
        for first in range(0, len(told), 100):
            asked = told[first : first + 100]
            pool = next(pools)
            answers = pool.together(*(pool.sending(self.stock_id, f"o{number}", number) for number, _ in asked))
            for (number, code), answer in zip(asked, answers, strict=True):
                if isinstance(answer, StoreUnavailable):
                    refused, why = refused + 1, str(answer)
                    continue
                # Every other refusal says something untrue of a number that was answered.
                assert isinstance(answer, str), f"{number} has {code}, and is now told: {answer}"
                same += self.noted(number, answer) == code
        return Told(same, refused, why)

    def drain(self) -> None:
        """Draw through all workers in turn, until nothing is given out any more."""
        pools = [worker for host in self.hosts for worker in host.workers]
        done, deadline = set[int](), time.monotonic() + _PATIENCE_SECONDS
        while len(done) < len(pools):
            assert time.monotonic() < deadline, "neither drained nor fenced"
            for index, pool in enumerate(pools):
                numbers = list(self._fresh(50))
                answers = pool.together(*(pool.sending(self.stock_id, f"o{number}", number) for number in numbers))
                for number, answer in zip(numbers, answers, strict=True):
                    if isinstance(answer, str):
                        self.noted(number, answer)
                    elif not isinstance(answer, StoreUnavailable) or isinstance(answer, PoolFenced):
                        assert isinstance(answer, NotEnough | PoolFenced), answer
                        done.add(index)

    def twice(self) -> dict[str, set[str]]:
        """Codes that were told to two numbers."""
        with self._lock:
            return {code: numbers for code, numbers in self._to_whom.items() if len(numbers) > 1}

    def assert_fenced(self) -> None:
        """Every worker of every host gives nothing out, and says so."""
        for worker in (worker for host in self.hosts for worker in host.workers):
            refusal = patiently(lambda worker=worker: self._refusal(worker))  # type: ignore[misc]
            assert isinstance(refusal, PoolFenced), refusal
            assert worker.pool.fence()

    def lost(self, database_url: str) -> dict[str, str]:
        """Numbers that were answered, and that the database does not know."""
        rows = query(database_url, NUMBERS, self.stock_id)
        known = {str(number) for (number,) in rows}
        return {number: code for number, code in self.told.items() if number not in known}

    def write_issued(self, database_url: str, file: Path) -> Path:
        """What the merchants know of the lost ones, for `quanma reconcile --issued`."""
        lines = [f"{self.stock_id},{code}" for code in self.lost(database_url).values()]
        file.write_text("\n".join(["stock_id,coupon_code", *lines, ""]))
        return file

    def reconciled(self, database_url: str) -> None:
        """What was lost is given up: its numbers are asked no more, its codes stay with whom they were told to."""
        for number in self.lost(database_url):
            del self.told[number]
        rows = query(database_url, _DELETIONS, self.stock_id)
        kept = {number for (number,) in rows}
        self.deletions = {number: deletion for number, deletion in self.deletions.items() if number in kept}

    # Below: how

    def _refusal(self, worker: LivePool) -> str | QuanmaError:
        number = self.fresh()
        try:
            return self.noted(number, worker.send(self.stock_id, f"o{number}", number))
        except NotEnough as refusal:
            return refusal

    def noted(self, number: str, code: str) -> str:
        with self._lock:
            first = self.told.setdefault(number, code)
            self._to_whom[code].add(number)
            if first != code:
                self._changed.append(f"{number} had {first}, and was told {code}")
            return code

    def _check(self) -> None:
        twice = self.twice()
        assert not twice, f"{len(twice)} codes told to two numbers, of {len(self.told)}: {list(twice.items())[:3]}"
        assert not self._changed, f"{len(self._changed)} numbers answered with another code: {self._changed[:3]}"
        assert not self.untrue, f"{len(self.untrue)} were refused with something untrue: {self.untrue[:3]}"
        given_after_all = {code for code, _ in self.deletions.values()} & set(self.told.values())
        assert not given_after_all, f"deleted, and given out: {given_after_all}"

    def _fresh(self, count: int) -> Iterator[str]:
        for _ in range(count):
            yield self.fresh()


class Load:
    """Draws by many at once. One of each host uploads, deletes and uses as well, now and then."""

    def __init__(self, judge: Judge, drawers: int) -> None:
        self._judge = judge
        self._stopping = False
        self._changed = threading.Condition()
        self._answers: dict[str, int] = {host.name: 0 for host in judge.hosts}
        self._ended: dict[tuple[str, int, int], str] = {}
        """Of each drawer: what it was told last, if that is that nothing is given out."""
        self._drawers = [
            (host, worker, (host.name, index, drawer))
            for host in judge.hosts
            for index, worker in enumerate(host.workers)
            for drawer in range(drawers)
        ]
        self._running = [worker.spawn(self._draw(host, worker, key)) for host, worker, key in self._drawers]
        self._running += [host.worker.spawn(self._keep(host.worker)) for host in judge.hosts]

    def more(self, count: int = 20, within_seconds: float = _PATIENCE_SECONDS) -> float:
        """Wait until each host has answered so many more draws. Returns how many seconds that took."""
        began = time.monotonic()
        with self._changed:
            wanted = {name: answers + count for name, answers in self._answers.items()}
            reached = self._changed.wait_for(
                lambda: all(self._answers[name] >= until for name, until in wanted.items()), within_seconds
            )
        assert reached, f"no {count} more answers from each host within {within_seconds} s: {self._answers}, {wanted}"
        return time.monotonic() - began

    def until_nothing_more(self) -> None:
        """Wait until every drawer is told that nothing is given out: it is fenced, or empty."""
        with self._changed:
            self._ended.clear()
            reached = self._changed.wait_for(lambda: len(self._ended) == len(self._drawers), _PATIENCE_SECONDS)
        assert reached, f"neither fenced nor empty: {self._ended}"

    def stop(self) -> None:
        self._stopping = True
        for one in self._running:
            one.result(60)

    async def _draw(self, host: Host, worker: LivePool, key: tuple[str, int, int]) -> None:
        judge = self._judge
        while not self._stopping:
            number = judge.fresh()
            ended: str | None = None
            try:
                judge.noted(number, await worker.sending(judge.stock_id, f"o{number}", number))
            except (PoolFenced, NotEnough) as refusal:
                ended = str(refusal)
            except (StoreUnavailable, Misconfigured):  # While a database is made anew, there is none of its name.
                judge.unanswered.append(number)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            except RequestRefused as refusal:
                judge.untrue.append(f"{number}: {refusal}")
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            with self._changed:
                if ended is None:
                    self._answers[host.name] += 1
                    self._ended.pop(key, None)
                else:
                    self._ended[key] = ended
                self._changed.notify_all()
            await asyncio.sleep(_PAUSE_SECONDS if ended is None else 5 * _PAUSE_SECONDS)

    async def _keep(self, pool: LivePool) -> None:
        """Upload two codes, delete one of them if nobody was given it, use somebody's."""
        judge = self._judge
        while not self._stopping:
            number = judge.fresh("k")
            codes = [f"{number}a", f"{number}b"]
            try:
                upload = UploadCodes(stock_id=judge.stock_id, coupon_code_list=codes, upload_request_no=number)
                judge.uploads[number] = codes, await pool.pool.upload_codes(MCHID, upload, NOW)
                delete = DeleteCode(stock_id=judge.stock_id, coupon_code=codes[0], delete_request_no=number)
                judge.deletions[number] = codes[0], await pool.pool.delete_code(MCHID, delete, NOW)
                with judge._lock:
                    told = next(reversed(judge.told.values()), None)
                if told is not None:
                    use = UseCoupon(
                        stock_id=judge.stock_id, coupon_code=told, appid=APPID, use_time=USE_TIME, use_request_no=number
                    )
                    judge.uses[number] = told, await pool.pool.step(MCHID, USE, use, NOW)
            except QuanmaError:
                pass  # Given out already, used already, or no answer now.
            await asyncio.sleep(10 * _PAUSE_SECONDS)


def patiently(ask: Callable[[], T], seconds: float = GOES_ON_WITHIN_SECONDS) -> T | PoolFenced:
    """Ask until there is an answer, or a fence: while hosts confirm, a pool says to try again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except PoolFenced as fenced:
            return fenced
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
