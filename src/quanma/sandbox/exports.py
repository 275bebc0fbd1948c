"""A session of requests, written for other tools. No key and no whole user stands in it; codes do. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

from ..errors import RequestInvalid
from .journal import Exchange

FORMATS = ("pytest", "http", "curl", "har")


def written(form: str, entries: Sequence[Exchange], base_url: str) -> tuple[str, str]:
    """Return what kind of text it is, and the text. Raises RequestInvalid: no such format.

    The sandbox signs them when they are sent again: nobody has to.
    """
    writers = {"pytest": _pytest, "http": _http, "curl": _curl, "har": _har}
    if form not in writers:
        raise RequestInvalid(f"format {form!r} is none of {', '.join(FORMATS)}")
    return form, writers[form](entries, base_url)


def _address(one: Exchange, base_url: str) -> str:
    return f"{base_url}/_sandbox/as/{one.merchant or '1900000001'}{one.target}"


def _curl(entries: Sequence[Exchange], base_url: str) -> str:
    lines = []
    for one in entries:
        words = ["curl", "-sS", "-X", one.verb, _address(one, base_url)]
        if one.request or one.verb != "GET":
            words += ["-H", "Content-Type: application/json"]
        if one.request:
            words += ["--data-raw", one.request]
        lines.append(f"# {one.operation or one.target}: {one.status} {one.code}".rstrip() + f"\n{shlex.join(words)}\n")
    return "\n".join(lines)


def _http(entries: Sequence[Exchange], base_url: str) -> str:
    parts = []
    for one in entries:
        kind = "Content-Type: application/json\n" if one.request or one.verb != "GET" else ""
        parts.append(
            f"### {one.operation or one.target}: {one.status} {one.code}".rstrip()
            + f"\n{one.verb} {_address(one, base_url)}\n{kind}\n{one.request}\n"
        )
    return "\n".join(parts)


def _pytest(entries: Sequence[Exchange], base_url: str) -> str:
    lines = [
        '"""Requests of a sandbox session, sent again: written by GET /_sandbox/requests/export?format=pytest."""',
        "",
        "import pytest",
        "",
        "EXCHANGES = [",
        *(
            f"    ({one.verb!r}, {one.merchant!r}, {one.target!r}, {one.request!r}, {one.status!r}, {one.code!r}),"
            for one in entries
        ),
        "]",
        "",
        "",
        '@pytest.mark.parametrize(("verb", "merchant", "target", "body", "status", "code"), EXCHANGES)',
        "def test_the_answer_is_as_it_was(quanma_sandbox, verb, merchant, target, body, status, code):",
        "    answer = quanma_sandbox.ask_as(merchant, verb, target, body)",
        "    assert (answer.status, answer.code) == (status, code)",
        "",
    ]
    return "\n".join(lines)


def _har(entries: Sequence[Exchange], base_url: str) -> str:
    return json.dumps(
        {
            "log": {
                "version": "1.2",
                "creator": {"name": "quanma sandbox", "version": "1"},
                "entries": [_har_entry(one, base_url) for one in entries],
            }
        },
        ensure_ascii=False,
        indent=1,
    )


def _har_entry(one: Exchange, base_url: str) -> dict[str, object]:
    request: dict[str, object] = {
        "method": one.verb,
        "url": base_url + one.target,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in one.headers],
        "queryString": [],
        "headersSize": -1,
        "bodySize": len(one.request.encode()),
    }
    if one.request:
        request["postData"] = {"mimeType": "application/json", "text": one.request}
    return {
        "startedDateTime": datetime.fromtimestamp(one.at, UTC).isoformat(),
        "time": one.milliseconds,
        "request": request,
        "response": {
            "status": one.status,
            "statusText": one.code,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [],
            "content": {"size": len(one.answer.encode()), "mimeType": "application/json", "text": one.answer},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": len(one.answer.encode()),
        },
        "cache": {},
        "timings": {"send": 0, "wait": one.milliseconds, "receive": 0},
        "comment": one.fault,
    }
