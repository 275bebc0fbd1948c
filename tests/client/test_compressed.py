"""Answers that nobody asked to compress: made plain within the size limit, or said to be what they are."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from quanma.client.compressed import MEMBERS_MAX, plain
from quanma.client.transport import ANSWER_BYTES_MAX, Reply
from quanma.errors import AnswerUntrusted
from tests.support.every import every_row

BODY = '{"code": "RESOURCE_NOT_EXISTS", "message": "查询的资源不存在"}'.encode()
BARE = zlib.compressobj(wbits=-15)
DEFLATED = BARE.compress(BODY) + BARE.flush()


def gzipped(content: bytes, level: int = 9) -> bytes:
    """Without the time: it would be in the names of cases, and each process would have others."""
    return gzip.compress(content, level, mtime=0)


def reply(body: bytes, *codings: str) -> Reply:
    return Reply(200, [("Content-Encoding", coding) for coding in codings], body)


@every_row(
    ("body", "codings"),
    [
        (gzipped(BODY), ["gzip"]),
        (gzipped(BODY), ["GZIP"]),
        (gzipped(BODY), ["x-gzip"]),
        (gzipped(BODY), [" gzip , identity"]),
        (gzipped(BODY), []),
        (gzipped(BODY[:9]) + gzipped(BODY[9:]), ["gzip"]),
        (gzipped(gzipped(BODY)), ["gzip", "gzip"]),
        (gzipped(zlib.compress(BODY)), ["deflate, gzip"]),
        (zlib.compress(BODY), ["deflate"]),
        (DEFLATED, ["deflate"]),
        (BODY, []),
        (BODY, ["identity"]),
        (BODY, ["gzip"]),
        (b"\n" + BODY, ["br"]),
    ],
)
def test_a_compressed_answer_is_made_plain_and_a_plain_one_stays(body: bytes, codings: list[str]) -> None:
    assert plain(reply(body, *codings)).body.strip() == BODY


def test_no_body_stays_no_body() -> None:
    assert plain(reply(b"", "gzip")).body == b""


@every_row(
    ("body", "codings", "reason"),
    [
        (b"\x1b\x02\x00", ["br"], "compressed with 'br', which was not asked for"),
        (b"\x28\xb5\x2f\xfd", ["zstd"], "compressed with 'zstd', which was not asked for"),
        (gzipped(BODY)[:-9], ["gzip"], "says that it is gzip, and breaks off"),
        (gzipped(BODY) + b"rest", ["gzip"], "says that it is gzip, and can't be unpacked"),
        (gzipped(BODY)[:-8] + bytes(8), ["gzip"], "says that it is gzip, and can't be unpacked"),
        (b"neither", ["gzip"], "says that it is gzip, and can't be unpacked"),
        (b"neither", ["deflate"], "says that it is deflate, and can't be unpacked"),
        (b"\x1f\x8b", [], "says that it is gzip, and breaks off"),
        (gzipped(BODY), ["gzip"] * 3, "compressed 3 times over"),
        (gzipped(b" ") * (MEMBERS_MAX + 1), ["gzip"], "in more than 16 pieces"),
    ],
)
def test_what_can_not_be_unpacked_is_said_to_be_so(body: bytes, codings: list[str], reason: str) -> None:
    with pytest.raises(AnswerUntrusted, match=reason):
        plain(reply(body, *codings))


@every_row("layers", [1, 2])
def test_a_small_body_does_not_fill_the_memory(layers: int) -> None:
    bomb = bytes(50 * 1024 * 1024)
    for _ in range(layers):
        bomb = gzipped(bomb, 1)
    tracemalloc.start()
    try:
        with pytest.raises(AnswerUntrusted, match="longer than 4194304 bytes when unpacked"):
            plain(reply(bomb, *["gzip"] * layers))
        assert tracemalloc.get_traced_memory()[1] < 5 * ANSWER_BYTES_MAX
    finally:
        tracemalloc.stop()


def test_many_pieces_without_content_end_soon() -> None:
    with pytest.raises(AnswerUntrusted, match="in more than 16 pieces"):
        plain(reply(gzipped(b"") * 100_000, "gzip"))
