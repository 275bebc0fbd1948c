"""Imports go down the floors, never up or across; each third-party library stays on its floor."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

from tests.support.every import every_row
from tests.support.sources import Source, parsed, sources

FLOORS = {  # Package: what it may import, besides itself.
    "reasons": set[str](),
    "errors": {"reasons"},
    "storage": {"errors"},
    "extras": {"errors"},
    "signals": set[str](),
    "api": {"errors"},
    "settings": {"errors", "storage"},
    "wire": {"errors", "reasons", "api", "settings"},
    "client": {"errors", "api", "wire", "settings"},
    "doctor": {"errors", "storage", "api", "wire", "client", "settings"},
    "serving": {"errors", "extras", "signals"},
    "platform": {"errors", "reasons", "extras", "serving", "storage", "api", "wire", "settings"},
    "upload": {"errors", "extras", "storage", "api", "client", "settings"},
    "sandbox": {"errors", "extras", "serving", "storage", "api", "client", "platform", "upload", "wire", "settings"},
    "testing": {"errors", "api", "client"},
    "cli": {
        *(
            "sandbox",
            "errors",
            "extras",
            "signals",
            "serving",
            "storage",
            "api",
            "client",
            "doctor",
            "platform",
            "upload",
        ),
        "settings",
    },
    "console": {"errors", "api", "platform"},
    "__init__": {"errors", "events", "client"},
    "events": {"api", "client"},
    "__main__": {"cli"},
}
LIBRARIES = {  # Library: the packages that may import it, or the one module, for the reason below.
    "pyreqwest": ("client", "platform.notify.notifier", "platform.notify.addresses"),
    "cryptography": ("wire",),
    "apsw": ("platform", "upload"),
    "numpy": ("platform", "upload"),
    "uvloop": ("serving",),
    "httptools": ("serving",),
    "prometheus_client": ("platform",),
    "opentelemetry": ("platform",),
    "sqlite3": ("upload.source",),
    "click": ("cli",),
    "rich": ("cli",),
    "asyncpg": ("platform", "upload.source"),
    "pyarrow": ("upload",),
    "backports": ("storage",),
    "compression": ("storage",),
}
ABROAD = {  # Module: why it imports a library of another floor.
    "platform.notify.notifier": "the platform is a client too: it posts events",
    "platform.notify.addresses": "an address is read by the parser of the library that will connect to it",
}
LATE = {  # Module: why it may import when it runs, and not when it is loaded.
    "client.network": "the second transport is needed where the first can't run",
    "wire.keys": "what reads certificates takes longer to load than all else of it, and few settings name one",
    "cli.output": "a display is imported when there is a terminal for it, and something to wait for",
    "cli.start": "the list of commands is printed without loading what runs them",
    "cli.init": "a template of settings needs no platform",
    "cli.language": "English needs no catalogue, and does not wait for one",
    "cli.main": "a command's module is loaded when the command runs, so that --help is quick",
    "platform.pool.__init__": "PostgreSQL's package is an extra",
    "platform.pool.maintenance": "PostgreSQL's package is an extra",
    "upload.codes": "numpy takes long to import, and the other command on codes can do without",
    "upload.spool": "numpy takes as long to import as a small file to read",
    "extras": "an extra may be absent, and its absence is told by name",
    "__init__": "a name is imported when it is first asked for, so that `import quanma` is quick",
}


def test_imports_go_down() -> None:
    assert len(sources()) > 40
    assert [breach for module, source in sources().items() for breach in breaches(module, source)] == []


def test_what_serves_never_imports_the_sandbox() -> None:
    importing = {
        module
        for module, source in sources().items()
        if not module.startswith("sandbox")
        and any(name.startswith("quanma.sandbox") for name in imported(module, source.nodes))
    }
    assert importing == {"cli.sandbox"}
    code = "import sys, quanma.cli.platform; print([one for one in sys.modules if one.startswith('quanma.sandbox')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_every_exception_is_a_module() -> None:
    assert LATE.keys() | ABROAD.keys() <= sources().keys()


def test_a_module_may_import_a_library_of_another_floor_only_with_a_reason() -> None:
    single = {home for homes in LIBRARIES.values() for home in homes if home in sources()}
    assert single == ABROAD.keys()


@every_row(
    ("module", "source", "breach"),
    [
        ("wire.codec", "from ..client import client", "wire.codec imports client"),
        ("client.client", "from ..platform.pool import open_pool", "client.client imports platform"),
        ("client.client", "from .. import platform", "client.client imports platform"),
        ("client.client", "from quanma.platform import app", "client.client imports platform"),
        ("client.client", "import quanma.platform.app", "client.client imports platform"),
        ("platform.pool.sqlite", "from ...client.config import load", "platform.pool.sqlite imports client"),
        ("upload.uploader", "from ..wire import codec", "upload.uploader imports wire"),
        ("upload.source.query", "from ...platform import config", "upload.source.query imports platform"),
        ("upload.ledger", "import asyncpg", "upload.ledger imports asyncpg, which belongs in platform, upload.source"),
        (
            "platform.handlers",
            "import pyreqwest",
            (
                "platform.handlers imports pyreqwest, which belongs in client, platform.notify.notifier, "
                "platform.notify.addresses"
            ),
        ),
        ("events", "from .platform import app", "events imports platform"),
        ("api.fields", "import cryptography.x509", "api.fields imports cryptography, which belongs in wire"),
        ("wire.codec", "def load():\n    import json", "wire.codec imports json late"),
        ("wire.codec", "json = __import__('json')", "wire.codec imports by name"),
        ("wire.codec", "import importlib\njson = importlib.import_module('json')", "wire.codec imports by name"),
        ("errors", "from .api import rules", "errors imports api"),
        ("storage.private", "from ..settings import files", "storage.private imports settings"),
    ],
)
def test_a_breach_is_seen(module: str, source: str, breach: str) -> None:
    assert list(breaches(module, parsed(source))) == [breach]


@every_row(
    ("module", "source"),
    [
        ("client.client", "from ..wire import codec\nfrom . import config\nimport pyreqwest.client"),
        ("platform.pool.__init__", "from ...errors import Misconfigured\nfrom .sqlite import SqlitePool"),
        ("upload.source.query", "import asyncpg"),
        ("platform.notify.notifier", "from pyreqwest.client import ClientBuilder"),
        ("events", "from .api.events import CouponSent\nfrom .client.events import Receiver"),
    ],
)
def test_imports_that_go_down_are_no_breach(module: str, source: str) -> None:
    assert list(breaches(module, parsed(source))) == []


def breaches(module: str, source: Source) -> Iterator[str]:
    """What a module's source imports against the rules."""
    floor = module.split(".")[0]
    nodes = source.nodes
    for name in imported(module, nodes):
        package, _, rest = name.partition(".")
        if package == "quanma":
            below = rest.partition(".")[0]
            if below != floor and below not in FLOORS[floor]:
                yield f"{module} imports {below}"
        elif not any(f"{module}.".startswith(f"{home}.") for home in LIBRARIES.get(package, [module])):
            yield f"{module} imports {package}, which belongs in {', '.join(LIBRARIES[package])}"
    if module not in LATE:
        yield from (f"{module} imports {name} late" for name in late(nodes))
        if by_name(nodes):
            yield f"{module} imports by name"


def imported(module: str, nodes: list[ast.AST]) -> Iterator[str]:
    """The absolute names of what is imported."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["quanma", *module.split(".")][: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            # "from .. import client" names the package in its list.
            yield from (f"quanma.{alias.name}" for alias in node.names) if base == "quanma" else [base]


def late(nodes: list[ast.AST]) -> Iterator[str]:
    inside = {node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) and node.col_offset > 0}
    for function in nodes if inside else ():
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield getattr(node, "module", None) or node.names[0].name


def by_name(nodes: list[ast.AST]) -> bool:
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    names = {getattr(function, "id", None) or getattr(function, "attr", None) for function in called}
    return bool(names & {"__import__", "import_module"})
