"""Checks of the way to the platform: its name, a connection, TLS, and whether it is the platform that answers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import urllib.request
from typing import NamedTuple
from urllib.parse import urlsplit

from ..client import between
from ..client.compressed import plain
from ..errors import AnswerUntrusted, Misconfigured, QuanmaError
from ..settings.addresses import DEFAULT_PORTS
from ..wire import keys
from .asking import LIST_CERTIFICATES, headers_of, send
from .check import Check, Outcome, failed, passed, skipped, warned
from .subject import Subject

NAME_SECONDS = 4.0
CONNECT_SECONDS = 3.0
ASK_SECONDS = 6.0


class _Place(NamedTuple):
    """Where a connection goes to."""

    host: str
    port: int
    is_tls: bool

    @classmethod
    def of(cls, address: str) -> _Place:
        parts = urlsplit(address)
        return cls(parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 1080), parts.scheme == "https")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _proxy(subject: Subject) -> str | None:
    """The proxy that requests go through: of the settings, else the environment's."""
    if subject.given.settings.get("proxy"):
        return subject.good("proxy")
    base = urlsplit(subject.hosts[0])
    found = urllib.request.getproxies().get(base.scheme)
    return None if not found or urllib.request.proxy_bypass(base.netloc) else found


def _next_hop(subject: Subject) -> _Place:
    return _Place.of(_proxy(subject) or subject.hosts[0])


def _name(subject: Subject) -> Outcome:
    place = _next_hop(subject)
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return failed(
            f"{place.host} has no address that this machine finds",
            f"getent hosts {place.host}; see base_url, the proxy, and /etc/resolv.conf",
        )
    if _proxy(subject) is None:
        for other in map(_Place.of, subject.hosts[1:]):
            try:
                socket.getaddrinfo(other.host, other.port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):
                return warned(
                    f"{other.host}, the second host, has no address that this machine finds",
                    f"getent hosts {other.host}",
                )
    numbers = ", ".join(dict.fromkeys(str(one[4][0]) for one in found[:4]))
    return passed(numbers if numbers == place.host else f"{place.host} → {numbers}")


def _connect(subject: Subject) -> Outcome:
    place = _next_hop(subject)
    try:
        socket.create_connection((place.host, place.port), CONNECT_SECONDS - 0.5).close()
    except TimeoutError:
        return failed(f"no connection to {place} in time: something drops it", _OPEN_THE_WAY)
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        return failed(f"no connection to {place}: {reason}", _OPEN_THE_WAY)
    return passed(f"{place} through the proxy" if _proxy(subject) else str(place))


_OPEN_THE_WAY = "let this machine reach it in the firewall, or correct base_url or proxy"


def _tls(subject: Subject) -> Outcome:
    place = _Place.of(subject.hosts[0])
    if not place.is_tls:
        return skipped("base_url begins with http://")
    if _proxy(subject) is not None:
        return skipped("it is inside the proxy's connection")
    try:
        with _handshake(place, ssl.create_default_context()) as connection:
            der = connection.getpeercert(binary_form=True) or b""
            return passed(f"{connection.version()}, issued by {_issuer(der)}")
    except ssl.SSLCertVerificationError as problem:
        return failed(
            f"{place.host} shows a certificate that this machine does not believe, issued by {_shown_issuer(place)}: "
            f"{problem.verify_message}",
            "if that is your company's, something between opens the encryption: have api.mch.weixin.qq.com let "
            "through; else: `sudo apt install --reinstall ca-certificates`",
        )
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "reason", None) or type(problem).__name__
        return failed(f"TLS with {place} fails: {reason}", _OPEN_THE_WAY)


def _handshake(place: _Place, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain_connection = socket.create_connection((place.host, place.port), CONNECT_SECONDS - 0.5)
    with contextlib.ExitStack() as undo:
        undo.callback(plain_connection.close)
        connection = context.wrap_socket(plain_connection, server_hostname=place.host)
        undo.pop_all()
        return connection


def _shown_issuer(place: _Place) -> str:
    """Who issued a certificate that is not believed. Nothing is sent on this connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _handshake(place, context) as connection:
            return _issuer(connection.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        return "an unknown one"


def _issuer(der: bytes) -> str:
    try:
        return keys.certificate_facts(der, "certificate.der").issuer or "an unnamed one"
    except (Misconfigured, ValueError):
        return "an unknown one"


def _platform(subject: Subject) -> Outcome:
    """One signed GET. What the platform thinks of it is for the checks after this one."""
    subject.sent_at, began = subject.clocks.wall(), subject.clocks.steady()
    try:
        reply = plain(send(subject, LIST_CERTIFICATES, subject.ring.preferred(subject.sent_at), ASK_SECONDS - 0.5))
    except AnswerUntrusted as problem:
        return failed(str(problem), between.WAY_OUT)
    except QuanmaError as problem:
        return failed(str(problem), _OPEN_THE_WAY)
    subject.took = subject.clocks.steady() - began
    if 300 <= reply.status_code < 400:
        return failed(
            f"HTTP {reply.status_code} is no answer of the platform: something stands between", between.WAY_OUT
        )
    target = LIST_CERTIFICATES.target
    foreign = between.from_in_between(reply, headers_of(reply), target, subject.sent_at)
    if foreign is not None:
        return failed(str(foreign).partition("; correct what")[0], between.WAY_OUT)
    subject.listed = reply
    return passed(f"{subject.hosts[0]} answers in {subject.took * 1000:.0f} ms")


_TO_SEND = ("settings.names", "settings.addresses", "settings.mchid", "keys.private_key", "keys.serial_no")
CHECKS = (
    Check("network.name", "the platform's name has an address", _name, ("settings.addresses",), seconds=NAME_SECONDS),
    Check("network.connect", "a connection can be made", _connect, ("network.name",), seconds=CONNECT_SECONDS),
    Check(
        "network.tls", "TLS, and who issued its certificate", _tls, ("network.connect",), seconds=2 * CONNECT_SECONDS
    ),
    Check(
        "network.platform",
        "the platform answers, and nothing in between",
        _platform,
        (*_TO_SEND, "network.connect", "network.tls"),
        seconds=ASK_SECONDS,
    ),
)
