"""Whether the store answers, for `/healthz` and `/readyz`: asked once for all who ask at a time.

Strangers may ask too, as often as they like. So there is never more than one question under way, and a good answer is
kept for a moment. A bad one is not: that the store is back is seen at once.
"""

from __future__ import annotations

import asyncio
import logging

from ...errors import Misconfigured, StoreUnavailable
from ...serving.redact import trace_of
from ..pool.contract import CodePool

log = logging.getLogger(__name__)

KEPT_SECONDS = 0.25
PROBE_SECONDS = 5.0
"""A store that takes longer does not answer. Source: our choice; load balancers wait for some seconds."""


class Probe:
    def __init__(self, pool: CodePool) -> None:
        self._pool = pool
        self._asking: asyncio.Task[bool] | None = None
        self._well_until = 0.0
        self._was_well = True

    async def well(self, *, kept: bool = False) -> bool:
        """Whether the store answers. `kept`: a good answer of the last 0.25 s will do. Never raises."""
        loop = asyncio.get_running_loop()
        if kept and loop.time() < self._well_until:
            return True
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._ask())
        # Shielded: one who goes away must not end the question of all.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._pool.check()
        except GeneratorExit:  # The loop is gone, and nobody waits.
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            if self._was_well:  # Once, and not for each who asks.
                said = str(error) if isinstance(error, StoreUnavailable | Misconfigured) else trace_of(error)
                log.error("the store can't answer: %s", said)
            self._was_well, self._well_until = False, 0.0
            return False
        if not self._was_well:
            log.info("the store answers again")
        self._was_well = True
        self._well_until = asyncio.get_running_loop().time() + KEPT_SECONDS
        return True
