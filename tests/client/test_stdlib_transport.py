"""What only the transport of a forked child has to do by itself: TLS, proxies, names, resting connections."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from quanma.client.stdlib_transport import AsyncStdlibTransport, StdlibTransport
from quanma.client.transport import Request
from quanma.errors import Misconfigured, NotSent

pytestmark = pytest.mark.slow

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Peer:
    """Takes connections and answers each request on them. Asked to connect on, it becomes the other end itself."""

    def __init__(self, tls: ssl.SSLContext | None = None, connects: bytes | None = None) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self._tls, self._connects = tls, connects
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
            opened.enter_context(connection)
            if self._connects is not None:
                self.heads.append(connection.recv(65536))
                connection.sendall(self._connects)
            if self._tls is not None:
                connection = opened.enter_context(self._tls.wrap_socket(connection, server_side=True))
            while head := connection.recv(65536):
                self.heads.append(head)
                connection.sendall(ANSWER)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def start(**options: Any) -> Peer:
        peers.append(Peer(**options))
        return peers[-1]

    yield start
    for one in peers:
        one.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's side for 127.0.0.1, and the certificate to trust."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    trusted, secret = folder / "certificate.pem", folder / "key.pem"
    trusted.write_bytes(certificate.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, secret)
    return context, trusted


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def get(url: str, proxy: str | None = None, timeout_seconds: float = 5.0) -> bytes:
    transport = StdlibTransport(proxy)
    try:
        return transport.send(Request("GET", url, {"X-Test": "1"}, b""), timeout_seconds).body
    finally:
        transport.close()


def test_a_certificate_that_is_trusted_is_taken_and_the_connection_used_again(
    peer: Callable[..., Peer], tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    server = peer(tls=tls[0])
    transport = StdlibTransport()
    for _ in range(3):
        assert transport.send(Request("GET", f"https://{server.place}/v3/x", {}, b""), 5).body == b"{}"
    transport.close()
    assert server.connections == 1
    assert server.heads[0].startswith(f"GET /v3/x HTTP/1.1\r\nHost: {server.place}\r\n".encode())


def test_a_certificate_that_is_not_trusted_is_refused_before_anything_is_sent(
    peer: Callable[..., Peer], tls: tuple[ssl.SSLContext, Path]
) -> None:
    server = peer(tls=tls[0])
    with pytest.raises(NotSent, match="certificate verify failed"):
        get(f"https://{server.place}/v3/x")
    assert server.heads == []


def test_a_proxy_connects_on_for_https_and_sees_no_more_than_the_host(
    peer: Callable[..., Peer], tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    proxy = peer(tls=tls[0], connects=b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert get("https://127.0.0.1:1/v3/x", f"http://user:p%40ss@{proxy.place}") == b"{}"
    connect, request = proxy.heads
    assert connect == (
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n"
    )
    assert b"Proxy-Authorization" not in request


def test_a_proxy_that_refuses_to_connect_on_is_told_without_its_password(peer: Callable[..., Peer]) -> None:
    proxy = peer(connects=b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(NotSent, match="the proxy answered HTTP 407") as refused:
        get("https://127.0.0.1:1/v3/x", f"http://user:secret@{proxy.place}")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("no_proxy", ["", "127.0.0.1", "127.0.0.0/8", "*", "example.com, 127.0.0.1"])
def test_the_environment_s_proxy_is_asked_but_for_what_goes_past_it(
    peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    proxy, server = peer(), peer()
    monkeypatch.setenv("http_proxy", f"http://{proxy.place}")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert get(f"http://{server.place}/v3/x") == b"{}"
    assert (proxy.connections, server.connections) == ((0, 1) if no_proxy else (1, 0))


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "https://127.0.0.1:1"])
def test_a_proxy_of_another_kind_is_refused_with_a_way_out(proxy: str) -> None:
    with pytest.raises(Misconfigured, match="make the first call after the fork, or set proxy"):
        get("http://127.0.0.1:1/v3/x", proxy)


def test_a_header_that_can_not_be_sent_is_not_repeated_in_the_message(peer: Callable[..., Peer]) -> None:
    server = peer()
    transport = StdlibTransport()
    with pytest.raises(Misconfigured, match="check mchid and serial_no") as refused:
        transport.send(Request("GET", f"http://{server.place}/", {"Authorization": "SECRET\nx"}, b""), 5)
    assert "SECRET" not in str(refused.value)
    assert server.heads == []


def test_a_look_up_of_a_name_that_takes_long_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ends.wait(100))
    began = time.monotonic()
    with pytest.raises(NotSent, match="its name was not found within its time"):
        get("http://api.example/v3/x", timeout_seconds=0.3)
    assert time.monotonic() - began < 20
    ends.set()


def test_a_call_that_is_cancelled_lets_go_of_its_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def story() -> None:
            transport = AsyncStdlibTransport()
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            call = asyncio.create_task(transport.send(Request("GET", url, {}, b""), 20))
            connection, _ = await asyncio.to_thread(silent.accept)
            with connection:
                await asyncio.to_thread(connection.recv, 65536)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                connection.settimeout(5)
                assert await asyncio.to_thread(connection.recv, 1) == b""

        asyncio.run(story())
