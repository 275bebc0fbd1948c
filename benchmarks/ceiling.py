"""The ceiling of both ends: every request and every answer costs one RSA-2048 signature, whatever else it does."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import NamedTuple

from quanma.wire import keys, signature

from . import machine
from .table import Table, median

BURST_SECONDS = 0.3


class Rate(NamedTuple):
    """How often in a second: of the clock, and of the CPU time that it took."""

    per_second: float
    per_cpu_second: float


def signing_rate(core: int = machine.SERVER_CORE) -> Rate:
    """Sign on one core for a moment, as an answer is signed."""
    key = _key()
    with machine.on_core(core):
        began, began_cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() < began + BURST_SECONDS:
            signature.sign(key, b"a message of a fixed length does: it is hashed first")
            count += 1
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    return Rate(count / seconds, count / cpu_seconds)


def mean(before: Rate, after: Rate) -> Rate:
    """The rate in between."""
    return Rate((before[0] + after[0]) / 2, (before[1] + after[1]) / 2)


def tables(quick: bool) -> Iterator[Table]:
    rates = [signing_rate() for _ in range(3 if quick else 10)]
    table = Table("RSA-2048 signatures of one core", ("", "/s", "/CPU-s"))
    table.add("median", median(rate.per_second for rate in rates), median(rate.per_cpu_second for rate in rates))
    table.add("lowest", min(rate.per_second for rate in rates), min(rate.per_cpu_second for rate in rates))
    table.add("highest", max(rate.per_second for rate in rates), max(rate.per_cpu_second for rate in rates))
    yield table


@functools.cache
def _key() -> keys.PrivateKey:
    return keys.load_private_key(keys.make_private_key(), "a new key")
