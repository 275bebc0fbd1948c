"""Why a signature did not hold: both texts that are signed, the first byte that differs, and the likely cause. Pure.

What a caller signed is not sent, only its signature. So the usual mistakes are made here, one by one, until the
caller's signature fits a text: that text is then what was signed, with certainty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from ..errors import SignatureInvalid
from ..serving.messages import Request
from ..wire import keys, signature

TEXT_MAX = 2000


class Explanation(msgspec.Struct, kw_only=True, omit_defaults=True):
    cause: str
    """What is wrong, in a few words."""
    fix: str = ""
    expected: str = ""
    """The text that must be signed for what arrived."""
    signed: str = ""
    """The text that was signed. Empty: it is not known."""
    first_difference: int | None = None
    """The first byte at which the two differ."""
    expected_from_there: str = ""
    signed_from_there: str = ""


class Known(NamedTuple):
    """A merchant's keys, by serial number."""

    mchid: str
    verifying: Mapping[str, keys.PublicKey]


def explain(request: Request, merchants: Mapping[str, Known], now: float) -> Explanation:
    """Explain why a request was not believed, by what arrived."""
    said = request.all(b"authorization")
    if not said:
        return Explanation(cause="the request has no Authorization header", fix="sign it; a proxy may have removed it")
    try:
        fields = signature.parse_authorization(said[0])
        signature.check_form(fields.timestamp, fields.nonce_str)
    except SignatureInvalid as problem:
        return Explanation(cause=str(problem), fix=f'{signature.SCHEME} mchid="…",nonce_str="…",timestamp="…",…')
    target, body = request.target.decode("latin-1"), request.body or b""
    expected = signature.request_message(request.verb, target, fields.timestamp, fields.nonce_str, body)
    shown = expected[:TEXT_MAX].decode("utf-8", "replace")
    merchant = merchants.get(fields.mchid)
    if merchant is None:
        return Explanation(
            cause=f"merchant {fields.mchid[:32]} is not known here",
            fix=f"use {', '.join(merchants)}: `quanma sandbox env` prints its settings",
            expected=shown,
        )
    key = merchant.verifying.get(signature.same_key(fields.serial_no))
    if key is None:
        return Explanation(
            cause=f"merchant {merchant.mchid} has no certificate with serial {fields.serial_no[:64]}",
            fix=f"use {', '.join(merchant.verifying)}",
            expected=shown,
        )
    if _fits(key, fields.signature, expected):
        ahead = int(fields.timestamp) - int(now)
        if abs(ahead) > signature.WINDOW_SECONDS:
            return Explanation(
                cause=f"the caller's clock is {abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} the sandbox's",
                fix="set both clocks; a sandbox whose clock was frozen or moved needs a caller that follows it",
                expected=shown,
            )
        return Explanation(cause="the signature holds; the nonce may have come before", expected=shown)
    for cause, fix, message in _mistakes(request.verb, target, fields, body):
        if message != expected and _fits(key, fields.signature, message):
            return _differing(cause, fix, expected, message)
    for other in merchants.values():
        for serial, foreign in other.verifying.items():
            if foreign is not key and _fits(foreign, fields.signature, expected):
                return Explanation(
                    cause=f"it was signed with the key of merchant {other.mchid}, serial {serial}",
                    fix=f"sign with the private key of serial {fields.serial_no}",
                    expected=shown,
                )
    return Explanation(
        cause="another key signed it, or another text",
        fix='compare your text with `expected`; POST it here as {"message": …} to see the first byte that differs',
        expected=shown,
    )


def compare(request: Request, message: str) -> Explanation:
    """Compare what a caller says that it signed with what had to be signed."""
    said = request.all(b"authorization")
    fields = signature.parse_authorization(said[0]) if said else signature.Authorization("", "", "", "", "")
    target, body = request.target.decode("latin-1"), request.body or b""
    expected = signature.request_message(request.verb, target, fields.timestamp, fields.nonce_str, body)
    return _differing("the two texts differ", "", expected, message.encode())


def _differing(cause: str, fix: str, expected: bytes, signed: bytes) -> Explanation:
    at = next((n for n, (a, b) in enumerate(zip(expected, signed, strict=False)) if a != b), None)
    if at is None:
        if len(expected) == len(signed):
            return Explanation(cause="the two texts are the same", expected=expected.decode("utf-8", "replace"))
        at = min(len(expected), len(signed))
    return Explanation(
        cause=cause,
        fix=fix,
        expected=expected[:TEXT_MAX].decode("utf-8", "replace"),
        signed=signed[:TEXT_MAX].decode("utf-8", "replace"),
        first_difference=at,
        expected_from_there=expected[at : at + 40].decode("utf-8", "replace"),
        signed_from_there=signed[at : at + 40].decode("utf-8", "replace"),
    )


def _mistakes(verb: str, target: str, fields: signature.Authorization, body: bytes) -> Iterator[tuple[str, str, bytes]]:
    """The usual mistakes: what each is, what mends it, and the text that it signs."""

    def text(verb: str = verb, target: str = target, body: bytes = body) -> bytes:
        return signature.request_message(verb, target, fields.timestamp, fields.nonce_str, body)

    path = target.partition("?")[0]
    right = text()
    if path != target:
        yield "the path lacks its query", "sign path and query as they go on the wire", text(target=path)
    if (plain := unquote(target)) != target:
        yield "the path was signed unescaped", "sign the path as it goes on the wire", text(target=plain)
    yield "the body was left out", "sign the body as it is sent", text(body=b"")
    for again in _written_again(body):
        fix = "serialise once, sign and send the same bytes"
        yield "the body was serialised again after signing", fix, text(body=again)
    yield "the last line end is missing", "end each of the five lines with \\n, the last one too", right[:-1]
    yield "line ends are \\r\\n", "end the lines with \\n", right.replace(b"\n", b"\r\n")
    for other in ("GET", "POST", "PATCH", "DELETE", "PUT", verb.lower()):
        yield f"the method was signed as {other}", "sign the method that is sent", text(verb=other)
    yield "the first segment of the path is missing", "sign the whole path, from /v3 on", text(target=target[3:])
    lines = [verb, target, fields.nonce_str, fields.timestamp]
    swapped = "".join(f"{one}\n" for one in lines).encode() + body + b"\n"
    yield "nonce and timestamp are swapped", "the timestamp is the third line, the nonce the fourth", swapped


def _written_again(body: bytes) -> Iterator[bytes]:
    try:
        value = json.loads(body)
    except ValueError:
        return
    for ascii_only in (True, False):
        for separators in ((",", ":"), (", ", ": ")):
            for sort in (False, True):
                yield json.dumps(value, ensure_ascii=ascii_only, separators=separators, sort_keys=sort).encode()
        yield json.dumps(value, ensure_ascii=ascii_only, indent=2).encode()


def _fits(key: keys.PublicKey, said: str, message: bytes) -> bool:
    try:
        signature.check_signature(key, said, message)
    except SignatureInvalid:
        return False
    return True
