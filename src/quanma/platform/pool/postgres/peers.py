"""Who else serves the pool, as far as a host knows: a database that went back to before one of them came does not.

What a host knows of the others is of one look at the database, written to its own disk before the host says in its row
of when it is (`knows_at`). It holds for `KNOWN_SECONDS`. A host that joins gives nothing out before every other one has
said that it knows of a later moment, or what that one knew is void. So what a host knows of late names everyone who can
have acknowledged anything.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .host_file import Host, Peer
from .seen import LEASE_SECONDS
from .witness import Witness

Connection = Any

KNOWN_SECONDS = 5
"""Some beats long: a host that is late with one, or whose server was started anew, need not ask strangers."""
LEFT = "left"
"""What a host has confirmed that ended in order: no epoch. Nobody waits for it."""
_PEERS_MAX, _NAME_CHARACTERS = 32, 40

AROUND = (
    "now(), ARRAY(SELECT h.host_id FROM host h WHERE {others} ORDER BY h.host_id),"
    " ARRAY(SELECT h.name FROM host h WHERE {others} ORDER BY h.host_id),"
    " ARRAY(SELECT h.beat FROM host h WHERE {others} ORDER BY h.host_id),"
    " (SELECT h.beat_at > now() - make_interval(secs => {known}) FROM host h WHERE h.host_id = $1)"
).format(others=f"h.host_id <> $1 AND h.confirmed <> '{LEFT}'", known=KNOWN_SECONDS)
"""What is read of the others: the fields of Around. $1: this host."""


class Around(NamedTuple):
    """The others that a look at the database saw: those that live, and those that died lately."""

    at: datetime.datetime
    """Not later than the look, by the database's clock."""
    ids: Sequence[str]
    names: Sequence[str]
    beats: Sequence[int]
    is_of_late: bool | None
    """This host's own last beat was. None: there was none."""

    @property
    def peers(self) -> dict[str, Peer]:
        """As many as there is room for."""
        seen = list(zip(self.ids, self.names, self.beats, strict=True))[:_PEERS_MAX]
        return {host_id: Peer(name[:_NAME_CHARACTERS], beat) for host_id, name, beat in seen}


def peers_of_late(host: Host) -> dict[str, Peer] | None:
    """Who else served a moment ago. None: this host does not know, for it only starts, or could not look."""
    is_of_late = 0 <= time.monotonic_ns() - host.peers_at < KNOWN_SECONDS * 1e9
    return host.peers if host.peers_at and is_of_late else None


def remember(witness: Witness, around: Around, looked_at: int) -> None:
    """From a look at a settled epoch, begun at `looked_at`. One that has not beaten for long does not know yet."""
    witness.change_host(peers=around.peers, peers_at=looked_at if around.is_of_late else 0, met_fence=False)


def remember_more(witness: Witness, around: Around) -> None:
    """From a look at an epoch that is not settled: those who were known may be missing in it."""
    if (known := peers_of_late(witness.host)) is not None:
        witness.change_host(peers={**known, **around.peers})


async def ask_for(connection: Connection, peers: Mapping[str, Peer] | None) -> None:
    """Have these waited for, where the database does not know of them, or only as they were before they were seen."""
    if peers:
        await connection.executemany(
            "INSERT INTO host (host_id, name, beat, beat_at, confirmed) VALUES ($1, $2, 0, now(), '')"
            " ON CONFLICT (host_id) DO UPDATE SET confirmed = '', beat_at = now()"
            " WHERE host.confirmed = $4 AND host.beat < $3",
            [(host_id, peer.name, peer.beat, LEFT) for host_id, peer in peers.items()],
        )


async def joined(connection: Connection, host_id: str) -> None:
    """Note when this host's row was there for all to see: after the COMMIT that brought it."""
    await connection.execute("UPDATE host SET joined_at = now() WHERE host_id = $1 AND joined_at IS NULL", host_id)


async def is_noticed(connection: Connection, host_id: str) -> bool:
    """Whether every other host knows of this one, or knows nothing any more."""
    unaware = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM host h, host me WHERE me.host_id = $1 AND h.host_id <> $1 AND h.confirmed <> $4"
        " AND h.beat_at > me.joined_at - make_interval(secs => $2::integer)"
        " AND (h.knows_at IS NULL OR h.knows_at < me.joined_at)"
        " AND clock_timestamp() < me.joined_at + make_interval(secs => $3::integer))",
        host_id,
        LEASE_SECONDS,
        KNOWN_SECONDS,
        LEFT,
    )
    return not unaware


async def say_of_when(connection: Connection, host_id: str, around: Around) -> None:
    """That this host knows, if anything, all who had joined when it looked. Its file must say so first."""
    await connection.execute("UPDATE host SET knows_at = $2 WHERE host_id = $1", host_id, around.at)
