"""The network by Python's own http.client: slower than pyreqwest, but it works in a child of a process that used that.

Sockets time each read only, so every read, write, handshake and look-up of a name is given what is left of the call.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import io
import ipaddress
import selectors
import socket
import ssl
import time
import urllib.request
from functools import partial
from typing import Any, cast
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import Misconfigured, NoAnswer, NotSent
from .process import interruptibly, submit
from .transport import (
    ANSWER_BYTES_MAX,
    CONNECT_SECONDS,
    HEADER_CANT_BE_SENT,
    IDLE_SECONDS,
    Reply,
    Request,
    too_late,
    too_long,
)

READ_BYTES = 65536
IDLE_MAX = 16
"""Connections that rest. More may be in use."""
PORTS = {"http": 80, "https": 443}


class StdlibTransport:
    """For the sync client. Threads may share it."""

    def __init__(self, proxy: str | None = None) -> None:
        self._proxy = proxy
        self._tls: ssl.SSLContext | None = None
        self._idle: list[_Line] = []
        self._closed = False

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        return self.converse(_Call(request, timeout_seconds))

    def converse(self, call: _Call) -> Reply:
        if self._tls is None and call.url.scheme == "https":
            # TLS 1.2 or newer. Made once, when it is needed: that reads every certificate of the system.
            self._tls = ssl.create_default_context()
        line = self._resting(call) or _Line(call, self._proxy, self._tls)
        try:
            reply, kept = line.ask(call)
        except BaseException:
            line.close()
            raise
        if kept and not self._closed and len(self._idle) < IDLE_MAX:
            self._idle.append(line)
        else:
            line.close()
        return reply

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _resting(self, call: _Call) -> _Line | None:
        """Return a connection to the same place that rests and was not closed by the peer."""
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                return None
            if line.place == call.place and line.is_good():
                call.line = line
                return line
            line.close()


class AsyncStdlibTransport:
    """For the async client: each request in a thread of its own, which ends with the request."""

    def __init__(self, proxy: str | None = None) -> None:
        self._sync = StdlibTransport(proxy)

    async def send(self, request: Request, timeout_seconds: float) -> Reply:
        call = _Call(request, timeout_seconds)
        try:
            return await asyncio.wrap_future(submit(partial(self._sync.converse, call)))
        finally:
            call.end()

    async def close(self) -> None:
        self._sync.close()


class _Call:
    """A request, the time that it may take in all, and the connection that it is sent on."""

    def __init__(self, request: Request, timeout_seconds: float) -> None:
        self.request = request
        self.url = urlsplit(request.url)
        self.place = (self.url.scheme, self.url.netloc)
        self.timeout_seconds = timeout_seconds
        self.line: _Line | None = None
        self._ends_at = time.monotonic() + timeout_seconds
        self._over = False

    def left(self) -> float:
        """Return what is left in seconds. Raises TimeoutError: nothing."""
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0 or self._over:
            raise TimeoutError
        return seconds

    def end(self) -> None:
        """Nobody waits any more: what is under way stops."""
        self._over = True
        if self.line is not None:
            self.line.cut(self)


class _Line:
    """A connection to the platform, or through a proxy. Looks like a socket to http.client."""

    def __init__(self, call: _Call, proxy: str | None, tls: ssl.SSLContext | None) -> None:
        self.place = call.place
        self.rests = False
        self._rests_since = 0.0
        self._ended = False
        self._call = call
        self._sock: socket.socket | None = None
        self._headers: dict[str, str] = {}
        self._whole_address = False
        call.line = self
        through = _proxy(call.url, proxy)
        try:
            self._sock = _connected(call, through or call.url)
            if through is not None and call.url.scheme == "http":
                self._whole_address, self._headers = True, _credentials(through)
            elif through is not None:
                self._tunnel(through)
            if call.url.scheme == "https":
                assert tls is not None
                self._sock.settimeout(call.left())
                self._sock = tls.wrap_socket(self._sock, server_hostname=call.url.hostname)
        except (OSError, http.client.HTTPException, ValueError) as cause:
            self.close()
            raise NotSent(
                f"no connection to {call.url.netloc.rpartition('@')[2]}: "
                f"{str(cause) or 'not within its time'}: check base_url, and the proxy"
            ) from cause

    def ask(self, call: _Call) -> tuple[Reply, bool]:
        """Return the answer, and whether the connection can be used again."""
        self._call, self.rests, self._ended = call, False, False
        request = call.request
        text = self._text(call)
        try:
            self.sendall(text)
            answer = http.client.HTTPResponse(cast("Any", self), method=request.verb)
            answer.begin()
            if self._ended:  # http.client calls a head that was cut off whole.
                raise http.client.IncompleteRead(b"")
            body = bytearray()
            while chunk := answer.read(READ_BYTES):
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    raise too_long()
            if answer.length:  # And a body that was.
                raise http.client.IncompleteRead(b"", answer.length)
        except TimeoutError as cause:
            raise too_late(call.timeout_seconds) from cause
        except (OSError, http.client.HTTPException, ValueError) as cause:
            what = str(cause) or type(cause).__name__
            raise NoAnswer(f"the connection broke before a complete answer: {what}") from cause
        self.rests, self._rests_since = True, time.monotonic()
        headers_in_lower_case = [(name.lower(), value) for name, value in answer.getheaders()]
        return Reply(answer.status, headers_in_lower_case, bytes(body)), not answer.will_close

    def _text(self, call: _Call) -> bytes:
        """The request as it goes out, in one piece. Raises Misconfigured: a header can't be sent."""
        request = call.request
        target = request.url.partition("://")[2][len(call.url.netloc) :] or "/"
        headers = {"Host": call.url.netloc.rpartition("@")[2], **self._headers, **request.headers}
        if request.body or request.verb not in ("GET", "HEAD"):
            headers["Content-Length"] = str(len(request.body))
        written = io.BytesIO()
        asking = http.client.HTTPConnection("unused")
        asking.sock = cast("Any", _Written(written))
        asking.putrequest(
            request.verb, request.url if self._whole_address else target, skip_host=True, skip_accept_encoding=True
        )
        try:
            for name, value in headers.items():
                asking.putheader(name, value)
        except ValueError:
            raise Misconfigured(HEADER_CANT_BE_SENT) from None
        asking.endheaders(request.body or None)
        return written.getvalue()

    def is_good(self) -> bool:
        if self._sock is None or time.monotonic() - self._rests_since > IDLE_SECONDS:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            return not selector.select(0)  # What can be read now is its end, or nobody asked for it.

    def _tunnel(self, through: SplitResult) -> None:
        place = f"{_host(self._call.url)}:{self._call.url.port or PORTS['https']}"
        headers = {"Host": place, **_credentials(through)}
        lines = [f"CONNECT {place} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.sendall("\r\n".join(lines).encode("ascii"))
        answer = http.client.HTTPResponse(cast("Any", self), method="CONNECT")
        answer.begin()
        if answer.status != 200:
            raise OSError(f"the proxy answered HTTP {answer.status}")

    def sendall(self, data: Any) -> None:
        rest = memoryview(data)
        while rest:
            sock = self._timed()
            rest = rest[sock.send(rest[:READ_BYTES]) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self))

    def receive(self, buffer: Any) -> int:
        received = self._timed().recv_into(buffer)
        self._ended = self._ended or received == 0
        return received

    def _timed(self) -> socket.socket:
        if self._sock is None:
            raise TimeoutError
        self._sock.settimeout(self._call.left())
        return self._sock

    def cut(self, call: _Call) -> None:
        """From another thread: if this call is still under way here, it stops at once."""
        if self._call is call and not self.rests and self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()


