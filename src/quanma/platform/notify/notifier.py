"""Events out of the pool's outbox, to where the merchant wants them: sealed, signed, at least once, under one id.

Source: 5 s to answer, every 60 s, 11 times in all, any 2xx is a receipt (documented); how often is a setting. An event
is taken before it is posted, and is due again later: a process that dies in between, or many of them, neither lose it
nor post it at once. No merchant's events wait for another's: see shares.py, and lookups.py for names.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from ...api.events import (
    ASSOCIATED_DATA,
    CONTENT_TYPE,
    COUPON_SEND,
    ORIGINAL_TYPE,
    RESOURCE_TYPE,
    SUMMARY,
    CouponSent,
    Envelope,
    Resource,
)
from ...api.productcoupon.events import (
    BRAND_ASSOCIATED_DATA,
    BRAND_ORIGINAL_TYPE,
    BRAND_SEND,
    PRODUCT_COUPON_SUMMARY,
    PROVIDER_ASSOCIATED_DATA,
    PROVIDER_ORIGINAL_TYPE,
    PROVIDER_SEND,
    ProductCouponSent,
)
from ...api.record import Record
from ...errors import ParamError, QuanmaError, StoreUnavailable
from ...serving.redact import trace_of
from ...wire import sealed
from ...wire.times import rfc3339
from ..chance import Chance
from ..coupons.product.bundles import bundle_of
from ..coupons.product.changes import is_brand
from ..coupons.product.life import also_of, bundle_id_of
from ..coupons.stocks import Product
from ..keys.keystore import KeyStore
from ..observe.metrics import Outcome
from ..pool.contract import RETRIES, CodePool, DueEvent
from .addresses import Checked, HostRefused, Network, resolve
from .lookups import Lookups, NotLookedUp, ask_resolver
from .shares import Attempt, Shares

log = logging.getLogger(__name__)
_CHANCE = Chance("event-requests")

ANSWER_SECONDS = 5.0
IDLE_SECONDS = 0.5
GATHER_SECONDS = 0.02
"""So long after a place is free, what else became free is given out with it: each look costs the pool something."""
CLIENTS_MAX = 256
UNDER_WAY_MAX = 128
"""Each ends by itself. How they are shared out: shares.py."""
PAUSE_SECONDS_MAX = 60.0
TELL_SECONDS = 600.0
"""A failing address is told of in the log once in so long, with how often it failed."""
NO_PUBLIC_ADDRESS = "the host of notify_url has no public address"
"""What is told of every name that is not posted to, whatever the cause: see HostRefused."""


class Posted(NamedTuple):
    """One attempt as it went over the wire, for whoever looks on."""

    event: DueEvent
    headers: dict[str, str]
    body: bytes
    status: int
    """0: nobody answered."""


class _Failing:
    """What the log was told of a merchant's address."""

    count = 0
    told_at = -math.inf
    is_told = False


class Clients:
    """A client for each address that was checked, which connects there and nowhere else.

    Kept, since making one takes milliseconds of the loop: it reads the system's certificates. Connections are not.
    """

    def __init__(self) -> None:
        self._clients: dict[Checked, Client] = {}

    def to(self, where: Checked) -> Client:
        client = self._clients.pop(where, None)
        if client is None:
            if len(self._clients) >= CLIENTS_MAX:
                del self._clients[next(iter(self._clients))]  # Used longest ago. Whoever uses it now keeps it.
            builder = ClientBuilder().follow_redirects(False).referer(False).no_proxy().pool_max_idle_per_host(0)
            builder = builder.resolve(where.host, where.address, where.port)
            client = builder.timeout(timedelta(seconds=ANSWER_SECONDS)).build()
        self._clients[where] = client
        return client


