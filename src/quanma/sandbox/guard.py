"""Who may use the control endpoints: programs on this machine; not a page of another origin that a browser shows.

A port on loopback is reached by every page that a browser opens, and by a name that is made to mean 127.0.0.1 (DNS
rebinding). So the Host must be one that is expected, no request may come from another origin, and what changes
something must be JSON, which no page can send elsewhere unasked. Pure.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from typing import NamedTuple

from ..serving.messages import Request

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_READS = ("GET", "HEAD")


class Refused(NamedTuple):
    status: int
    message: str


class Guard:
    def __init__(self, hosts: Collection[str] = (), token: str | None = None) -> None:
        """`hosts`: names besides loopback's, without a port. `token`: what every request must carry."""
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._token = token

    def refusal(self, request: Request) -> Refused | None:
        """Why a request to the control endpoints is not served, or None."""
        hosts = request.all(b"host")
        host = _name(hosts[0]) if len(hosts) == 1 else ""
        if host not in self._hosts:
            return Refused(403, "this Host is not served: use 127.0.0.1 or localhost, or start with --allow-host NAME")
        origin = request.header(b"origin")
        if origin is not None and origin.partition("://")[2].lower() != hosts[0].lower():
            return Refused(403, "a page of another origin may not use the sandbox: call it from a program")
        if (request.header(b"sec-fetch-site") or "none") not in ("none", "same-origin"):
            return Refused(403, "a page of another site may not use the sandbox: call it from a program")
        if self._token is not None and not self._has_token(request):
            return Refused(401, "the control endpoints need the header Authorization: Bearer TOKEN, as --control-token")
        if request.verb not in _READS:
            kind = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
            if kind != "application/json" and (request.body or request.verb != "DELETE"):
                return Refused(415, "the control endpoints take JSON: send Content-Type: application/json")
        return None

    def _has_token(self, request: Request) -> bool:
        assert self._token is not None
        said = request.fields.get(b"authorization", b"")
        return hmac.compare_digest(said, b"Bearer " + self._token.encode())


def _name(host: str) -> str:
    """Without its port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()
