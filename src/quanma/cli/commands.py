"""Which commands there are. No command is imported here, so that the list of them comes at once."""

from __future__ import annotations

from .language import said

UPLOAD, PLATFORM = "upload", "platform"


class Command:
    """A command: its module, which is loaded when it runs, its line in the list, and the extras that it needs."""

    __slots__ = ("extras", "line", "module")

    def __init__(self, module: str, line: str, *extras: str) -> None:
        self.module = module
        self.line = line
        self.extras = extras


SECTIONS = {
    "See it": {
        "demo": Command(
            "demo", "The whole story on an embedded platform: upload, issue, redeem, reconcile.", UPLOAD, PLATFORM
        ),
    },
    "Test an integration": {
        "sandbox": Command("sandbox", "Serve a platform for tests: faults, a clock, a journal.", PLATFORM),
    },
    "Upload codes": {
        "upload": Command("upload", "Upload files of codes into a stock.", UPLOAD),
        "upload-status": Command("upload", "Show where an upload stands.", UPLOAD),
        "report": Command("upload", "Write what became of every row of an upload.", UPLOAD),
        "verify": Command("upload", "Compare an upload's ledger with the platform.", UPLOAD),
        "codes": Command("codes", "Make codes, check a file of them, list those of a stock.", UPLOAD),
    },
    "Stocks, coupons, events": {
        "watch": Command("watch", "Tell of a stock whose codes run low, once, and again after a refill."),
        "refill": Command("refill", "Keep a stock topped up from files of codes.", UPLOAD),
        "stock": Command("stock", "Create, list and show stocks (批次)."),
        "send": Command("coupon", "Give a user one coupon of a stock."),
        "use": Command("coupon", "Use (核销) a coupon."),
        "events": Command("events", "Show how the delivery of events stands."),
        "listen": Command("listen", "Receive events, verify them, and keep which user got which code.", PLATFORM),
    },
    "Any call": {
        "api": Command("api", "Call any declared operation."),
        "request": Command("api", "Send any signed request."),
        "sign": Command("api", "Print the headers that sign a request, and a curl line with them."),
        "openapi": Command("api", "Print the OpenAPI document of all operations."),
    },
    "Serve a platform": {
        "init": Command("init", "Make a whole local world, keys included; or a template of real settings."),
        "serve": Command("platform", "Serve the platform.", PLATFORM),
        "platform": Command("keys", "Look after a platform: rotate its keys.", PLATFORM),
    },
    "Look after a platform's pool": {
        "migrate": Command("maintenance", "Bring the database's tables up to this version.", PLATFORM),
        "backup": Command("maintenance", "Copy a SQLite pool while it is served.", PLATFORM),
        "fence": Command("maintenance", "Let a pool give nothing out until it is reconciled.", PLATFORM),
        "reconcile": Command("maintenance", "Look at a restored copy, and let it give out codes again.", PLATFORM),
        "export": Command("maintenance", "Write all that a pool holds to a file, to move the pool.", PLATFORM),
        "import": Command("maintenance", "Fill an empty pool with what was exported.", PLATFORM),
    },
    "Settings and shell": {
        "status": Command("status", "Show which settings count here, and whether the platform answers."),
        "doctor": Command("doctor", "Find what is wrong with settings, keys, clock and network, and how to mend it."),
        "completion": Command("completion", "Print the completion for a shell."),
    },
}
COMMANDS = {name: command for section in SECTIONS.values() for name, command in section.items()}

HELP = """\
Usage: quanma [OPTIONS] COMMAND [ARGS]...

  quanma (券码): pre-stored coupon codes for WeChat Pay.

  Exit status: 0 done and nothing rejected · 1 error · 2 wrong usage ·
  3 finished, some codes were rejected · 4 not finished: resume it ·
  130 interrupted: resume it.

Options:
  -V, --version  Show the version and exit.
  -h, --help     Show this message and exit.
"""
EXAMPLES = ("quanma demo", "quanma init world", "quanma upload codes.txt --stock 98065001", "quanma upload --help")


def listing() -> str:
    """What `quanma --help` prints."""
    width = max(map(len, COMMANDS)) + 2
    lines = [said(HELP)]
    for section, commands in SECTIONS.items():
        lines += [said(f"{section}:"), *(f"  {name:<{width}}{said(one.line)}" for name, one in commands.items()), ""]
    return "\n".join([*lines, said("Examples:"), *(f"  {example}" for example in EXAMPLES)])
