"""What strangers send without ever ending it, each up to what a head or a small body may have."""

from __future__ import annotations

_START = b"GET /x HTTP/1.1\r\nHost: x\r\n"
_FIELDS = (b"a: " + b"b" * 310 + b"\r\n") * 97

UNFINISHED = {
    "many short fields": _START + b"a:\r\n" * 8100,
    "a hundred fields": _START + _FIELDS,
    "one long field": _START + b"a: " + b"b" * 32_000,
    "a long name": _START + b"a" * 32_000,
    "a long target": b"GET /" + b"x" * 32_000,
    "a whole head and no body": b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n" + _FIELDS + b"\r\n",
    "many small chunks": b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5400,
    "a chunk's long extension": b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 32_000,
}
