"""Send a planned upload: record, send, record; through refusals, lost answers and outages; stop cleanly, resume.

Every attempt is written to the ledger before it leaves. What an answer settles is settled by one statement; what it
leaves open is asked again under the same number, with the same bytes. What came back and what goes out next is written
in one transaction: each one waits for the disk, and meanwhile more comes back.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from ..client.exchange import Patience
from ..errors import (
    ClockWrong,
    NotSent,
    NotThePlatform,
    ParamError,
    QuanmaError,
    RateLimited,
    RequestRefused,
    ResourceAlreadyExists,
    StockNotReady,
    TryAgain,
)
from .ledger import Batch, Ledger, Totals
from .pace import Pace
from .target import Outcome, Sender, Target

ONE_ATTEMPT = Patience(deadline_seconds=30, attempt_seconds=30, attempts_max=1)
"""For the uploader's client: it repeats by itself, and each attempt is in the ledger."""
CONCURRENCY = 8
OUTAGE_SECONDS_MAX = 1800.0
NOT_READY_SECONDS_MAX = 900.0
RENUMBERED_MAX = 3
DOUBTFUL_MAX = 3
"""One unsigned refusal may come from something between, one old answer be played again; so many in a row are true."""
CAP_MESSAGE = "已达上限"
"""Source: the platform's words for a full stock, 上传的自定义code已达上限 (documented)."""
TICK_SECONDS = 0.5


class Ending(Enum):
    FINISHED = "finished"
    STOPPED = "on request"
    FULL = "the stock is full"
    REFUSED = "the platform refuses every request"
    OUTAGE = "the platform did not come back"


class Progress(NamedTuple):
    """What a display shows, a few times a second."""

    totals: Totals
    rate: float
    """Requests a second aimed at now."""
    ceiling: float | None
    """Requests a second that the platform was found to take."""
    under_way: int
    state: str
    """"sending", or what is being waited for."""


class Result(NamedTuple):
    ending: Ending
    totals: Totals
    reason: str
    """Why it ended before it was finished, in the platform's or the network's words; empty otherwise."""


def _call_later(seconds: float, call: Callable[[], None]) -> asyncio.Handle:
    return asyncio.get_running_loop().call_later(seconds, call)


class Clock(NamedTuple):
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    call_later: Callable[[float, Callable[[], None]], asyncio.Handle] = _call_later


def _random() -> float:
    return secrets.randbelow(1_000_001) / 1_000_000


