"""The network at its worst, over real sockets: every attempt ends in time, and says whether anything was sent."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import itertools
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quanma import Wechatpay
from quanma.client import config
from quanma.client.exchange import Patience
from quanma.client.network import AsyncHttpTransport, HttpTransport
from quanma.client.stdlib_transport import AsyncStdlibTransport, StdlibTransport
from quanma.client.transport import ANSWER_BYTES_MAX, AsyncTransport, Reply, Request, Transport
from quanma.errors import AnswerUntrusted, NoAnswer, NotSent, OutcomeUnknown
from tests.support.every import every_row
from tests.support.platform import merchant_config

Behave = Callable[[socket.socket], None]
SendIt = Callable[..., Reply]
DRIP_SECONDS = 0.02
PAUSE_SECONDS = 0.5
"""Between two requests on one connection, so that the end of the first is known: real sockets, real time."""


class Peer:
    """A server that reads each request and then behaves as it is told. What it was sent is kept."""

    def __init__(self, behave: Behave) -> None:
        self.requests: list[bytes] = []
        self._behave = behave
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            request = connection.recv(65536)
            if request:
                self.requests.append(request)
                self._behave(connection)

    def close(self) -> None:
        for one in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def peer() -> Iterator[Callable[[Behave], Peer]]:
    peers: list[Peer] = []

    def start(behave: Behave) -> Peer:
        peers.append(Peer(behave))
        return peers[-1]

    yield start
    for one in peers:
        one.close()


def sends(make: Callable[[str | None], Transport]) -> SendIt:
    def send(url: str, timeout_seconds: float = 5.0, *, proxy: str | None = None, times: int = 1) -> Reply:
        transport = make(proxy)
        try:
            for _ in range(times - 1):
                transport.send(Request("POST", url, {"X-Test": "1"}, b"{}"), timeout_seconds)
                time.sleep(PAUSE_SECONDS)
            return transport.send(Request("POST", url, {"X-Test": "1"}, b"{}"), timeout_seconds)
        finally:
            transport.close()

    return send


def async_sends(make: Callable[[str | None], AsyncTransport]) -> SendIt:
    def send(url: str, timeout_seconds: float = 5.0, *, proxy: str | None = None, times: int = 1) -> Reply:
        async def story() -> Reply:
            transport = make(proxy)
            try:
                for _ in range(times - 1):
                    await transport.send(Request("POST", url, {"X-Test": "1"}, b"{}"), timeout_seconds)
                    await asyncio.sleep(PAUSE_SECONDS)
                return await transport.send(Request("POST", url, {"X-Test": "1"}, b"{}"), timeout_seconds)
            finally:
                await transport.close()

        return asyncio.run(story())

    return send


TRANSPORTS = {
    "sync": sends(HttpTransport),
    "async": async_sends(AsyncHttpTransport),
    "sync, stdlib": sends(StdlibTransport),
    "async, stdlib": async_sends(AsyncStdlibTransport),
}
every_one = every_row("send", TRANSPORTS.values(), TRANSPORTS)
each_apart = pytest.mark.parametrize("send", TRANSPORTS.values(), ids=TRANSPORTS)
"""For tests that wait: others run meanwhile."""


def says(*parts: bytes) -> Behave:
    """Send these parts, and close."""

    def behave(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return behave


def drips(begun: bytes, drop: bytes) -> Behave:
    """Send what begins an answer, then drop by drop for ever."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(begun)
        while True:
            connection.sendall(drop)
            time.sleep(DRIP_SECONDS)

    return behave


