"""An ASGI application behind this platform's connections: `quanma listen` is one."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .messages import Outcome, Reply, Request
from .redact import trace_of

Message = MutableMapping[str, Any]
AsgiApplication = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
log = logging.getLogger(__name__)

_VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Behind:
    """One that answers each request in one piece, without a lifespan."""

    def __init__(self, app: AsgiApplication, body_bytes_max: int) -> None:
        self._app = app
        self._body_bytes_max = body_bytes_max

    @property
    def verbs(self) -> frozenset[str]:
        return _VERBS

    def share(self, request: Request) -> str:
        return ""

    def body_bytes_max(self, verb: str, path: bytes) -> int:
        return self._body_bytes_max

    def refusal(self, request: Request) -> Reply:
        return Reply(429, "Retry-After: 1\r\n", b"")

    async def answer(self, request: Request) -> Outcome:
        if request.body is None:
            return Outcome(408, b"")
        if len(request.body) > self._body_bytes_max:
            return Outcome(413, b"")
        incoming: list[Message] = [{"type": "http.request", "body": request.body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            return incoming.pop() if incoming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        try:
            await self._app(_scope(request), receive, send)
            start, *bodies = sent
            lines = [f"{name.decode('latin-1')}: {value.decode('latin-1')}\r\n" for name, value in start["headers"]]
            return Outcome(start["status"], b"".join(message["body"] for message in bodies), "".join(lines))
        except Exception as error:
            log.error("a request failed: %s", trace_of(error))
            return Outcome(500, b"")

    def finish(self, request: Request, outcome: Outcome) -> Reply:
        return Reply(outcome.status, outcome.headers, outcome.body)

    def note(self, *, under_way: int, connections: int) -> None:
        pass

    async def start(self) -> None:
        pass

    def drain(self) -> None:
        pass

    async def stop(self) -> None:
        pass


def _scope(request: Request) -> Message:
    path = request.path.decode("latin-1")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.verb,
        "scheme": "http",
        "path": path,
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": request.headers,
    }
