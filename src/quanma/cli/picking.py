"""`--get FIELD`: one value out of an answer, by the names on the way to it: `coupon_code_count.available_count`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

get_option = click.option(
    "--get", "wanted", metavar="FIELD", help="Print this field of the answer only; a.b is b in a, data.0 the first row."
)


def show(answer: Any, wanted: str | None = None) -> None:
    """Print an answer as JSON, or one field of it: a text as it stands, all else as JSON. None prints nothing."""
    plain = msgspec.to_builtins(answer)
    if wanted is not None:
        plain = pick(plain, wanted)
        if isinstance(plain, str):
            click.echo(plain)
            return
    if plain is not None:
        click.echo(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode())


def pick(value: Any, wanted: str) -> Any:
    """Return what stands at a dotted name; a name that stands at one place only may be given without those before it.

    Raises:
        ClickException: there is no such field, or several; the message lists those that are there.
    """
    found = _at(value, wanted.split("."))
    if not found:
        found = [one for name, one in _named(value) if name.endswith(f".{wanted}")]
    if len(found) == 1:
        return found[0]
    names = ", ".join(name.removeprefix(".") for name, _ in _named(value)) or "nothing"
    raise click.ClickException(f"--get {wanted}: {'several fields' if found else 'no such field'}; there is {names}")


def _at(value: Any, names: list[str]) -> list[Any]:
    for name in names:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return []
    return [value]


def _named(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Every field in objects, with its dotted name. Rows of a list are not gone into."""
    if not isinstance(value, dict):
        return []
    return [
        pair for key, below in value.items() for pair in [(f"{name}.{key}", below), *_named(below, f"{name}.{key}")]
    ]
