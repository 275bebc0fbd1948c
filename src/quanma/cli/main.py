"""The command `quanma`: how a command is found, how an error prints, and what the exit status says."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Never

import click

from ..errors import QuanmaError
from ..extras import need
from .commands import COMMANDS, listing
from .examples import with_examples
from .language import choose
from .nearby import NearGroup, meant, question
from .nextstep import show
from .speaking import show_error, tell, translated

DONE, FAILED, USAGE, REJECTED, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 4, 130


class Commands(NearGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        need(f"quanma {cmd_name}", *COMMANDS[cmd_name].extras)
        module = importlib.import_module(f".{COMMANDS[cmd_name].module}", __package__)
        found = [
            value for value in vars(module).values() if isinstance(value, click.Command) and value.name == cmd_name
        ]
        return translated(with_examples(found[0], cmd_name))

    def get_help(self, ctx: click.Context) -> str:
        return listing()

    def meant(self, ctx: click.Context, words: list[str]) -> str:
        found = meant(words[0], COMMANDS)
        if words[0] == "help" and len(words) > 1 and words[1] in COMMANDS:
            found = (f"{words[1]} --help",)
        return question(found) or ": `quanma --help` lists them"


@click.command(
    "quanma", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True
)
@click.version_option(None, "-V", "--version", package_name="quanma")
@click.pass_context
def group(ctx: click.Context) -> None:
    """See `commands.HELP`."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> Never:
    """Run the command line and exit with its status."""
    warnings.showwarning = _say_warning
    choose()
    try:
        status = translated(group).main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else DONE)
    except click.UsageError as error:
        show_error(error)
        sys.exit(USAGE)
    except click.ClickException as error:
        show_error(error)
        sys.exit(FAILED)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except QuanmaError as error:
        show(error)
        sys.exit(FAILED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(FAILED)


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    tell(f"quanma: {message}", err=True)
