"""The command `quanma`: which commands there are, how an error prints, and what the exit status says."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Never

import click

from ..errors import QuanmaError

DONE, FAILED, USAGE, REJECTED, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 4, 130

# Command: the module it is in, loaded when the command runs, so that --help is quick; and its line in the list.
COMMANDS = {
    "demo": ("demo", "The whole story on an embedded platform: upload, issue, redeem, reconcile."),
    "init": ("platform", "Make a whole local world, keys included."),
    "serve": ("platform", "Serve the platform."),
    "migrate": ("care", "Bring the database's tables up to this version."),
    "backup": ("care", "Copy a SQLite pool while it is served."),
    "fence": ("care", "Let a pool give nothing out until it is reconciled."),
    "reconcile": ("care", "Look at a restored copy, and let it give out codes again."),
    "export": ("care", "Write all that a pool holds to a file, to move house."),
    "import": ("care", "Fill an empty pool with what was exported."),
    "upload": ("upload", "Upload files of codes into a stock."),
    "upload-status": ("upload", "Show where an upload stands."),
    "report": ("upload", "Write what became of every row of an upload."),
    "listen": ("listen", "Receive events, verify them, and keep which user got which code."),
    "platform": ("keys", "Look after a platform: rotate its keys."),
    "verify": ("upload", "Compare an upload's ledger with the platform."),
    "codes": ("codes", "Make codes, or check a file of them."),
    "api": ("api", "Call any declared operation."),
    "request": ("api", "Send any signed request."),
}


class Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        found = [
            value for value in vars(module).values() if isinstance(value, click.Command) and value.name == cmd_name
        ]
        return found[0]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


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
