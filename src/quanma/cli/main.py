"""The command `quanma`: which commands there are, how an error prints, and what the exit status says."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import NamedTuple, Never

import click

from ..errors import QuanmaError
from .examples import epilog, with_examples
from .nearby import NearGroup, meant, question
from .nextstep import next_step

DONE, FAILED, USAGE, REJECTED, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 4, 130


class Place(NamedTuple):
    """Where a command is: its module, loaded when the command runs, so that --help is quick."""

    module: str
    line: str
    """In the list of commands."""
    section: str


SEE, UPLOAD, MERCHANT, CALL, SERVE, CARE, SHELL = (
    "See it",
    "Upload codes",
    "Stocks, coupons, events",
    "Any call",
    "Serve a platform",
    "Look after a platform's pool",
    "Settings and shell",
)
COMMANDS = {
    "demo": Place("demo", "The whole story on an embedded platform: upload, issue, redeem, reconcile.", SEE),
    "upload": Place("upload", "Upload files of codes into a stock.", UPLOAD),
    "upload-status": Place("upload", "Show where an upload stands.", UPLOAD),
    "report": Place("upload", "Write what became of every row of an upload.", UPLOAD),
    "verify": Place("upload", "Compare an upload's ledger with the platform.", UPLOAD),
    "codes": Place("codes", "Make codes, check a file of them, list those of a stock.", UPLOAD),
    "stock": Place("stock", "Create, list and show stocks (批次).", MERCHANT),
    "send": Place("coupon", "Give a user one coupon of a stock.", MERCHANT),
    "use": Place("coupon", "Use (核销) a coupon.", MERCHANT),
    "events": Place("events", "Show how the delivery of events stands.", MERCHANT),
    "listen": Place("listen", "Receive events, verify them, and keep which user got which code.", MERCHANT),
    "api": Place("api", "Call any declared operation.", CALL),
    "request": Place("api", "Send any signed request.", CALL),
    "init": Place("platform", "Make a whole local world, keys included; or a template of real settings.", SERVE),
    "serve": Place("platform", "Serve the platform.", SERVE),
    "platform": Place("keys", "Look after a platform: rotate its keys.", SERVE),
    "migrate": Place("care", "Bring the database's tables up to this version.", CARE),
    "backup": Place("care", "Copy a SQLite pool while it is served.", CARE),
    "fence": Place("care", "Let a pool give nothing out until it is reconciled.", CARE),
    "reconcile": Place("care", "Look at a restored copy, and let it give out codes again.", CARE),
    "export": Place("care", "Write all that a pool holds to a file, to move house.", CARE),
    "import": Place("care", "Fill an empty pool with what was exported.", CARE),
    "status": Place("status", "Show which settings count here, and whether the platform answers.", SHELL),
    "completion": Place("completion", "Print the completion for a shell.", SHELL),
}


class Commands(NearGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name].module}", __package__)
        found = [
            value for value in vars(module).values() if isinstance(value, click.Command) and value.name == cmd_name
        ]
        return with_examples(found[0], cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for section in (SEE, UPLOAD, MERCHANT, CALL, SERVE, CARE, SHELL):
            with formatter.section(section):
                lines = [
                    (name.ljust(width), place.line) for name, place in COMMANDS.items() if place.section == section
                ]
                formatter.write_dl(lines)

    def meant(self, ctx: click.Context, words: list[str]) -> str:
        found = meant(words[0], COMMANDS)
        if words[0] == "help" and len(words) > 1 and words[1] in COMMANDS:
            found = (f"{words[1]} --help",)
        return question(found) or ": `quanma --help` lists them"


@click.command(
    "quanma",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    epilog=epilog(""),
)
@click.version_option(None, "-V", "--version", package_name="quanma")
@click.pass_context
def group(ctx: click.Context) -> None:
    """quanma (券码): pre-stored coupon codes for WeChat Pay.

    Exit status: 0 done and nothing rejected · 1 error · 2 wrong usage · 3 finished, some codes were rejected ·
    4 not finished: resume it · 130 interrupted: resume it.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


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
        if step := next_step(error):
            click.echo(f"  next: {step}", err=True)
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
