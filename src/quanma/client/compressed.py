"""Answers that something in between compressed, though nobody asked for it: made plain again, and never more than that.

The signature is over the plain body, so it says whether the unpacking was right. Source: our choice; the platform
compresses nothing that did not ask for it, gateways and caches do.
"""

from __future__ import annotations

import zlib

from ..errors import AnswerUntrusted
from .transport import ANSWER_BYTES_MAX, Reply

LAYERS_MAX = 2
MEMBERS_MAX = 16
"""How often an answer may be compressed over, and how many pieces of gzip may follow one another. Our choice."""

GZIP_BEGINS = b"\x1f\x8b"
_GZIP = zlib.MAX_WBITS | 16
_ZLIB, _BARE = zlib.MAX_WBITS, -zlib.MAX_WBITS


def plain(reply: Reply) -> Reply:
    """Return the reply with a plain body. A body that is plain already, whatever its header says, stays.

    Raises:
        AnswerUntrusted: it is compressed in another way than gzip or deflate, is damaged, or too long when unpacked.
    """
    named = ",".join(value for name, value in reply.headers if name.lower() == "content-encoding")
    codings = [coding for one in named.lower().split(",") if (coding := one.strip()) not in ("", "identity")]
    if not codings and not reply.body.startswith(GZIP_BEGINS):
        return reply
    if len(codings) > LAYERS_MAX:
        raise AnswerUntrusted(f"the answer says that it is compressed {len(codings)} times over, and was dropped")
    body = reply.body
    for coding in reversed(codings or ["gzip"]):
        body = _unpacked(coding, body)
    return reply._replace(body=body)


def _unpacked(coding: str, body: bytes) -> bytes:
    if not body or body.lstrip()[:1] in (b"{", b"[", b"<"):
        return body  # Unpacked on the way, and the header left as it was.
    if coding in ("gzip", "x-gzip"):
        return _inflated(coding, body, _GZIP)
    if coding == "deflate":
        # Meant is zlib's form (RFC 9110); some send the bare one.
        return _inflated(coding, body, _ZLIB if body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0 else _BARE)
    raise AnswerUntrusted(
        f"the answer is compressed with {coding[:40]!r}, which was not asked for: "
        "let what stands between pass answers on as they are"
    )


def _inflated(coding: str, body: bytes, form: int) -> bytes:
    """The output is bounded, so a small body can't fill the memory."""
    plain_body = bytearray()
    for _ in range(MEMBERS_MAX):
        if not body:
            return bytes(plain_body)
        unpacking = zlib.decompressobj(form)
        try:
            plain_body += unpacking.decompress(body, ANSWER_BYTES_MAX + 1 - len(plain_body))
        except zlib.error as problem:
            raise AnswerUntrusted(f"the answer says that it is {coding}, and can't be unpacked: {problem}") from None
        if len(plain_body) > ANSWER_BYTES_MAX:
            raise AnswerUntrusted(f"the answer is longer than {ANSWER_BYTES_MAX} bytes when unpacked, and was dropped")
        if not unpacking.eof:
            raise AnswerUntrusted(f"the answer says that it is {coding}, and breaks off")
        body = unpacking.unused_data
    if body:
        raise AnswerUntrusted(f"the answer is {coding} in more than {MEMBERS_MAX} pieces, and was dropped")
    return bytes(plain_body)
