"""What stands between the client and the platform, as far as an answer tells: a proxy, a gateway, a portal. Pure.

Two signs of it. An answer that is neither signed nor the platform's JSON is not the platform's. And a refused signature
comes with what the platform saw, so that what was changed on the way can be named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ..errors import GatewayFailed, NotThePlatform, QuanmaError, RateLimited
from ..wire import codec, signature
from .transport import Reply

WAY_OUT = "correct what stands between, or base_url; the guide to reverse proxies (docs/en/proxies.md) says how"
_TEXT_MAX = 80
_TITLE = re.compile(rb"<title>\s*([^<]*?)\s*</title>", re.IGNORECASE)
_URL_TOLD_MAX = 256
"""How much of a target a platform tells. Source: ours; the real one's is not published."""
_SHOWN_WHOLE_MAX = 6
"""Of a shorter value only the changed character is shown: its neighbours would be all of it."""
_ANY_TIME, _ANY_NONCE = "0" * 10, "0" * 32
"""Stand for what is in every request, where only the length counts."""


def from_in_between(reply: Reply, headers: Mapping[str, str], target: str, now: float) -> QuanmaError | None:
    """Return the error for an answer that is not the platform's, or None: it is signed, or it is the platform's JSON.

    What to do next follows from the status: 429 asks for patience, from 500 on it may be better later, and what else
    something in between says will be said again. `headers`: names in lower case.
    """
    if "wechatpay-signature" in headers or codec.is_platforms(reply.status_code, reply.body):
        return None
    status = reply.status_code
    said = f"HTTP {status} from something in between, and not from the platform: it is not signed and not its JSON"
    if described := _described(headers, reply.body, target):
        said += f" ({described})"
    if status != 429 and status < 500:
        return NotThePlatform(f"{said}; {WAY_OUT}", status_code=status, request_id=headers.get("request-id"))
    told = codec.decode_error(status, headers, b"{}", verified=False, now=now)
    kind = RateLimited if status == 429 else GatewayFailed
    return kind(
        said, code="", status_code=status, request_id=told.request_id, retry_after_seconds=told.retry_after_seconds
    )


def what_changed(parts: codec.Parts, path: str, detail: Mapping[str, Any] | None) -> str:
    """Compare what was signed with what the platform saw, by its `sign_information`. Empty: it tells nothing.

    `path`: as declared, variables in braces. No value is shown whole: it may be a code, or a user.
    """
    seen = (detail or {}).get("sign_information")
    if not isinstance(seen, Mapping):
        return ""
    method, url, length = (seen.get(name) for name in ("method", "url", "sign_message_length"))
    if isinstance(method, str) and method != parts.verb:
        return f"the method was changed on the way: {parts.verb} was signed and {method[:20]!r} arrived; {WAY_OUT}"
    if isinstance(url, str) and not _same_target(parts.target, url):
        return f"{_first_difference(parts.target, url, path)}; {WAY_OUT}"
    message = signature.request_message(parts.verb, parts.target, _ANY_TIME, _ANY_NONCE, parts.signed)
    # In characters too: it is not said what the real platform counts.
    if isinstance(length, int) and length not in (len(message), len(message.decode("utf-8", "replace"))):
        return (
            f"{len(message)} bytes were signed and {length} arrived, with the same method and target: the body was "
            f"changed on the way; {WAY_OUT}"
        )
    return (
        "method, target and length arrived as they were signed: look at mchid, serial_no, private_key and the clock, "
        "and whether a proxy takes the Authorization header away, as Squid does without login=PASSTHRU"
    )


def _same_target(signed: str, arrived: str) -> bool:
    return signed == arrived or (len(arrived) >= _URL_TOLD_MAX and signed.startswith(arrived))


def _first_difference(signed: str, arrived: str, path: str) -> str:
    ours, theirs = _characters(signed), _characters(arrived)
    pairs = zip(ours, theirs, strict=False)
    at = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(ours), len(theirs)))
    before = "".join(ours[:at])
    if "?" in (ours[at : at + 1] + theirs[at : at + 1]):
        where, value = "in the query", ""
    else:
        where, value = _place(signed, before, path)
    # Whether the neighbours may be seen as well.
    around = 1 if len(unquote(value)) > _SHOWN_WHOLE_MAX else 0
    return (
        f"the target was changed on the way, {where}: {_window(ours, at, around)} was signed "
        f"and {_window(theirs, at, around)} arrived"
    )


def _place(signed: str, before: str, path: str) -> tuple[str, str]:
    """Where a difference is, in the words of the declared path; and what stands there, whole."""
    if "?" in before:
        name, _, value = before.rpartition("?")[2].rpartition("&")[2].partition("=")
        return (f"in {name} of the query" if value else "in the query"), signed[len(before) - len(value) :].partition(
            "&"
        )[0]
    segment = before.count("/")
    declared = path.split("/")[segment : segment + 1]
    name = declared[0].strip("{}") if declared and declared[0].startswith("{") else ""
    standing = "".join(signed.partition("?")[0].split("/")[segment : segment + 1])
    return (f"in {name}" if name else f"at character {len(before) + 1}"), standing


def _window(characters: list[str], at: int, around: int) -> str:
    if at >= len(characters):
        return "its end"
    shown = characters[max(at - around, 0) : at + 1 + around]
    before = "…" if at - around > 0 else ""
    after = "…" if at + 1 + around < len(characters) else ""
    return f"{before}{''.join(shown)}{after}"


def _characters(target: str) -> list[str]:
    """With an escape as one of them."""
    return re.findall(r"%[0-9A-Fa-f]{2}|.", target, re.DOTALL)


def _described(headers: Mapping[str, str], body: bytes, target: str) -> str:
    """Who it may be, and the title or the line that it shows. A page may repeat the address: then it is not shown."""
    content_type = headers.get("content-type", "").partition(";")[0].strip()[:40]
    server = headers.get("server", "").strip()[:40]
    title = _TITLE.search(body[:4096])
    line = title[1] if title else b"" if b"<" in body or b"\n" in body.strip() else body.strip()
    text = line.decode("utf-8", "replace") if len(line) <= _TEXT_MAX else ""
    known = (value for value in re.split(r"[/?&=]", unquote(target)) if len(value) > 2)
    if not text.isprintable() or "/" in text or any(value in text for value in known):
        text = ""
    return ", ".join(
        [
            *([content_type] if content_type else ["an empty body"] if not body else []),
            *([f"server {server}"] if server else []),
            *([f'"{text}"'] if text else []),
        ]
    )
