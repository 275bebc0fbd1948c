"""A merchant's callback address on loopback: each post on a thread of its own, answered as the test says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support import leftopen

Answer = Callable[[Message, bytes], int | None]
"""Headers and body of a post → the status to answer; None hangs up without a word."""


class CallbackServer:
    """Serves from when it is made until it is closed, at `url`."""

    def __init__(self, answer: Answer) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status = answer(self.headers, self.rfile.read(int(self.headers["Content-Length"])))
                if status is not None:
                    self.send_response(status)
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            # The standard five are not enough for a burst: who is not taken asks again a second later.
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        leftopen.note(self)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