class _Written:
    """Looks like a socket to http.client, and keeps what is written."""

    def __init__(self, to: io.BytesIO) -> None:
        self.sendall = to.write

    def close(self) -> None:
        pass


class _Reading(io.RawIOBase):
    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.receive(buffer)


def _connected(call: _Call, to: SplitResult) -> socket.socket:
    """Raises OSError: to none of the addresses that the name stands for."""
    ends_at = time.monotonic() + min(call.left(), CONNECT_SECONDS)
    port = to.port or PORTS[to.scheme]
    try:
        # A look-up knows no time limit, so it is waited for only as long as there is time.
        found = interruptibly(
            partial(socket.getaddrinfo, to.hostname, port, type=socket.SOCK_STREAM), ends_at - time.monotonic()
        )
    except TimeoutError:
        raise OSError("its name was not found within its time") from None
    problem = OSError("its name stands for no address")
    for tried, (family, kind, number, _, address) in enumerate(found):
        left = min(call.left(), ends_at - time.monotonic())
        if left <= 0:
            break
        sock = socket.socket(family, kind, number)
        try:
            sock.settimeout(left / (len(found) - tried))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as cause:
            sock.close()
            problem = cause
    raise problem


def _proxy(url: SplitResult, set_proxy: str | None) -> SplitResult | None:
    """The proxy to ask: what is set, else the environment's, as other programs read it.

    Raises Misconfigured: it is none for HTTP.
    """
    text = set_proxy
    if text is None:
        environment = urllib.request.getproxies_environment()
        text = environment.get(url.scheme) or environment.get("all")
        if text is None or _goes_past(url, environment.get("no", "")):
            return None
    proxy = urlsplit(text if "://" in text else f"http://{text}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise Misconfigured(
            f"a process that was forked from one that had used its client takes only http:// proxies, not "
            f"{proxy.scheme}://: make the first call after the fork, or set proxy"
        )
    return proxy


def _goes_past(url: SplitResult, no_proxy: str) -> bool:
    host = url.hostname or ""
    if urllib.request.proxy_bypass_environment(host, {"no": no_proxy}):  # type: ignore[attr-defined]
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in no_proxy.split(","):
        try:
            if address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _host(url: SplitResult) -> str:
    return f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