def pours(begun: bytes, part: Callable[[int], bytes]) -> Behave:
    """Send what begins an answer, then as much as the connection takes, for ever."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(begun)
        for number in itertools.count():
            connection.sendall(part(number))

    return behave


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def waits(connection: socket.socket) -> None:
    connection.recv(1)


OK = b"HTTP/1.1 200 OK\r\n"


@every_one
def test_an_answer_comes_back_whole(peer: Callable[[Behave], Peer], send: SendIt) -> None:
    reply = send(peer(says(OK + b"Request-ID: 08F5-0\r\nContent-Length: 2\r\n\r\n{}")).url)
    assert (reply.status_code, reply.body) == (200, b"{}")
    assert ("request-id", "08F5-0") in reply.headers


@every_one
def test_a_header_that_stands_twice_comes_back_twice(peer: Callable[[Behave], Peer], send: SendIt) -> None:
    reply = send(peer(says(OK + b"Wechatpay-Nonce: a\r\nWechatpay-Nonce: b\r\nContent-Length: 0\r\n\r\n")).url)
    assert [value for name, value in reply.headers if name == "wechatpay-nonce"] == ["a", "b"]


@every_one
@every_row(
    "behave",
    [
        says(),
        resets,
        says(OK),
        says(OK + b"Content-Length: 100\r\n\r\n{}"),
        says(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"),
        says(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        says(b"SSH-2.0-OpenSSH_9.2\r\n"),
        pours(OK + b"\r\n", lambda number: b"x" * 65536),
        pours(OK + b"Content-Length: 9999999999\r\n\r\n", lambda number: b"x" * 65536),
        pours(OK, lambda number: b"X-%d: %s\r\n" % (number, b"x" * 100)),
        pours(OK + b"X: ", lambda number: b"x" * 65536),
    ],
    ids=[
        *("closed", "reset", "cut in the head", "cut in the body", "cut in a chunk", "bad chunk", "no http"),
        *("endless body", "huge body", "endless headers", "endless header"),
    ],
)
def test_a_connection_that_breaks_after_the_request_is_no_answer(
    peer: Callable[[Behave], Peer], send: SendIt, behave: Behave
) -> None:
    server = peer(behave)
    with pytest.raises(NoAnswer) as broken:
        send(f"{server.url}/v3/codes/AB-SECRET-89", 60.0)
    assert "within" not in str(broken.value)  # It did not wait for its time to be over.
    assert len(server.requests) == 1


@pytest.mark.slow
@each_apart
@pytest.mark.parametrize(
    "behave",
    [waits, drips(OK + b"X: ", b"x"), drips(OK, b"X: x\r\n"), drips(OK + b"Content-Length: 100000\r\n\r\n", b"x")],
    ids=["silent", "drips a header", "drips headers", "drips a body"],
)
def test_a_peer_that_holds_the_line_is_left_in_time(
    peer: Callable[[Behave], Peer], send: SendIt, behave: Behave
) -> None:
    began = time.monotonic()
    with pytest.raises(NoAnswer, match=r"no complete answer within 0\.5 s"):
        send(peer(behave).url, 0.5)
    assert 0.4 < time.monotonic() - began < 10  # It would go on for ever.


@every_one
def test_an_address_is_in_no_message(peer: Callable[[Behave], Peer], send: SendIt) -> None:
    with pytest.raises(NoAnswer) as broken:
        send(f"{peer(resets).url}/v3/codes/AB-SECRET-89")
    assert "SECRET" not in str(broken.value)


@every_one
def test_a_closed_port_is_not_sent(send: SendIt) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    with pytest.raises(NotSent, match="no connection"):
        send(f"http://127.0.0.1:{port}")


@every_one
def test_a_peer_that_speaks_no_tls_is_not_sent(peer: Callable[[Behave], Peer], send: SendIt) -> None:
    with pytest.raises(NotSent):
        send(peer(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")).url.replace("http:", "https:"))


@pytest.mark.slow
@each_apart
@pytest.mark.parametrize("timeout_seconds", [0.5, 60.0])
def test_a_connection_that_never_comes_about_ends_in_time_and_is_not_sent(send: SendIt, timeout_seconds: float) -> None:
    with contextlib.ExitStack() as opened:
        full = opened.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # Its queue is full now: Linux answers no further one.
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        began = time.monotonic()
        with pytest.raises((NotSent, NoAnswer)) as ended:
            send(f"http://127.0.0.1:{full.getsockname()[1]}", timeout_seconds)
        assert time.monotonic() - began < (4 if timeout_seconds < 5 else 30)
    # Within the call's time the connecting ends by its own limit of 5 s; before that, pyreqwest can't tell for sure.
    unsure = timeout_seconds < 5 and send in (TRANSPORTS["sync"], TRANSPORTS["async"])
    assert type(ended.value) is (NoAnswer if unsure else NotSent)


@every_one
def test_a_compressed_answer_is_not_unpacked(peer: Callable[[Behave], Peer], send: SendIt) -> None:
    bomb = _bomb()
    assert len(bomb) < ANSWER_BYTES_MAX
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    server = peer(says(head + bomb))
    assert send(server.url).body == bomb
    assert b"accept-encoding" not in server.requests[0].lower()


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(bytes(50 * 1024 * 1024), 1)


@every_one
def test_a_redirect_is_not_followed(peer: Callable[[Behave], Peer], send: SendIt) -> None:
    elsewhere = peer(says(OK + b"Content-Length: 0\r\n\r\n"))
    location = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
    assert send(peer(says(location.encode())).url).status_code == 307
    assert elsewhere.requests == []


@pytest.mark.slow
@each_apart
def test_a_connection_that_the_peer_closed_meanwhile_is_made_anew(peer: Callable[[Behave], Peer], send: SendIt) -> None:
    server = peer(says(OK + b"Content-Length: 2\r\n\r\n{}"))
    assert send(server.url, times=3).body == b"{}"
    assert len(server.requests) == 3


@every_one
def test_a_proxy_is_asked_for_the_whole_address(peer: Callable[[Behave], Peer], send: SendIt) -> None:
    proxy = peer(says(OK + b"Content-Length: 2\r\n\r\n{}"))
    assert send("http://api.example/v3/x", proxy=proxy.url).body == b"{}"
    assert proxy.requests[0].startswith(b"POST http://api.example/v3/x HTTP/1.1\r\n")


@every_one
def test_the_target_goes_out_as_it_was_signed(peer: Callable[[Behave], Peer], send: SendIt) -> None:
    server = peer(says(OK + b"Content-Length: 0\r\n\r\n"))
    target = "/v3/codes/A%2FB%20C%5C%7C%3D-_~!$&()*+,;=:@?x=%2F%20%26&y=%E5%88%B8"
    send(server.url + target)
    assert re.match(rb"POST (\S+) HTTP", server.requests[0])[1].decode() == target  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (waits, NoAnswer),
        (drips(OK + b"Content-Length: 100000\r\n\r\n", b"x"), NoAnswer),
        (resets, NoAnswer),
        (says(OK + b"Content-Length: 2\r\n\r\n{}"), AnswerUntrusted),
    ],
    ids=["silent", "drips", "resets", "unsigned"],
)
def test_a_whole_call_ends_by_its_deadline_repeats_included(
    peer: Callable[[Behave], Peer], made_world: Path, behave: Behave, error: type[OutcomeUnknown]
) -> None:
    server = peer(behave)
    patience = Patience(deadline_seconds=2.5, attempt_seconds=1.0, attempts_max=20)
    merchant = config.load(merchant_config(made_world), base_url=server.url)
    began = time.monotonic()
    with Wechatpay(merchant, patience=patience) as wxpay, pytest.raises(error):
        wxpay.v3.marketing.busifavor.stocks["98065001"].get()
    assert time.monotonic() - began < 15  # Twenty attempts last for minutes.
    assert len(server.requests) >= 2


@pytest.mark.slow
def test_a_process_that_ends_right_after_a_refused_connection_ends_cleanly() -> None:
    """pyreqwest's thread is on its way out of the interpreter then; one that is caught inside aborts the process."""
    program = (
        "import asyncio\n"
        "from quanma.client.network import AsyncHttpTransport\n"
        "from quanma.client.transport import Request\n"
        "async def main():\n"
        "    transport = AsyncHttpTransport()\n"
        "    requests = (transport.send(Request('GET', 'http://127.0.0.1:1/v3/x', {}, b''), 5) for _ in range(8))\n"
        "    await asyncio.gather(*requests, return_exceptions=True)\n"
        "asyncio.run(main())\n"
    )
    assert [subprocess.run([sys.executable, "-c", program]).returncode for _ in range(15)] == [0] * 15
