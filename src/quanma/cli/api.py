"""`quanma api` and `quanma request`: the client from the shell. Answers go to standard output as JSON."""

from __future__ import annotations

import inspect
import json
import keyword
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import parse_qsl

import click
import msgspec

from ..api import openapi as described
from ..api.described import lines_of
from ..api.operation import Operation
from ..api.tree import OPERATIONS
from ..client.client import Wechatpay
from ..client.config import BASE_URL
from ..errors import RequestInvalid
from . import operationhelp, speaking
from .connection import config_option
from .language import said
from .nearby import closest, near_fields, question
from .picking import get_option, show


class OperationCommand(click.Command):
    """Its help, with the name of an operation, is that operation's."""

    def get_help(self, ctx: click.Context) -> str:
        named = next((word for word in ctx.args if not word.startswith("-")), None)
        if named is None:
            return super().get_help(ctx)
        operation = _named(named)
        title = f"{chain_of(operation)}: {operation.summary}"
        return "\n".join([title, *lines_of(operation, operationhelp.HEADING, "--", said, speaking.lines_of)])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = [*args]  # --help is answered while the rest is still to be parsed.
        return super().parse_args(ctx, args)


def _operations(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """What a shell completes: whole chains, and the shortest ending of each that is unique."""
    names = [name for operation in OPERATIONS for name in (chain_of(operation), _short(operation))]
    return [name for name in names if name.startswith(incomplete)]


@click.command(cls=OperationCommand, context_settings={"ignore_unknown_options": True})
@click.argument("operation_name", metavar="OPERATION", required=False, shell_complete=_operations)
@click.argument("fields", metavar="[--FIELD VALUE]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--data", metavar="JSON|@FILE", help="Fields as a JSON object; --FIELD comes on top.")
@get_option
@config_option
def api(
    operation_name: str | None, fields: tuple[str, ...], data: str | None, wanted: str | None, config: Path | None
) -> None:
    """Call a declared operation: a chain, or any ending of it that is unique, like couponcodes.post.

    Without OPERATION: list them all, with their fields. `quanma api OPERATION --help`: its fields and their limits.
    A list is a repeated --FIELD; anything deeper is JSON. Without a verb it is post, as in Python: coupons.send.
    """
    if operation_name is None:
        for operation in OPERATIONS:
            click.echo(f"{chain_of(operation)}  {operation.summary}\n    {' '.join(_usage(operation))}")
        return
    operation = _named(operation_name)
    request = request_of(operation, {**json_object(data), **_parsed(operation, fields)})
    with Wechatpay.from_config(config) as wxpay:
        show(wxpay.send(operation, request).data, wanted)


@click.command()
@click.argument(
    "method",
    metavar="METHOD",
    type=click.Choice(["GET", "POST", "PUT", "PATCH", "DELETE"], case_sensitive=False),
)
@click.argument("path")
@click.option("--data", metavar="JSON|@FILE", help="The JSON body.")
@click.option("--query", "query", metavar="K=V", multiple=True, help="A query parameter; may be repeated.")
@get_option
@config_option
def request(
    method: str, path: str, data: str | None, query: Sequence[str], wanted: str | None, config: Path | None
) -> None:
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
    body = json_object(data) if data is not None else None
    with Wechatpay.from_config(config) as wxpay:
        show(wxpay.chain(path).send(method.upper(), body, dict(pairs)), wanted)


@click.command()
@click.argument(
    "method",
    metavar="METHOD",
    type=click.Choice(["GET", "POST", "PUT", "PATCH", "DELETE"], case_sensitive=False),
)
@click.argument("path")
@click.option("--data", metavar="TEXT|@FILE", help="The body, byte for byte.")
@click.option("--curl", "only_curl", is_flag=True, help="Print the curl line alone.")
@config_option
def sign(method: str, path: str, data: str | None, only_curl: bool, config: Path | None) -> None:
    """Print the headers that sign a request, and a curl line that works for the next 300 s. Nothing is sent."""
    body = b"" if data is None else _body(data)
    if body and method.upper() == "GET":
        raise click.UsageError("GET takes no --data")
    with Wechatpay.from_config(config) as wxpay:
        headers = wxpay.signed_headers(method, path, body)
        address = wxpay.merchant.base_url + path
    if not only_curl:
        for name, value in headers.items():
            click.echo(f"{name}: {value}")
        click.echo()
    words: list[str] = [
        "curl",
        "--silent",
        "--show-error",
        "--globoff",
        "--path-as-is",
        "--request",
        method.upper(),
        address,
    ]
    for name, value in headers.items():
        words += ["--header", f"{name}: {value}"]
    if data is not None:
        words += ["--data-binary", data]
    click.echo(shlex.join(words))


def _body(data: str) -> bytes:
    """The bytes that curl sends for the same word."""
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).read_bytes()
    except (OSError, ValueError) as problem:
        raise RequestInvalid(f"{data[1:]} can't be read: {problem}") from None


