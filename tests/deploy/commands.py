"""A command line, as the command reads it."""

from __future__ import annotations

from typing import Any

import click


def parsed(command: click.Command, words: list[str]) -> dict[str, Any]:
    """As the command line reads them. Raises click.UsageError."""
    return command.make_context(command.name, [*words], auto_envvar_prefix=None).params
