"""Events out of the pool's outbox, to where the merchant wants them: sealed, signed, at least once, under one id.

Source: 5 s to answer, every 60 s, 11 times in all, any 2xx is a receipt (documented); how often is a setting. An event
is taken before it is posted, and is due again later: a process that dies in between, or many of them, neither lose it
nor post it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import timedelta

import msgspec
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from ..api.events import (
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
from ..errors import ParamError, QuanmaError, StoreUnavailable
from ..wire import sealed
from ..wire.times import rfc3339
from .addresses import resolve
from .keyroom import KeyRoom
from .pool.contract import CodePool, DueEvent
from .traces import trace_of

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
IDLE_SECONDS = 0.5
UNDER_WAY_MAX = 64
"""Each ends by itself: one that is not answered holds up none of the others."""


class Notifier:
    """Delivers what is due, until it is stopped."""

    def __init__(
        self,
        pool: CodePool,
        keyroom: KeyRoom,
        *,
        allow_private: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._keyroom = keyroom
        self._allow_private = allow_private
        self._clock = clock
        self._running: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

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
        taken = await self._begin_due()
        await asyncio.gather(*self._under_way)
        return taken

    async def _begin_due(self) -> int:
        """Take what is due now, as much as there is room for, and begin to post it."""
        room = UNDER_WAY_MAX - len(self._under_way)
        due = await self._pool.take_due_events(int(self._clock()), room) if room else []
        for event in due:
            task = asyncio.create_task(self._deliver(event))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(due)

    async def _run(self) -> None:
        while True:
            try:
                taken = await self._begin_due()
            except QuanmaError as problem:
                log.warning("events wait: %s", problem)
                taken = 0
            except Exception as error:  # Whatever it is, the next merchant's events must not wait for ever.
                log.error("events wait: %s", trace_of(error))
                taken = 0
            if not taken:
                await asyncio.sleep(IDLE_SECONDS)

    async def _deliver(self, event: DueEvent) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):  # The lookup of its name included.
                problem = await self._post(event)
        except TimeoutError:
            problem = f"no answer within {ANSWER_SECONDS:.0f} s"
        except ParamError as refused:
            problem = refused.message
        except PyreqwestError as broken:
            problem = type(broken).__name__
        except Exception as error:  # One event that can't be posted must not hold up the others.
            problem = type(error).__name__
            log.error("event %s: %s", event.id, trace_of(error))
        with contextlib.suppress(StoreUnavailable):  # Not noted, it is due again: received twice rather than never.
            if problem is None:
                await self._pool.event_delivered(event, int(self._clock()))
            else:
                await self._pool.event_failed(event, problem)
                log.warning("event %s was not received at attempt %d: %s", event.id, event.attempts, problem)

    async def _post(self, event: DueEvent) -> str | None:
        """Post an event once. Returns why it was not received, or None."""
        where = await resolve(event.notify_url, allow_private=self._allow_private)
        body = await self._body(event)
        headers = dict(self._keyroom.sign(None, str(int(self._clock())), body))
        headers |= {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "quanma platform",
            "Request-ID": f"{secrets.token_hex(16).upper()}-0",
        }
        builder = ClientBuilder().follow_redirects(False).referer(False).no_proxy()
        builder = builder.resolve(where.host, where.address, where.port).timeout(timedelta(seconds=ANSWER_SECONDS))
        async with builder.build() as client:
            request = client.post(event.notify_url).headers(headers).body_bytes(body).build_streamed()
            async with request as response:
                # The status is the receipt; whatever else comes is not read.
                return None if 200 <= response.status < 300 else f"answered {response.status}"

    async def _body(self, event: DueEvent) -> bytes:
        coupon = event.coupon
        content = CouponSent(
            event_type=CONTENT_TYPE,
            coupon_code=coupon.coupon_code,
            stock_id=coupon.stock_id,
            send_time=rfc3339(coupon.sent_at),
            send_channel=coupon.send_channel,
            send_merchant=coupon.send_merchant,
            openid=coupon.openid if event.notify_appid else None,
        )
        # A new nonce at each attempt, of a counter that the pool keeps: none comes twice under a key.
        nonce = sealed.nonce_from(await self._pool.take_nonce(event.mchid))
        key = self._keyroom.merchant(event.mchid).apiv3_key
        envelope = Envelope(
            id=event.id,
            create_time=rfc3339(event.created_at),
            event_type=COUPON_SEND,
            resource_type=RESOURCE_TYPE,
            summary=SUMMARY,
            resource=Resource(
                original_type=ORIGINAL_TYPE,
                algorithm=sealed.ALGORITHM,
                ciphertext=sealed.seal(key, nonce, ASSOCIATED_DATA, msgspec.json.encode(content)),
                associated_data=ASSOCIATED_DATA,
                nonce=nonce,
            ),
        )
        return msgspec.json.encode(envelope)