class Uploader:
    """One run over a ledger. The client must make one attempt a call: `ONE_ATTEMPT`."""

    def __init__(
        self,
        ledger: Ledger,
        target: Target,
        client: Sender,
        *,
        concurrency: int = CONCURRENCY,
        rate_max: float | None = None,
        progress: Callable[[Progress], None] = lambda progress: None,
        clock: Clock = Clock(),  # noqa: B008  # It holds nothing.
    ) -> None:
        self._ledger = ledger
        self._target = target
        self._client = client
        self._stock_id = ledger.stock_id
        self._concurrency = concurrency
        self._progress = progress
        self._clock = clock
        self._pace = Pace(_random, rate_max=rate_max, learned_rate=ledger.learned_rate)
        self._stopping: tuple[Ending, str] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._returned: list[tuple[Batch, Outcome | QuanmaError]] = []
        """What came back of a batch, and is not written down yet."""
        self._wake = asyncio.Event()
        self._failing_since: float | None = None
        self._not_ready_since: float | None = None
        self._not_ready_times = 0
        self._doubtful_times = 0
        self._fault: BaseException | None = None
        self._state = "sending"

    @property
    def stopping(self) -> bool:
        return self._stopping is not None

    def stop(self) -> None:
        """Send nothing new. What is under way is waited for."""
        self._stop(Ending.STOPPED, "")

    def run_sync(self) -> Result:
        """As `run`, for a program without an event loop."""
        return asyncio.run(self.run())

    async def run(self) -> Result:
        """Send until every batch is settled, or something ends it. The ledger holds the truth at any moment.

        Cancelled, it drops what is under way: those batches are unknown.

        Raises:
            LedgerBusy: another process moved a batch.
            StoreUnavailable: the ledger can't be written; what was under way is unknown after a resume.
        """
        began = self._clock.steady()
        ticking = asyncio.create_task(self._tick())
        try:
            await self._send_all()
        finally:
            for task in (*self._under_way, ticking):
                task.cancel()
            await asyncio.gather(*self._under_way, ticking, return_exceptions=True)
            if self._fault is None:
                self._write_down()
                self._ledger.spent(self._clock.steady() - began, self._pace.ceiling)
        if self._fault is not None:
            raise self._fault
        totals = self._ledger.totals()
        self._show(totals)
        if totals.batches_open == 0:
            return Result(Ending.FINISHED, totals, "")
        ending, reason = self._stopping or (Ending.STOPPED, "")
        return Result(ending, totals, reason)

    async def _send_all(self) -> None:
        while True:
            self._wake.clear()
            try:
                with self._ledger.together():
                    self._write_down()
                    batches, wait_seconds = self._take()
            except Exception as error:
                self._fault = error
                return
            for batch in batches:
                task = asyncio.create_task(self._send(batch))
                self._under_way.add(task)
                task.add_done_callback(self._done)
            if not self._under_way and wait_seconds is None:
                return
            # Where nothing waits to be sent, one that is under way may come back unknown.
            await self._woken(wait_seconds)

    def _write_down(self) -> None:
        """What came back."""
        returned, self._returned = self._returned, []
        for batch, end in returned:
            if isinstance(end, QuanmaError):
                self._take_error(batch, end)
            else:
                self._ledger.settle(batch, end, self._clock.wall())
                self._answered()

    def _take(self) -> tuple[list[Batch], float | None]:
        """Return the batches to send now, and in how many seconds the next one may go; None: not before one is back."""
        taken: list[Batch] = []
        while self._stopping is None:
            limit = 1 if self._pace.one_at_a_time else self._concurrency
            if len(self._under_way) + len(taken) >= limit:
                break
            if (wait_seconds := self._pace.wait_seconds(self._clock.steady())) > 0:
                return taken, wait_seconds
            batch = self._ledger.take(self._clock.wall())
            if batch is None:
                break
            taken.append(batch)
        return taken, None

    async def _woken(self, within_seconds: float | None = None) -> None:
        """Wait until something under way ends, or the time is over."""
        if within_seconds is None:
            await self._wake.wait()
            return
        alarm = self._clock.call_later(within_seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = self._fault or error
            self._stop(Ending.STOPPED, str(error))

    async def _send(self, batch: Batch) -> None:
        end: Outcome | QuanmaError
        try:
            end = await self._target.upload(self._client, self._stock_id, batch.codes, batch.upload_request_no)
        except QuanmaError as error:
            end = error
        except BaseException:
            self._ledger.unknown(batch)
            raise
        self._returned.append((batch, end))

    def _take_error(self, batch: Batch, error: QuanmaError) -> None:
        """Decide what a batch without a success becomes, and how the others go on."""
        now = self._clock.steady()
        if isinstance(error, RateLimited):
            self._ledger.not_accepted(batch)
            self._came_back()
            self._pace.refused(now, error.retry_after_seconds)
            self._come_again(error)
            # Now, not at the end: a kill should not forget what was learned.
            self._ledger.spent(0.0, self._pace.ceiling)
        elif isinstance(error, StockNotReady):
            self._ledger.not_accepted(batch)
            self._not_ready(now, error)
        elif isinstance(error, RequestRefused) and error.verified:
            self._came_back()
            self._refused(batch, error)
        elif isinstance(error, RequestRefused):
            # Unsigned: it settles nothing. A platform that refuses a signature (401) may not sign its answer.
            self._ledger.unknown(batch)
            self._doubt(f"{error} (the answer is not signed)")
            self._failed(now, error)
        elif isinstance(error, NotSent):
            self._ledger.not_accepted(batch)
            self._failed(now, error)
        elif error.may_have_executed:
            self._ledger.unknown(batch)
            if isinstance(error, ClockWrong):
                self._doubt(f"set this machine's clock: {error}")
            elif isinstance(error, NotThePlatform) and error.status_code >= 400:
                self._doubt(str(error))
            self._failed(now, error)
        else:
            # Our own check refused it, or a setting is wrong: no other batch would fare better.
            self._ledger.not_accepted(batch)
            self._stop(Ending.REFUSED, str(error))

    def _refused(self, batch: Batch, error: RequestRefused) -> None:
        if CAP_MESSAGE in error.message:
            self._ledger.not_accepted(batch)
            self._stop(Ending.FULL, str(error))
        elif error.status_code != 400:
            # No permission, no such stock, a wrong key: it holds for every batch.
            self._ledger.not_accepted(batch)
            self._stop(Ending.REFUSED, str(error))
        elif batch.unknown_of_number:
            # It may be the number that is refused: what a repeated one does is not documented.
            self._ledger.renumber(batch, used=False)
        elif isinstance(error, ResourceAlreadyExists) and batch.renumbered < RENUMBERED_MAX:
            self._ledger.renumber(batch, used=True)
        elif isinstance(error, ParamError) and batch.renumbered == 0:
            # A signed answer does not name its request: it must say so twice, of two numbers.
            self._ledger.renumber(batch, used=False)
        elif isinstance(error, ParamError) and not batch.unknown_attempts:
            self._ledger.settle_refused(batch, error.code, error.message, self._clock.wall())
        else:
            # The stock's mode or state: it holds for every batch.
            self._ledger.not_accepted(batch)
            self._stop(Ending.REFUSED, str(error))

    def _answered(self) -> None:
        self._came_back()
        self._pace.taken(self._clock.steady())

    def _came_back(self) -> None:
        self._failing_since = self._not_ready_since = None
        self._not_ready_times = self._doubtful_times = 0
        self._state = "sending"

    def _doubt(self, reason: str) -> None:
        self._doubtful_times += 1
        if self._doubtful_times >= DOUBTFUL_MAX:
            self._stop(Ending.REFUSED, reason)

    def _failed(self, now: float, error: QuanmaError) -> None:
        self._failing_since = now if self._failing_since is None else self._failing_since
        pause = self._pace.failed(now, error.retry_after_seconds if isinstance(error, TryAgain) else None)
        self._come_again(error)
        self._state = f"waiting {pause:.0f} s: {error}"
        if now - self._failing_since > OUTAGE_SECONDS_MAX:
            self._stop(Ending.OUTAGE, str(error))

    def _come_again(self, error: QuanmaError) -> None:
        """Stop if the platform wants to be asked again after longer than an outage is waited out: resume then."""
        if isinstance(error, TryAgain) and (error.retry_after_seconds or 0.0) > OUTAGE_SECONDS_MAX:
            self._stop(Ending.OUTAGE, str(error))

    def _not_ready(self, now: float, error: StockNotReady) -> None:
        self._not_ready_since = now if self._not_ready_since is None else self._not_ready_since
        self._not_ready_times += 1
        pause = self._pace.not_ready(now, self._not_ready_times)
        self._state = f"the stock is still being created, next try in {pause:.0f} s"
        if now - self._not_ready_since > NOT_READY_SECONDS_MAX:
            self._stop(Ending.OUTAGE, str(error))

    def _stop(self, ending: Ending, reason: str) -> None:
        if self._stopping is None:
            self._stopping = (ending, reason)
        self._wake.set()

    async def _tick(self) -> None:
        while True:
            self._show(self._ledger.totals())
            await asyncio.sleep(TICK_SECONDS)

    def _show(self, totals: Totals) -> None:
        self._progress(Progress(totals, self._pace.rate, self._pace.ceiling, len(self._under_way), self._state))
