"""The addresses in a database URL, each by itself: which is the right one, we decide, and not the driver. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from ....errors import Misconfigured

_HOST = r"(?:[\w.-]*|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
_SHOWN = re.compile(rf"(?:{_HOST}(?:,{_HOST})*|/[\w.,/-]+)/[\w.-]+", re.ASCII)


class Address(NamedTuple):
    url: str
    """For one host, asking for one that can be written to: no decision is taken from a replica's read."""
    name: str
    """Hosts and database as the whole URL names them, without user and password: the same for all of its hosts."""


def shown(url: str) -> str:
    """Return hosts and database as a message may show them; "" unless each part is surely no part of a secret."""
    try:
        name = addresses_of(url)[0].name
    except Misconfigured:
        return ""
    return name if _SHOWN.fullmatch(name) else ""


def addresses_of(url: str) -> list[Address]:
    """Return an address for each host of a URL.

    Raises:
        Misconfigured: no URL of a PostgreSQL database.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise Misconfigured("database is not postgresql://user:password@host:port/database")
    user, at, hosts = parts.netloc.rpartition("@")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query.setdefault("target_session_attrs", "read-write")
    name = f"{hosts or query.get('host', '')}{parts.path}"
    if "," in hosts:
        netlocs, queries = [f"{user}{at}{host}" for host in hosts.split(",")], [query] * len(hosts.split(","))
    elif "," in query.get("host", ""):
        names = query["host"].split(",")
        ports = query.get("port", "").split(",")
        ports = ports * len(names) if len(ports) == 1 else ports
        if len(ports) != len(names):
            raise Misconfigured(f"the database URL names {len(names)} hosts and {len(ports)} ports")
        netlocs = [parts.netloc] * len(names)
        queries = [
            {**query, "host": host, **({"port": port} if port else {})} for host, port in zip(names, ports, strict=True)
        ]
    else:
        netlocs, queries = [parts.netloc], [query]
    return [
        Address(parts._replace(netloc=netloc, query=urlencode(asked)).geturl(), name)
        for netloc, asked in zip(netlocs, queries, strict=True)
    ]
