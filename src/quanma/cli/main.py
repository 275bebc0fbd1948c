"""The command `quanma`: which commands there are, how an error prints, and what the exit status says."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import NamedTuple, Never

import click

from ..errors import QuanmaError
from ..extras import need

DONE, FAILED, USAGE, REJECTED, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 4, 130


class Place(NamedTuple):
    """Where a command is: its module, loaded when the command runs, so that --help is quick."""

    module: str
    line: str
    """In the list of commands."""
    extras: tuple[str, ...] = ()
    """What it needs beside the base install."""


UPLOAD, PLATFORM = ("upload",), ("platform",)
COMMANDS = {
    "demo": Place(
        "demo", "The whole story on an embedded platform: upload, issue, redeem, reconcile.", (*UPLOAD, *PLATFORM)
    ),
    "init": Place("platform", "Make a whole local world, keys included.", PLATFORM),
    "serve": Place("platform", "Serve the platform.", PLATFORM),
    "migrate": Place("care", "Bring the database's tables up to this version.", PLATFORM),
    "backup": Place("care", "Copy a SQLite pool while it is served.", PLATFORM),
    "fence": Place("care", "Let a pool give nothing out until it is reconciled.", PLATFORM),
    "reconcile": Place("care", "Look at a restored copy, and let it give out codes again.", PLATFORM),
    "export": Place("care", "Write all that a pool holds to a file, to move house.", PLATFORM),
    "import": Place("care", "Fill an empty pool with what was exported.", PLATFORM),
    "upload": Place("upload", "Upload files of codes into a stock.", UPLOAD),
    "upload-status": Place("upload", "Show where an upload stands.", UPLOAD),
    "report": Place("upload", "Write what became of every row of an upload.", UPLOAD),
    "listen": Place("listen", "Receive events, verify them, and keep which user got which code.", PLATFORM),
    "platform": Place("keys", "Look after a platform: rotate its keys.", PLATFORM),
    "verify": Place("upload", "Compare an upload's ledger with the platform.", UPLOAD),
    "codes": Place("codes", "Make codes, or check a file of them.", UPLOAD),
    "api": Place("api", "Call any declared operation."),
    "request": Place("api", "Send any signed request."),
}


class Commands(click.Group):
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
        return found[0]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.line) for name, place in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quanma")
def group() -> None:
    """quanma (券码): pre-stored coupon codes for WeChat Pay.

    Exit status: 0 done and nothing rejected · 1 error · 2 wrong usage · 3 finished, some codes were rejected ·
    4 not finished: resume it · 130 interrupted: resume it.
    """


def main() -> Never:
    """Run the command line and exit with its status."""
    warnings.showwarning = _say_warning
    try:
        status = group.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else DONE)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(FAILED)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except QuanmaError as error:
        click.echo(f"quanma: {error}", err=True)
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
    click.echo(f"quanma: {message}", err=True)
