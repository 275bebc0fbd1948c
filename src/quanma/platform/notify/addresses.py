"""Where events may be posted. An address is chosen from outside, so it must not reach inside.

What is checked is what will be connected to: the host is read by the parser of the library that connects, and refused
where that reads another one than stands there. The name is looked up before a delivery, every address it has is
checked, and the connection goes to the one that was checked: a name that changes its address in between gains nothing.
Redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from pyreqwest.http import Url

from ...errors import ParamError
from .lookups import LOOKUP_SECONDS, Lookups

URL_CHARACTERS_MAX = 256

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
LookUp: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, for a port. Raises OSError: it has none."""


class Checked(NamedTuple):
    """A host with the address to connect to."""

    host: str
    port: int
    address: str


class HostRefused(ParamError):
    """A name has no address, or one that events may not be posted to. Which of them is for the log: whoever chose the
    name would learn from it which names there are inside."""


def check_address(notify_url: str, *, allow_private: bool, refused: Sequence[Network] = ()) -> None:
    """Check what can be seen of an address without asking for its name.

    `refused`: networks that are never posted to, public or not.

    Raises:
        ParamError: not of its one form, not https, or an address that is not public.
    """
    _checked(notify_url, allow_private, refused)


async def resolve(
    notify_url: str, *, allow_private: bool, refused: Sequence[Network] = (), look_up: LookUp | None = None
) -> Checked:
    """Look an address up, and return where to connect.

    Raises:
        ParamError: as `check_address`.
        HostRefused: it has no address, or one of its addresses is not public.
    """
    parts = _checked(notify_url, allow_private, refused)
    if parts.literal is not None:
        return Checked(parts.host, parts.port, str(parts.literal))
    try:
        found = await (look_up or _look_up)(parts.host, parts.port)
    except (OSError, UnicodeError) as problem:
        raise HostRefused(f"the host of notify_url has no address: {problem}") from None
    if not found or not all(_is_allowed(ipaddress.ip_address(one), allow_private, refused) for one in found):
        raise HostRefused("the host of notify_url has an address that is not public")
    return Checked(parts.host, parts.port, found[0])


async def _look_up(host: str, port: int) -> Sequence[str]:
    return await Lookups().addresses("", host, port, LOOKUP_SECONDS)


class _Parts(NamedTuple):
    scheme: str
    host: str
    """As the library reads it, without the brackets of an IPv6 address."""
    port: int
    literal: Address | None
    written: str
    """The host as it stands there."""


def _checked(notify_url: str, allow_private: bool, refused: Sequence[Network]) -> _Parts:
    parts = _parts(notify_url)
    if parts.scheme != "https" and not allow_private:
        raise ParamError("notify_url must be https (platform.toml's allow_private_callbacks lifts this, for tests)")
    inside = parts.host == "localhost" or parts.host.endswith(".localhost")
    if parts.literal is not None:
        allowed = _is_allowed(parts.literal, allow_private, refused)
    else:
        allowed = allow_private or not inside
    if not allowed:
        raise ParamError("notify_url is not a public address")
    if parts.written != parts.host and (parts.literal is None or _address(parts.written) != parts.literal):
        raise ParamError(f"the host of notify_url is read as {parts.host} when it is connected to: write it like that")
    return parts


# Strict: whoever connects reads the address anew, and must not find another host in it than was checked here.
_LABEL = r"[0-9A-Za-z_-]{1,63}"
_URL = re.compile(rf"(https?)://({_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?(?:/[^\s?#\\]*)?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""A label that the URL standard of the WHATWG reads as a number: a host that ends in one is an IPv4 address there."""


def _parts(notify_url: str) -> _Parts:
    """What the library that connects reads. Raises ParamError: not of the one form."""
    match = _URL.fullmatch(notify_url)
    port = int(match[3] or (443 if match[1] == "https" else 80)) if match else 0
    if match is not None and len(notify_url) <= URL_CHARACTERS_MAX and 0 < port < 65536:
        try:
            host = (Url(notify_url).host_str or "").strip("[]").lower()
        except ValueError:
            host = ""
        literal = _address(host)
        if host and (literal is not None or not _NUMBER.fullmatch(host.rpartition(".")[2])):
            return _Parts(match[1], host, port, literal, match[2].strip("[]").lower())
    raise ParamError(
        "notify_url must be https://host/path or https://host:port/path, the host in ASCII, without a user and a "
        f"query, of at most {URL_CHARACTERS_MAX} characters"
    )


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_allowed(address: Address, allow_private: bool, refused: Sequence[Network]) -> bool:
    if any(layer in network for layer in _layers(address) for network in refused):
        return False
    return allow_private or is_public(address)


def is_public(address: Address) -> bool:
    """Whether an address is on the public network, also when it is wrapped in another kind of address."""
    *_, inner = _layers(address)
    if any(inner in network for network in _SPECIAL):
        return False
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def _layers(address: Address) -> Iterator[Address]:
    """An address, and the ones that it wraps."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            yield from _layers(inner)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SPECIAL: tuple[Network, ...] = (
    # Not public, and public to some versions of Python.
    # Source: the registries of special-purpose addresses of the IANA, and RFC 3879 for site-local ones.
    ipaddress.IPv6Network("3fff::/20"),  # Documentation.
    ipaddress.IPv6Network("5f00::/16"),  # Segment routing, inside one network.
    ipaddress.IPv6Network("fec0::/10"),  # Site-local.
    ipaddress.IPv4Network("192.88.99.0/24"),  # Relays of 6to4, given up.
)
