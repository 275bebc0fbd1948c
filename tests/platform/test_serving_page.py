"""`docs/serving.md`: each row of its table holds for the running platform."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.platform import Served, served

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
IN_TIME_SECONDS = 8.0
"""Then a head or a body is given up."""
LATE_SECONDS = 30.0
"""More is allowed on a machine that is busy."""

_PATIENCE_SECONDS = IN_TIME_SECONDS + LATE_SECONDS


@pytest.fixture(scope="module")
def running(shared_world: Path) -> Iterator[Served]:
    with served(shared_world, "--database", "sqlite:///served.db") as platform:
        yield platform


def sent(target: str = "/healthz", *, fields: str = "", body: str = "", verb: str = "GET") -> bytes:
    return f"{verb} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}".encode()


def posted(fields: str, body: str) -> bytes:
    return sent("/v3/certificates", fields=fields, body=body, verb="POST")


PROBES: dict[str, bytes] = {
    "a fragment in the target": sent("/healthz#x"),
    "a scheme and host in the target": sent("http://x/healthz"),
    "a field after the last chunk": posted("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nX: y\r\n\r\n"),
    "a length and chunks at once": posted(
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"
    ),
    "a head that does not end": b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
    "a body that does not end": posted("Content-Length: 20\r\n", "{"),
    "more than a hundred fields": sent(fields="X: y\r\n" * 120),
}


def told(port: int, request: bytes) -> str:
    """What becomes of a request, in the words of the table."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        answer = b""
        try:
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65536):
                    answer += piece
                    if answer.startswith(b"HTTP/1.1 200 "):
                        return "taken"
        except TimeoutError:
            return "waits for ever"
    if time.monotonic() - began > IN_TIME_SECONDS - 1:
        return "closed in time"
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    return "refused"


def table() -> dict[str, str]:
    """Each probe of the page, and what it says of ours."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return {row[0].strip(): row[1].strip() for row in rows[2:]}


def test_every_row_of_the_page_has_its_probe() -> None:
    assert list(table()) == list(PROBES)


@pytest.mark.slow
def test_every_row_of_the_page_holds(running: Served) -> None:
    with ThreadPoolExecutor(len(PROBES)) as probing:
        ask: Callable[[bytes], str] = lambda request: told(running.port, request)  # noqa: E731
        seen = dict(zip(PROBES, probing.map(ask, PROBES.values()), strict=True))
    assert seen == table()