class Notifier:
    """Delivers what is due, until it is stopped."""

    def __init__(
        self,
        pool: CodePool,
        keystore: KeyStore,
        *,
        allow_private: bool = False,
        refused_networks: Sequence[Network] = (),
        retry_seconds: float = RETRIES.seconds,
        look_up: Callable[[str, int], list[str]] = ask_resolver,
        clock: Callable[[], float] = time.time,
        count: Callable[[Outcome], None] = lambda outcome: None,
        posted: Callable[[Posted], None] | None = None,
    ) -> None:
        """`retry_seconds`: the pool's. `look_up` is called on threads, and may never return. `count`: each attempt.

        `posted` is told of each attempt that reached an address.
        """
        self._pool = pool
        self._keystore = keystore
        self._allow_private = allow_private
        self._refused_networks = refused_networks
        self._clock = clock
        self._count = count
        self._posted = posted
        pause_max = min(PAUSE_SECONDS_MAX, retry_seconds)
        self._lookups = Lookups(look_up, failures_seconds=pause_max, clock=clock)
        self._shares = Shares(clock, pause_max)
        self._clients = Clients()
        self._failing: dict[str, _Failing] = {}
        self._running: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()

    def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop. What was taken and not answered is due again."""
        tasks = [*self._under_way, *([self._running] if self._running else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def deliver_due(self) -> int:
        """Take what is due now, post it, and wait for what comes of it. Returns how many were taken."""
        taken = 0
        while begun := await self._begin_due():
            taken += begun
            await asyncio.gather(*self._under_way)
        return taken

    async def _begin_due(self) -> int:
        """Take what is due now, as much as there are places for, and begin to post it."""
        places = UNDER_WAY_MAX - len(self._under_way)
        now = int(self._clock())
        waiting = await self._pool.merchants_waiting(now) if places else []
        shares = self._shares.share_out(waiting, places)
        due = await self._pool.take_due_events(now, places, shares) if shares else []
        for event in due:
            task = asyncio.create_task(self._deliver(event, self._shares.begin(event.mchid, event.notify_url)))
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        return len(due)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._freed.set()

    async def _run(self) -> None:
        while True:
            self._freed.clear()
            try:
                taken = await self._begin_due()
            except QuanmaError as problem:
                log.warning("events wait: %s", problem)
                taken = 0
            except Exception as error:  # Whatever it is, the next merchant's events must not wait for ever.
                log.error("events wait: %s", trace_of(error))
                taken = 0
            if not taken:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._freed.wait()
                        await asyncio.sleep(GATHER_SECONDS)

    async def _deliver(self, event: DueEvent, attempt: Attempt) -> None:
        """Make one attempt, and note what came of it. Cancelled, it notes nothing: the event is due again."""
        answered, for_long, told = False, False, ""
        try:
            problem = await self._post(event)
            answered = True
        except NotLookedUp as busy:
            attempt.not_made(busy.seconds)
            with contextlib.suppress(StoreUnavailable):
                await self._pool.event_not_tried(event, int(self._clock()))
            return
        except HostRefused as refused:
            problem, told, for_long = refused.message, NO_PUBLIC_ADDRESS, True
        except TimeoutError:
            problem = f"no answer within {ANSWER_SECONDS:.0f} s"
        except ParamError as refused:
            problem = refused.message
        except PyreqwestError as broken:
            problem = type(broken).__name__
        except Exception as error:  # One event that can't be posted must not hold up the others.
            problem = type(error).__name__
            log.error("event %s: %s", event.id, trace_of(error))
        except asyncio.CancelledError:
            attempt.not_made(0)
            raise
        with contextlib.suppress(StoreUnavailable):  # Not noted, it is due again: received twice rather than never.
            if problem is None:
                attempt.received()
                self._count(Outcome.RECEIVED)
                self._tell_received(event)
                await self._pool.event_delivered(event, int(self._clock()))
            else:
                self._count(Outcome.FAILED)
                attempt.failed(answered=answered, for_long=for_long)
                self._tell_failed(event, problem)
                await self._pool.event_failed(event, told or problem)

    def _tell_failed(self, event: DueEvent, problem: str) -> None:
        """In the log once, and then counted: a thousand events that fail are no thousand lines."""
        failing = self._failing.setdefault(event.mchid, _Failing())
        failing.count += 1
        now = self._clock()
        if not failing.told_at <= now < failing.told_at + TELL_SECONDS:
            failing.told_at, failing.is_told = now, True
            log.warning(
                "event %s was not received at attempt %d: %s; merchant %s, failed attempts so far: %d",
                event.id,
                event.attempts,
                problem,
                event.mchid,
                failing.count,
            )

    def _tell_received(self, event: DueEvent) -> None:
        failing = self._failing.get(event.mchid)
        if failing is not None and failing.is_told:
            failing.is_told = False
            log.info("merchant %s receives events again; failed attempts so far: %d", event.mchid, failing.count)

    async def _post(self, event: DueEvent) -> str | None:
        """Post an event once. Returns why it was not received, or None."""
        until = asyncio.get_running_loop().time() + ANSWER_SECONDS  # The lookup of its name included.

        async def look_up(host: str, port: int) -> list[str]:
            return await self._lookups.addresses(event.mchid, host, port, ANSWER_SECONDS)

        where = await resolve(
            event.notify_url, allow_private=self._allow_private, refused=self._refused_networks, look_up=look_up
        )
        async with asyncio.timeout_at(until):
            body = await self._body(event)
            signer = self._keystore.known(event.stock.mchid)
            headers = dict(self._keystore.sign(None, str(int(self._clock())), body, brand=signer))
            headers |= {
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": "quanma platform",
                "Request-ID": f"{_CHANCE.token_hex(16).upper()}-0",
            }
            client = self._clients.to(where)
            status = 0
            try:
                async with client.post(event.notify_url).headers(headers).body_bytes(body).build_streamed() as response:
                    # The status is the receipt; whatever else comes is not read.
                    status = response.status
                    return None if 200 <= status < 300 else f"answered {status}"
            finally:
                if self._posted is not None:
                    self._posted(Posted(event, headers, body, status))

    async def _body(self, event: DueEvent) -> bytes:
        if event.stock.product is not None:
            return await self._product_body(event, event.stock.product)
        coupon = event.coupon
        content = CouponSent(
            event_type=CONTENT_TYPE,
            coupon_code=coupon.coupon_code,
            stock_id=coupon.stock_id,
            send_time=rfc3339(coupon.sent_at),
            send_channel=coupon.send_channel,
            send_merchant=coupon.send_merchant,
            openid=coupon.openid if event.stock.notify_appid else None,
        )
        return await self._sealed(event, COUPON_SEND, SUMMARY, ORIGINAL_TYPE, ASSOCIATED_DATA, content)

    async def _product_body(self, event: DueEvent, product: Product) -> bytes:
        coupon = event.coupon
        by_brand = is_brand(event.stock.mchid)
        content = ProductCouponSent(
            coupon_code=coupon.coupon_code,
            product_coupon_id=product.product_coupon_id,
            stock_id=coupon.stock_id,
            appid=event.stock.notify_appid or coupon.appid,
            openid=coupon.openid,
            receive_time=rfc3339(coupon.sent_at),
            send_request_no=coupon.out_request_no,
            send_channel=coupon.send_channel,
            valid_begin_time=rfc3339(coupon.starts_at),
            valid_end_time=rfc3339(coupon.expires_at),
            # Source: for a brand's own events it is not proven.
            brand_id=None if by_brand else product.brand_id,
            stock_bundle_id=bundle_of(coupon.stock_id),
            user_coupon_bundle_id=bundle_id_of(coupon),
            attach=also_of(coupon).attach,
        )
        kind = (
            (BRAND_SEND, PRODUCT_COUPON_SUMMARY, BRAND_ORIGINAL_TYPE, BRAND_ASSOCIATED_DATA)
            if by_brand
            else (PROVIDER_SEND, PRODUCT_COUPON_SUMMARY, PROVIDER_ORIGINAL_TYPE, PROVIDER_ASSOCIATED_DATA)
        )
        return await self._sealed(event, *kind, content)

    async def _sealed(
        self, event: DueEvent, event_type: str, summary: str, original_type: str, associated_data: str, content: Record
    ) -> bytes:
        """An event as it is posted, sealed with the key of whoever made its stock."""
        mchid = event.stock.mchid
        # A new nonce at each attempt, of a counter that the pool keeps: none comes twice under a key.
        nonce = sealed.nonce_from(await self._pool.take_nonce(mchid))
        key = self._keystore.merchant(mchid).apiv3_key
        envelope = Envelope(
            id=event.id,
            create_time=rfc3339(event.created_at),
            event_type=event_type,
            resource_type=RESOURCE_TYPE,
            summary=summary,
            resource=Resource(
                original_type=original_type,
                algorithm=sealed.ALGORITHM,
                ciphertext=sealed.seal(key, nonce, associated_data, msgspec.json.encode(content)),
                associated_data=associated_data,
                nonce=nonce,
            ),
        )
        return msgspec.json.encode(envelope)
