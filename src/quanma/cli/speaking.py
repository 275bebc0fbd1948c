"""What the command line says to people: lines, help and errors, in their language. See `language`.

What programs read is printed by `click.echo`, as it is: JSON, codes, values, commands to be run.
"""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Iterable, Iterator

import click

from .language import ENGLISH, current, said

_EXTRA = re.compile(r"(.*?)(?:^|  )\[(.*)\]", re.DOTALL)
"""What click writes behind the help of an option: `[default: 20; required]`."""
_UNBREAKABLE = re.compile(r"[!-~]+(?:[，。；：、！？）」』】]+)?|\s+|.[，。；：、！？）」』】]*")
"""A word, blanks, or one wide character, each with the punctuation that may not begin a line."""


def tell(text: str, *, err: bool = False) -> None:
    """Print a text for people."""
    click.echo(said(text), err=err)


def show_error(error: click.ClickException) -> None:
    """Print an error of the command line on standard error, a wrong use with how to use it."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        if error.ctx.command.get_help_option(error.ctx) is not None:
            name = max(error.ctx.help_option_names, key=len)
            tell(f"Try '{error.ctx.command_path} {name}' for help.", err=True)
        click.echo(err=True)
    tell(f"Error: {error.format_message()}", err=True)


def translated(command: click.Command) -> click.Command:
    """Return the command with its help, and that of its options and of the commands below it, as people read it."""
    if current() == ENGLISH:
        return command
    made = copy.copy(command)
    made.context_class = _Context
    made.help = _paragraphs(made.help)
    made.epilog = _paragraphs(made.epilog)
    made.params = [_translated_option(one) for one in made.params]
    if isinstance(made, click.Group):
        made.commands = {name: translated(below) for name, below in made.commands.items()}
    return made


def _translated_option(parameter: click.Parameter) -> click.Parameter:
    if not isinstance(parameter, click.Option) or parameter.help is None:
        return parameter
    made = copy.copy(parameter)
    made.help = said(parameter.help)
    return made


def _paragraphs(text: str | None) -> str | None:
    """A text of several paragraphs. One that begins with \\b is not wrapped: its lines are translated one by one, but
    for those that are set in, which are examples."""
    if text is None:
        return None
    return "\n\n".join(map(_paragraph, text.split("\n\n")))


def _paragraph(text: str) -> str:
    if text.startswith("\b"):
        return "\n".join(line if line.startswith((" ", "\b")) else said(line) for line in text.split("\n"))
    return said(" ".join(text.split()))


class _Formatter(click.HelpFormatter):
    """Writes help in a language whose characters are two columns wide, and which has no blanks to wrap at."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, said("Usage: ") if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{said(heading)}：\n")

    def write_text(self, text: str) -> None:
        click.HelpFormatter.write_text(self, _wrapped(text, self.width - self.current_indent))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        table = list(rows)
        first = min(max((len(name) for name, _ in table), default=0), col_max) + col_spacing
        width = max(self.width - first - 2, 10)
        super().write_dl([(name, _wrapped(_option(text), width)) for name, text in table], col_max, col_spacing)


class _Context(click.Context):
    formatter_class = _Formatter


def _option(text: str) -> str:
    """The help of an option, and what click writes behind it."""
    if (found := _EXTRA.fullmatch(text)) is None:
        return said(text)
    about, extra = found.groups()
    extra = "；".join(said(one) for one in extra.split("; "))
    about = said(about)
    return f"{about}{'' if about.endswith('。') else '  '}[{extra}]" if about else f"[{extra}]"


def _wrapped(text: str, width: int) -> str:
    """Break paragraphs into lines of so many columns; click is told to leave them alone."""
    whole = (one if one.startswith("\b") else "\b\n" + "\n".join(lines_of(one, width)) for one in text.split("\n\n"))
    return "\n\n".join(whole)


def lines_of(paragraph: str, width: int) -> Iterator[str]:
    """Break a text into lines of so many columns, at its blanks and between characters that are two columns wide."""
    line, filled = "", 0
    for piece in _UNBREAKABLE.findall(" ".join(paragraph.split())):
        columns = columns_of(piece)
        if filled + columns > width and line:
            yield line.rstrip()
            line, filled = "", 0
        if line or not piece.isspace():
            line, filled = line + piece, filled + columns
    if line:
        yield line.rstrip()


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
