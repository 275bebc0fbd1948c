"""Addresses in settings: a platform's, a proxy's, a page's, a database's. Each is read strictly, before it is used.

No message repeats one: it may have a password in it, and where a `/`, `?` or `#` of a password was not escaped, no rule
tells where the password ends.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .shape import shape

DEFAULT_PORTS = {"http": 80, "https": 443}
PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
DATABASE_SCHEMES = ("sqlite", "postgresql", "postgres")
ESCAPE = "in a password, write @ as %40, / as %2F, ? as %3F and # as %23"


class Wrong(NamedTuple):
    """Why an address can't be used, without the address."""

    reason: str


def origin(text: str) -> str | Wrong:
    """Return `http(s)://host[:port]` in its one form: small letters, no default port, no slash at the end."""
    parts = _read(text, ("http", "https"), "http(s)://host[:port]")
    if isinstance(parts, Wrong):
        return parts
    if parts.path not in ("", "/"):
        return _wrong(text, "http(s)://host[:port]", "it has a path: the platform's paths come after the host alone")
    return _normal(parts)


def is_open(address: str) -> bool:
    """Whether what is sent to it can be read on the way: http, and not to this machine itself."""
    parts = urlsplit(address)
    host = (parts.hostname or "").partition("%")[0]
    if parts.scheme != "http" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def page(text: str) -> str | Wrong:
    """Return the address of a page, `http(s)://host[:port]/path`, host and scheme in their one form."""
    parts = _read(text, ("http", "https"), "http(s)://host[:port]/path")
    if not isinstance(parts, Wrong) and "@" in parts.path:
        return _wrong(text, "http(s)://host[:port]/path", "it has a user or a password, and takes none")
    return parts if isinstance(parts, Wrong) else _normal(parts) + parts.path


def proxy(text: str) -> str | Wrong:
    """Return a proxy's address, `scheme://[user:password@]host[:port]`, as it was given."""
    form = "http://[user:password@]host:port"
    parts = _read(text, PROXY_SCHEMES, form, user=True)
    if isinstance(parts, Wrong):
        return parts
    if parts.path not in ("", "/"):
        return _wrong(text, form, f"it has a path: {ESCAPE}")
    return text


def database(text: str) -> str | Wrong:
    """Return a database URL as it was given: a SQLite file's, or a PostgreSQL database's."""
    form = "sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host:port/database"
    parts = _split(text)
    if parts is None or re.search(r"[\s\x00-\x1f\x7f]", text):
        return _wrong(text, form)
    if parts.scheme not in DATABASE_SCHEMES:
        return _wrong(text, form, f"it does not begin with {', '.join(f'{name}:' for name in DATABASE_SCHEMES)}")
    if parts.scheme == "sqlite":
        if parts.netloc or len(parts.path) < 2:
            return _wrong(text, form, "three slashes and a file's name come after sqlite:, four before an absolute one")
        if "?" in text or "#" in text:
            return _wrong(text, form, "a file's name here has no ? and no #")
        return text
    if "#" in text or "@" in parts.path or not text.startswith(f"{parts.scheme}://"):
        return _wrong(text, form, ESCAPE)
    hosts = parts.netloc.rpartition("@")[2]
    for host in hosts.split(",") if hosts else ():
        if (reason := _host_problem(host, plain=False)) is not None:
            return _wrong(text, form, f"{reason}; {ESCAPE}")
    if not parts.path.strip("/"):
        return _wrong(text, form, f"it names no database after the host; {ESCAPE}")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "port" and not all(_is_port(port) for port in value.split(",")):
            return _wrong(text, form, "its port is not a number from 1 to 65535")
    return text


def shown_database(text: str) -> str:
    """A database URL that was read, as a message and a ledger may show it: without its password, and its query."""
    parts = urlsplit(text)
    if parts.scheme == "sqlite":
        return text
    user = re.split("[:@]", parts.netloc)[0] + "@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}{parts.path}"


def host_of(text: str) -> str:
    """The host of an address that was read."""
    return urlsplit(text).hostname or ""


_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def _read(text: str, schemes: tuple[str, ...], form: str, *, user: bool = False) -> SplitResult | Wrong:
    parts = _split(text)
    if parts is None or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        return _wrong(text, form)
    if "://" not in text:
        return _wrong(text, form, "it has no scheme: begin it with http:// or https://")
    if parts.scheme not in schemes:
        return _wrong(text, form, f"its scheme is none of {', '.join(schemes)}")
    if "?" in text or "#" in text:
        return _wrong(text, form, f"it has a ? or a #: {ESCAPE}" if user else "it has a ? or a #")
    _, at, host = parts.netloc.rpartition("@")
    if at and not user:
        return _wrong(text, form, "it has a user or a password, and takes none")
    if (reason := _host_problem(host)) is not None:
        return _wrong(text, form, f"{reason}; {ESCAPE}" if user else reason)
    return parts


def _split(text: str) -> SplitResult | None:
    # The error of a split holds what it split.
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _normal(parts: SplitResult) -> str:
    host = parts.netloc
    name, port = _host_and_port(host)
    name = name.lower().removesuffix(".")
    if name.startswith("["):
        name = f"[{ipaddress.IPv6Address(name[1:-1]).compressed}]"
    shown = "" if not port or int(port) == DEFAULT_PORTS[parts.scheme] else f":{int(port)}"
    return f"{parts.scheme}://{name}{shown}"


def _host_and_port(host: str) -> tuple[str, str]:
    closed = host.rfind("]")
    name, _, port = host[closed + 1 :].partition(":")
    return host[: closed + 1] + name, port


def _host_problem(host: str, *, plain: bool = True) -> str | None:
    """Why this is no `host[:port]`. `plain`: a host must be named; a database's may be absent."""
    name, port = _host_and_port(host)
    if port and not _is_port(port):
        return "its port is not a number from 1 to 65535"
    if not name:
        return "it names no host" if plain else None
    if name.startswith("["):
        try:
            ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            return "what stands in its brackets is no IPv6 address"
        return None
    if not plain and re.fullmatch(r"%2[Ff][A-Za-z0-9%._-]+", name):
        return None  # The folder of a socket.
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "its host is no name: letters, digits, dots and hyphens"
    if _NUMBER.fullmatch(labels[-1]):
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            return "its host is no IPv4 address: four numbers from 0 to 255"
    return None


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


def _wrong(text: str, form: str, reason: str | None = None) -> Wrong:
    return Wrong(f"is not {form} ({shape(text)})" + (f": {reason}" if reason else ""))