@click.command()
@click.option("--server", metavar="URL", multiple=True, help="Where the calls go; may be repeated.")
def openapi(server: Sequence[str]) -> None:
    """Print the OpenAPI document of all declared operations, for Apifox, Postman and generators."""
    click.echo(msgspec.json.format(msgspec.json.encode(described.document(servers=server or (BASE_URL,))), indent=2))


def chain_of(operation: Operation[..., Any, Any, Any]) -> str:
    """The chain as it is written in Python, from v3 down to the verb."""
    return ".".join([*map(_segment, operation.path.strip("/").split("/")), operation.verb.lower()])


def _segment(part: str) -> str:
    if part.startswith("{"):
        return f"_{part[1:-1]}_"
    name = part.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def request_of(operation: Operation[..., Any, Any, Any], given: Mapping[str, Any]) -> Any:
    """Return the operation's request. Raises UsageError: all that is missing, unknown or wrong, each on a line."""
    chain = chain_of(operation)
    if wrong := operationhelp.problems(operation.request, given):
        lines = "\n".join(f"  {one}" for one in wrong)
        raise click.UsageError(f"{chain}:\n{lines}\n`quanma api {_short(operation)} --help` lists its fields") from None
    try:
        return msgspec.convert(given, operation.request, strict=False)
    except msgspec.ValidationError as problem:
        raise click.UsageError(
            f"{chain}: {problem}; `quanma api {_short(operation)} --help` lists its fields"
        ) from None


def _named(name: str) -> Operation[..., Any, Any, Any]:
    """The operation of a chain, or of the one ending that it has; without a verb, its post."""
    name = name.removeprefix("wxpay.")
    for wanted in (name, f"{name}.post"):
        found = _ended_by(wanted)
        if len(found) == 1:
            return found[0]
        if found:
            known = ", ".join(map(_short, found))
            raise click.UsageError(f"{name} ends several operations: {known}")
    raise click.UsageError(f"unknown operation {name!r}{question(_near(name), 'quanma api')}; `quanma api` lists all")


def _near(name: str) -> list[str]:
    """The operations that are spelt nearly so, or that go on from there, or whose Chinese name holds the word."""
    words = {_short(one): one for one in OPERATIONS}
    below = [short for short, one in words.items() if f".{name.rstrip('.')}." in f".{chain_of(one)}"]
    head, _, verb = name.rpartition(".")
    below += [it for it, one in words.items() if one.verb.lower() == verb and f".{head}." in f".{chain_of(one)}"]
    called = [short for short, one in words.items() if name in one.summary]
    last = [short for short in words if set(name.split(".")) & set(short.split("."))]
    spelt = closest(name, [*words, *map(chain_of, OPERATIONS)])
    ended = [word for word in words if word.removesuffix(f".{words[word].verb.lower()}") in spelt]
    found = [*below, *called, *ended, *(_shortened(one) for one in spelt)] or last
    return list(dict.fromkeys(found))[:4]


def _shortened(chain: str) -> str:
    return next((_short(one) for one in OPERATIONS if chain_of(one) == chain), chain)


@cache
def _short(operation: Operation[..., Any, Any, Any]) -> str:
    """The shortest ending of the chain, of two words or more, that names this operation."""
    words = chain_of(operation).split(".")
    endings = (".".join(words[-length:]) for length in range(2, len(words) + 1))
    return next(end for end in endings if _ended_by(end) == [operation])


def _ended_by(ending: str) -> list[Operation[..., Any, Any, Any]]:
    """The operations whose chain ends so. What named one of 商家券 before 商品券 came names it still."""
    found = [operation for operation in OPERATIONS if f".{chain_of(operation)}".endswith(f".{ending}")]
    older = [operation for operation in found if ".product_coupon." not in chain_of(operation)]
    return older if len(older) == 1 else found


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
            raise click.UsageError(
                f"{option} is no field of {chain_of(operation)}{near_fields(name, hints)}; "
                f"`quanma api {_short(operation)} --help` lists its fields"
            )
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


def json_object(text: str | None) -> dict[str, Any]:
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
        file = f"; is {text} a file? Write @{text}" if len(text) < 200 and Path(text).is_file() else ""
        raise click.UsageError(f"not JSON that we send: {problem}{file}") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Of two repeated names one would be sent, and the other dropped in silence."""
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(f"{name} stands twice")
