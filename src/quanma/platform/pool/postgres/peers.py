"""Who else serves the pool, as far as a host knows: a database that went back to before one of them came does not.

What a host knows of the others it read with a beat, from the database that it had looked at, and it holds for
`KNOWN_SECONDS`. Whoever is new gives nothing out before each host has beaten again, or what that one knew is void. So
what a host knows of late names everyone who can have acknowledged anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from .host_file import Host
from .seen import LEASE_SECONDS

Connection = Any

KNOWN_SECONDS = 5
"""Some beats long: a host that is late with one, or whose server was started anew, need not ask strangers."""
_PEERS_MAX, _NAME_CHARACTERS = 32, 40


async def read_peers(connection: Connection, host: Host) -> dict[str, str]:
    """The other hosts with a live lease, by id: their names. As many as there is room for."""
    rows = await connection.fetch(
        "SELECT host_id, name FROM host WHERE host_id <> $1"
        " AND beat_at > now() - make_interval(secs => $2::integer) ORDER BY host_id LIMIT $3",
        host.host_id,
        LEASE_SECONDS,
        _PEERS_MAX,
    )
    return {str(host_id): str(name)[:_NAME_CHARACTERS] for host_id, name in rows}


def peers_of_late(host: Host) -> dict[str, str] | None:
    """Who else served a moment ago. None: this host does not know, for it only starts, or could not look."""
    is_of_late = 0 <= time.monotonic_ns() - host.peers_at < KNOWN_SECONDS * 1e9
    return host.peers if host.peers_at and is_of_late else None


async def ask_for(connection: Connection, peers: Mapping[str, str] | None) -> None:
    """Have these waited for, where the database does not know of them."""
    if peers:
        await connection.executemany(
            "INSERT INTO host (host_id, name, beat, beat_at, confirmed) VALUES ($1, $2, 0, now(), '')"
            " ON CONFLICT (host_id) DO NOTHING",
            list(peers.items()),
        )


async def be_noticed(connection: Connection, host: Host) -> None:
    """A host that is new here gives nothing out before the others have seen it, with their next beat.

    Else a database that goes back to before it came would be taken for whole by those that know nothing of it. One that
    does not beat meanwhile knows nothing of late then.
    """
    until = time.monotonic() + KNOWN_SECONDS
    # Whoever beats after now sees this host's row. When that row was begun says nothing: theirs may overlap.
    since = await connection.fetchval("SELECT clock_timestamp()")
    while time.monotonic() < until:
        unaware = await connection.fetchval(
            "SELECT count(*) FROM host WHERE host_id <> $1"
            " AND beat_at > $2::timestamptz - make_interval(secs => $3::integer) AND beat_at < $2",
            host.host_id,
            since,
            KNOWN_SECONDS,
        )
        if not unaware:
            return
        await asyncio.sleep(0.05)
