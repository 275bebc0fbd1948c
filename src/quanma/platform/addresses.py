"""Where events may be posted. An address is chosen from outside, so it must not reach inside.

The name is looked up at each delivery, every address it has is checked, and the connection goes to the one that was
checked: a name that changes its address in between gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from typing import NamedTuple

from ..errors import ParamError

URL_CHARACTERS_MAX = 256


class Checked(NamedTuple):
    """A host with the address to connect to."""

    host: str
    port: int
    address: str


def check_address(notify_url: str, *, allow_private: bool) -> None:
    """Check what can be seen of an address without asking for its name.

    Raises:
        ParamError: not of its one form, not https, or an address that is not public.
    """
    scheme, host, _ = _parts(notify_url)
    if allow_private:
        return
    if scheme != "https":
        raise ParamError("notify_url must be https (platform.toml's allow_private_callbacks lifts this, for tests)")
    literal = _literal(host)
    if (literal is not None and not is_public(literal)) or host == "localhost" or host.endswith(".localhost"):
        raise ParamError("notify_url is not a public address")


async def resolve(notify_url: str, *, allow_private: bool) -> Checked:
    """Look an address up, and return where to connect.

    Raises:
        ParamError: it has no address, or one of its addresses is not public.
    """
    check_address(notify_url, allow_private=allow_private)
    _, host, port = _parts(notify_url)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise ParamError(f"the host of notify_url has no address: {problem}") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not (allow_private or all(is_public(ipaddress.ip_address(one)) for one in addresses)):
        raise ParamError("the host of notify_url has an address that is not public")
    return Checked(host, port, addresses[0])


# Strict: whoever connects reads the address anew, and must not find another host in it than was checked here.
_LABEL = r"[0-9A-Za-z_-]{1,63}"
_URL = re.compile(rf"(https?)://({_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?(?:/[^\s?#\\]*)?")


def _parts(notify_url: str) -> tuple[str, str, int]:
    """Scheme, host and port. Raises ParamError: not of the one form."""
    match = _URL.fullmatch(notify_url)
    port = int(match[3] or (443 if match[1] == "https" else 80)) if match else 0
    if match is None or len(notify_url) > URL_CHARACTERS_MAX or not 0 < port < 65536:
        raise ParamError(
            "notify_url must be https://host/path or https://host:port/path, the host in ASCII, without a user and a "
            f"query, of at most {URL_CHARACTERS_MAX} characters"
        )
    return match[1], match[2].strip("[]").lower(), port


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is on the public network, also when it is wrapped in another kind of address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return is_public(inner)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # What inet_aton takes, the name lookup takes too: 127.1, 0x7f000001, 2130706433.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
