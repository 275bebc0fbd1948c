"""What a transaction reads of the epoch, with its own stock: whether anything may be given out."""

from __future__ import annotations

from typing import NamedTuple

from .host_file import Host

LEASE_SECONDS = 10
"""From a host's last beat on. Longer than a transaction may stand idle: what a paused host began is over by then."""
WORD_SECONDS = 5
"""For a host whose lease is over, as the database has it, to say that it lives all the same: in a copy of long ago, and
after an outage, every lease is over. A living host sees a new epoch with its next beat."""
UNKNOWN_SECONDS = 2.5
"""For hosts that nobody knows of to say that they live, where none who is asked knows who served a moment ago: a host
that starts, on a copy of before they came. As `WORD_SECONDS`, but it is waited for at each such start."""

SEEN = (
    "e.history, e.number, e.number || '.' || e.token, e.server, {identity},"
    " EXISTS (SELECT 1 FROM about WHERE name = 'settled' AND value = e.number || '.' || e.token || '.' || {identity}),"
    " EXISTS (SELECT 1 FROM about WHERE name = 'fenced'),"
    " (SELECT h.beat FROM host h WHERE h.host_id = {host}),"
    " current_setting('synchronous_standby_names') <> ''"
)
"""What is read of the epoch, from `epoch e`: the fields of Seen."""
IDENTITY = "e.tableoid::bigint || '.' || e.xmin::text"
"""Other where the row was loaded anew, be it the same. On Citus each node has a copy, and each another identity."""


class Seen(NamedTuple):
    """What the database says of its epoch."""

    history: str
    number: int
    key: str
    server: str
    identity: str
    is_settled: bool
    """Every host has confirmed it."""
    is_fenced: bool
    beat: int | None
    """Of this host."""
    waits: bool
    """A COMMIT waits for a standby. So what can be read may be there, and on no standby yet."""

    @property
    def epoch(self) -> str:
        return f"{self.key}.{self.identity}"


SEEN_FIELDS = len(Seen._fields)


class Unconfirmed(Exception):
    """Nothing may be done here before the epoch is confirmed."""

    def __init__(self, went_back_in: str | None = None) -> None:
        """`went_back_in`: the epoch in which the node that has the stock was seen to have gone back."""
        super().__init__()
        self.went_back_in = went_back_in


class Missing(Exception):
    """Something that this host acknowledged is not in the database."""


def went_back(seen: Seen, host: Host) -> bool:
    """Whether the epoch in the database is older than the one that this host knows, or another of its number."""
    if not host.epoch:
        return False
    if seen.number == host.epoch_number:
        return seen.epoch != host.epoch or (seen.beat is not None and seen.beat < host.beat)
    return seen.number < host.epoch_number


def lineage(history: str) -> int:
    """A later history has a larger one: see `schema.lift_fence`."""
    return int(history.partition(".")[0] or 0)
