"""`quanma api` and `quanma request`: the client from the shell. Answers go to standard output as JSON."""

from __future__ import annotations

import inspect
import json
import keyword
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import parse_qsl

import click
import msgspec

from ..api.operation import Operation
from ..api.tree import OPERATIONS
from ..client.client import Wechatpay
from ..errors import RequestInvalid

config_option = click.option("--config", type=click.Path(path_type=Path), help="The merchant's quanma.toml.")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("operation_name", metavar="OPERATION", required=False)
@click.argument("fields", metavar="[--FIELD VALUE]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--data", metavar="JSON|@FILE", help="Fields as a JSON object; --FIELD comes on top.")
@config_option
def api(operation_name: str | None, fields: tuple[str, ...], data: str | None, config: Path | None) -> None:
    """Call a declared operation: a chain, or any ending of it that is unique, like couponcodes.post.

    Without OPERATION: list them all, with their fields. A list is a repeated --FIELD; anything deeper is JSON.
    """
    if operation_name is None:
        for operation in OPERATIONS:
            click.echo(f"{chain_of(operation)}  {operation.summary}\n    {' '.join(_usage(operation))}")
        return
    operation = _named(operation_name)
    given = {**_json_object(data), **_parsed(operation, fields)}
    try:
        request = msgspec.convert(given, operation.request, strict=False)
    except msgspec.ValidationError as problem:
        raise click.UsageError(f"{chain_of(operation)}: {problem}; its fields: {' '.join(_usage(operation))}") from None
    with Wechatpay.from_config(config) as wxpay:
        _show(wxpay.send(operation, request).data)


@click.command()
@click.argument(
    "method",
    metavar="METHOD",
    type=click.Choice(["GET", "POST", "PUT", "PATCH", "DELETE"], case_sensitive=False),
)
@click.argument("path")
@click.option("--data", metavar="JSON|@FILE", help="The JSON body.")
@click.option("--query", "query", metavar="K=V", multiple=True, help="A query parameter; may be repeated.")
@config_option
def request(method: str, path: str, data: str | None, query: Sequence[str], config: Path | None) -> None:
    """Send any signed request, like GET /v3/certificates, and print the verified answer."""
    path, _, tail = path.partition("?")
    pairs = [*parse_qsl(tail, keep_blank_values=True)]
    for pair in query:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--query {pair} is not K=V")
        pairs.append((name, value))
    if len(dict(pairs)) != len(pairs):
        raise click.UsageError("a query parameter stands twice, and which one counts is uncertain")
    body = _json_object(data) if data is not None else None
    with Wechatpay.from_config(config) as wxpay:
        _show(wxpay.chain(path).send(method.upper(), body, dict(pairs)))


def chain_of(operation: Operation[..., Any, Any, Any]) -> str:
    """The chain as it is written in Python, from v3 down to the verb."""
    return ".".join([*map(_segment, operation.path.strip("/").split("/")), operation.verb.lower()])


def _segment(part: str) -> str:
    if part.startswith("{"):
        return f"_{part[1:-1]}_"
    name = part.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _named(name: str) -> Operation[..., Any, Any, Any]:
    found = [operation for operation in OPERATIONS if f".{chain_of(operation)}".endswith(f".{name}")]
    if len(found) != 1:
        known = ", ".join(chain_of(operation) for operation in (found or OPERATIONS))
        raise click.UsageError(f"{name} is {'several operations' if found else 'no operation'}: {known}")
    return found[0]


def _usage(operation: Operation[..., Any, Any, Any]) -> list[str]:
    required = {
        name for name, field in inspect.signature(operation.request).parameters.items() if field.default is field.empty
    }
    names = get_type_hints(operation.request)
    return [f"--{name}" if name in required else f"[--{name}]" for name in names]


def _parsed(operation: Operation[..., Any, Any, Any], words: Sequence[str]) -> dict[str, Any]:
    hints = get_type_hints(operation.request)
    given: dict[str, Any] = {}
    rest = list(words)
    while rest:
        option = rest.pop(0)
        name, equals, value = option.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not option.startswith("--") or name not in hints:
            raise click.UsageError(f"{option} is no field of {chain_of(operation)}: {' '.join(_usage(operation))}")
        if not equals:
            if not rest:
                raise click.UsageError(f"{option} needs a value")
            value = rest.pop(0)
        if hints[name] == list[str]:
            given.setdefault(name, []).append(value)
        elif value[:1] in "{[" and value:
            given[name] = _json(value)
        else:
            given[name] = value
    return given


def _json_object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    value = _json(text)
    if not isinstance(value, dict):
        raise click.UsageError("--data is not a JSON object")
    return value


def _json(text: str) -> Any:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text("utf-8")
        except (OSError, ValueError) as problem:
            raise RequestInvalid(f"{text[1:]} can't be read: {problem}") from None
    try:
        value = msgspec.json.decode(text)
        json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as problem:
        raise click.UsageError(f"not JSON that we send: {problem}") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Of two repeated names one would be sent, and the other dropped in silence."""
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(f"{name} stands twice")


def _show(value: Mapping[str, Any] | Any) -> None:
    if value is not None:
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
