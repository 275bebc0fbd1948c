"""Which commands there are. Nothing is imported here, so that the list of them comes at once."""

from __future__ import annotations

UPLOAD, PLATFORM = "upload", "platform"


class Command:
    """A command: its module, which is loaded when it runs, its line in the list, and the extras that it needs."""

    __slots__ = ("extras", "line", "module")

    def __init__(self, module: str, line: str, *extras: str) -> None:
        self.module = module
        self.line = line
        self.extras = extras


COMMANDS = {
    "demo": Command(
        "demo", "The whole story on an embedded platform: upload, issue, redeem, reconcile.", UPLOAD, PLATFORM
    ),
    "init": Command("platform", "Make a whole local world, keys included.", PLATFORM),
    "serve": Command("platform", "Serve the platform.", PLATFORM),
    "migrate": Command("care", "Bring the database's tables up to this version.", PLATFORM),
    "backup": Command("care", "Copy a SQLite pool while it is served.", PLATFORM),
    "fence": Command("care", "Let a pool give nothing out until it is reconciled.", PLATFORM),
    "reconcile": Command("care", "Look at a restored copy, and let it give out codes again.", PLATFORM),
    "export": Command("care", "Write all that a pool holds to a file, to move house.", PLATFORM),
    "import": Command("care", "Fill an empty pool with what was exported.", PLATFORM),
    "upload": Command("upload", "Upload files of codes into a stock.", UPLOAD),
    "upload-status": Command("upload", "Show where an upload stands.", UPLOAD),
    "report": Command("upload", "Write what became of every row of an upload.", UPLOAD),
    "listen": Command("listen", "Receive events, verify them, and keep which user got which code.", PLATFORM),
    "platform": Command("keys", "Look after a platform: rotate its keys.", PLATFORM),
    "verify": Command("upload", "Compare an upload's ledger with the platform.", UPLOAD),
    "codes": Command("codes", "Make codes, or check a file of them.", UPLOAD),
    "api": Command("api", "Call any declared operation."),
    "request": Command("api", "Send any signed request."),
}

HELP = """\
Usage: quanma [OPTIONS] COMMAND [ARGS]...

  quanma (券码): pre-stored coupon codes for WeChat Pay.

  Exit status: 0 done and nothing rejected · 1 error · 2 wrong usage ·
  3 finished, some codes were rejected · 4 not finished: resume it ·
  130 interrupted: resume it.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
"""


def listing() -> str:
    """What `quanma --help` prints."""
    width = max(map(len, COMMANDS)) + 2
    return HELP + "\n".join(f"  {name:<{width}}{command.line}" for name, command in COMMANDS.items())
