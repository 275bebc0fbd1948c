"""Checks of a callback address, from this machine: what the platform would meet there. Only where one is asked for.

What is posted is the platform's own probe (documented): an event whose signature is wrong on purpose. A receiver that
verifies refuses it with 4xx or 5xx, and nothing comes of it.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from urllib.parse import SplitResult, urlsplit

from ..client.transport import Reply, Request
from ..errors import QuanmaError
from ..settings.shape import shape
from ..wire import signature
from .asking import headers_of, log
from .check import Check, LeftOut, Outcome, failed, passed, warned
from .subject import Subject

ADDRESS_CHARACTERS_MAX = 256
"""Documented."""
ANSWER_SECONDS = 5.0
"""Within which the platform wants its answer (documented)."""
ASK_SECONDS = 7.0
_GUIDE = "docs/en/callbacks.md"
_BODY = (
    b'{"id":"00000000-0000-0000-0000-000000000000","create_time":"2026-01-01T00:00:00+08:00",'
    b'"event_type":"COUPON.SEND","resource_type":"encrypt-resource","summary":"quanma doctor","resource":'
    b'{"original_type":"coupon","algorithm":"AEAD_AES_256_GCM","ciphertext":"AAAA","associated_data":"coupon",'
    b'"nonce":"000000000000"}}'
)


def _given(subject: Subject) -> SplitResult:
    if subject.callback is None:
        raise LeftOut("no --callback URL was given")
    return urlsplit(subject.callback)


def _address(subject: Subject) -> Outcome:
    try:
        parts = _given(subject)
        port = parts.port
    except ValueError:
        return failed(f"the callback address is none: it is {shape(subject.callback)}", _HTTPS)
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return failed(f"the callback address is none: it is {shape(subject.callback)}", _HTTPS)
    if len(subject.callback or "") > ADDRESS_CHARACTERS_MAX:
        return failed(f"it is longer than {ADDRESS_CHARACTERS_MAX} characters", _HTTPS)
    if parts.username is not None or parts.password is not None:
        return failed("it has a user or a password, and the platform logs in nowhere", _HTTPS)
    if "?" in (subject.callback or "") or "#" in (subject.callback or ""):
        return failed("it has a ? or a #, and the platform takes no query", _HTTPS)
    tell = failed if subject.is_wechat_pays else warned
    if parts.scheme != "https":
        return tell("it begins with http://, and the platform posts to https:// only", _HTTPS)
    if (closed := _not_public(parts.hostname)) is not None:
        return tell(f"{closed} is not public: the platform can't reach it", _HTTPS)
    return passed(parts.hostname)


_HTTPS = "take an address like https://shop.example.com/wechatpay/events, which everyone reaches"


def _not_public(host: str) -> str | None:
    """The address behind a host that is not one of the internet. None: they all are, or it has none."""
    try:
        found = [str(one[4][0]) for one in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return None  # The next check tells.
    return next((one for one in found if not ipaddress.ip_address(one.partition("%")[0]).is_global), None)


def _answer(subject: Subject) -> Outcome:
    host = _given(subject).hostname
    began = subject.clocks.steady()
    try:
        reply = subject.transport(proxied=False).send(_probe(subject), ASK_SECONDS - 0.5)
    except QuanmaError as problem:
        return failed(f"no answer from {host}: {problem}", "see that it listens, and that its TLS certificate is right")
    took = subject.clocks.steady() - began
    log.info("POST to the callback address: %d in %.0f ms", reply.status_code, took * 1000)
    if took > ANSWER_SECONDS:
        return failed(
            f"it answers after {took:.1f} s, and the platform waits {ANSWER_SECONDS:.0f} s",
            f"answer first and work afterwards: {_GUIDE}",
        )
    return _read(reply)


def _read(reply: Reply) -> Outcome:
    status, headers = reply.status_code, headers_of(reply)
    is_page = "html" in headers.get("content-type", "") or reply.body.lstrip()[:1] == b"<"
    if 300 <= status < 400:
        return failed(
            f"HTTP {status}: it redirects, and the platform does not follow", "set the address that it leads to"
        )
    if status < 300:
        if is_page:
            return failed(f"HTTP {status}: a page answers, and no receiver of events", f"correct the path: {_GUIDE}")
        return failed(
            f"HTTP {status}: it took an event whose signature is wrong on purpose, so it does not verify",
            f"verify the raw body before anything else: {_GUIDE}",
        )
    if status in (404, 405):
        return failed(f"HTTP {status}: nothing takes a POST on this path", f"correct the path: {_GUIDE}")
    if "www-authenticate" in headers or (is_page and status in (401, 403)):
        return failed(
            f"HTTP {status}: it wants a login", "take the login away from this path: a signature stands for it"
        )
    if status in (502, 503, 504) or is_page:
        return warned(
            f"HTTP {status}: something before the receiver answers, or its framework", f"look at its log: {_GUIDE}"
        )
    return passed(f"HTTP {status}: it refuses what is not signed")


def _probe(subject: Subject) -> Request:
    """As the platform posts, but for the signature."""
    wanted = subject.ring.preferred(subject.clocks.wall()) if subject.given.settings else None
    return Request(
        "POST",
        subject.callback or "",
        {
            "Content-Type": "application/json",
            "User-Agent": "Mozilla/4.0",
            "Wechatpay-Timestamp": str(int(subject.clocks.wall())),
            "Wechatpay-Nonce": secrets.token_hex(16),
            "Wechatpay-Serial": wanted or "PUB_KEY_ID_0000000000000000000000000000000000",
            "Wechatpay-Signature": signature.PROBE + secrets.token_urlsafe(240),
            "Wechatpay-Signature-Type": signature.SCHEME,
        },
        _BODY,
    )


CHECKS = (
    Check("callback.address", "the callback address", _address, after=("settings.file",)),
    Check("callback.answer", "what answers there", _answer, ("callback.address",), seconds=ASK_SECONDS),
)
