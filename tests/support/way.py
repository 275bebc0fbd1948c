"""What may stand between a client and the platform: a reverse proxy that does one thing to what passes."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit


class Message(NamedTuple):
    """A request on its way: where it goes, and what it carries."""

    target: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def unchanged(message: Message) -> Message:
    return message


@contextlib.contextmanager
def between(
    url: str,
    change: Callable[[Message], Message] = unchanged,
    change_answer: Callable[[Answer], Answer] = lambda answer: answer,
) -> Generator[str]:
    """Pass requests on to this address, changed. Yields its own address."""

    def answered(message: Message, verb: str) -> Answer:
        message = change(message)
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        headers = {name: value for name, value in message.headers.items() if name.lower() != "content-length"}
        connection.request(verb, message.target, message.body or None, headers)
        reply = connection.getresponse()
        kept = {
            name: value for name, value in reply.getheaders() if name.lower() not in ("content-length", "connection")
        }
        body = reply.read()
        connection.close()
        return change_answer(Answer(reply.status, kept, body))

    with answering(answered) as address:
        yield address


@contextlib.contextmanager
def answering(
    answer: Callable[[Message, str], Answer], tls: ssl.SSLContext | None = None, *, delay_seconds: float = 0
) -> Generator[str]:
    """A server whose every answer comes from a function of the request and its verb. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            time.sleep(delay_seconds)
            made = answer(Message(self.path, dict(self.headers.items()), body), self.command)
            with contextlib.suppress(OSError):
                self.send_response_only(made.status)
                for name, value in made.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(made.body)))
                self.end_headers()
                self.wfile.write(made.body)

        do_GET = do_POST = do_any

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
