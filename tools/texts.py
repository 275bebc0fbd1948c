"""The texts that a person sees: found in the source, put into the catalogues, compiled.

    python -m tools.texts      after a text was added or changed: says what is still to be translated

The English text in the source is the key of its translation. An f-string is a template: `f"made {folder}"` is the
message `made {folder}`. What an f-string chooses from is written out, up to four whole sentences; what stands in it as
the name of another text is a field of its own, and the command line translates that too.
"""

from __future__ import annotations

import ast
import datetime
import io
import re
import sys
from collections.abc import Sequence
from inspect import cleandoc
from itertools import count
from pathlib import Path
from typing import Final

import msgspec
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from quanma.api.described import fields_of
from quanma.api.tree import OPERATIONS

SOURCE = Path(__file__).parents[1] / "src/quanma"
TEMPLATE = SOURCE / "cli/locale/quanma.pot"
CATALOGUE = SOURCE / "cli/locale/zh/LC_MESSAGES/quanma.po"

NOT_FOR_PEOPLE: Final = (
    "__init__.py",
    "api/openapi.py",  # a document, for programs
    "api/operation.py",  # what follows, to "wire", is told to programs that call the client
    "client/claims.py",
    "client/paysign.py",
    "client/receiving.py",
    "client/sensitivefields.py",
    "wire/eventbody.py",
    "wire/v2sign.py",
    "wire/values.py",
    "cli/examples.py",  # commands
    "client/attempts.py",  # lines of the log
    "serving/arriving.py",
    "serving/http1.py",
    "serving/redact.py",
    "platform/metrics.py",
    "platform/spans.py",
    "platform/pool/postgres/queries.py",
)
"""Modules whose texts are no messages."""

ALTERNATIVES_MAX: Final = 4
Part = str | ast.expr | ast.FormattedValue

_NO_TEXT = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|WITH|SET|LOCK|COPY"
    r"|EXPLAIN|SHOW|TRUNCATE|AND|OR|WHERE|FROM|ON|ORDER|VALUES|RETURNING|LISTEN|NOTIFY|GRANT|IN|IF|ANALYZE|INTO|EXISTS"
    r"|unnest|current_setting|operation =|state =|Basic|Date:|Connection:|[0-9]{3} [A-Z])(?!\w)"
    r"|[<{]|Content-|HTTP/1|--quanma-|''|e\.history|listening on|host = |.*(unknown_attempts|unknown_of_number|platform_cert\.pem)|quanma( \0|[a-z -]*)$|[A-Z_]+$"
)
"""Statements of SQL, headers of HTTP, XML, commands: words of other languages."""
_NO_TEXTS = ("_FOR_GOOD", "MEANT", "OPTIONS", "EXAMPLES", "TEMPLATE", "FIELDS")
"""What these names hold."""
_WORDS = re.compile(
    r"(?<![\w./<-])[A-Za-z][a-z']+[,:;)]? (?:[(`'\"]?[A-Za-z]|\0|\d|×|%|--)|(?:\0|[a-z,:;]) [(]?[a-z']{2,}(?![\w=])|× |^[a-z]{3,}\0$"
)
_TELLERS = {"tell", "say", "said", "confirm", "status", "update"}
"""What these are given is a text, of one word too."""
_TAKERS = {
    *("execute", "executemany", "fetch", "fetchrow", "fetchval", "filterwarnings"),
    *(
        "startswith",
        "endswith",
        "removeprefix",
        "removesuffix",
        "partition",
        "split",
        "replace",
        "strip",
        "find",
        "index",
    ),
}
"""What these are given is looked for in a text, or sent to a database."""
_LOGGERS = {"log", "_log", "logger", "_logger", "LOG", "_LOG", "logging"}
_LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception", "log"}


def texts() -> dict[str, list[str]]:
    """Every message, and the modules that it stands in."""
    found: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name not in NOT_FOR_PEOPLE and not name.endswith("/queries.py"):
            for text in dict.fromkeys(_Module(ast.parse(path.read_text("utf-8"))).messages()):
                found.setdefault(text, []).append(name)
    for name, more in {"api (fields of requests)": fields(), **OUTSIDE}.items():
        for text in more:
            found.setdefault(text, []).append(name)
    return found


class _Module:
    """The messages of one module."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._taken: set[int] = set()
        self._found: list[tuple[int, str]] = []
        self._names: list[dict[str, ast.expr]] = []

    def messages(self) -> list[str]:
        self._walk(self._tree, teller=False)
        return [text for _, text in sorted(self._found)]

    def _walk(self, node: ast.AST, *, teller: bool) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name in ("__repr__", "__getattr__"):
                return
            self._add_help(node)
            self._names.append(_assigned_once(node))
            for below in ast.iter_child_nodes(node):
                self._walk(below, teller=False)
            self._names.pop()
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # A docstring.
        if isinstance(node, (ast.AnnAssign, ast.Assign)) and _assigned_to(node) in _NO_TEXTS:
            return
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self._walk(node.value, teller=False)
            return
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
            return
        if isinstance(node, (ast.Assert, ast.Compare)):
            return
        if isinstance(node, ast.Call) and _is_not_for_people(node):
            return
        if isinstance(node, ast.Raise) and _is_a_programs(node):
            return
        if id(node) not in self._taken and _is_text(node):
            assert isinstance(node, ast.expr)
            for parts in self._alternatives(node):
                self._add(node.lineno, parts, teller=teller)
        teller = isinstance(node, ast.Call) and _called(node) in _TELLERS
        for below in ast.iter_child_nodes(node):
            self._walk(below, teller=teller)

    def _alternatives(self, node: ast.expr) -> list[list[Part]]:
        """The sentences that a text may be."""
        self._taken.add(id(node))
        if isinstance(node, ast.Constant):
            return [[str(node.value)]]
        if isinstance(node, ast.IfExp):
            return [*self._alternatives(node.body), *self._alternatives(node.orelse)]
        made: list[list[Part]] = [[]]
        sides = node.values if isinstance(node, ast.JoinedStr) else _sides(node)
        for side in sides:
            chosen = self._choices(side, ALTERNATIVES_MAX // len(made))
            made = [[*before, *after] for before in made for after in chosen]
        return made

    def _choices(self, side: ast.expr, most: int) -> list[list[Part]]:
        value = side
        if isinstance(side, ast.FormattedValue):
            self._taken.add(id(side))
            if side.format_spec is not None:
                self._taken.add(id(side.format_spec))
                return [[side]]
            if side.conversion != -1:
                return [[side]]
            value = side.value
            if isinstance(value, ast.Name) and self._names:
                value = self._names[-1].get(value.id, value)
        if _is_text(value):
            kept = set(self._taken)
            found = self._alternatives(value)
            if len(found) <= most:
                return found
            self._taken = kept
        return [[side.value if isinstance(side, ast.FormattedValue) else side]]

    def _add(self, line: int, parts: Sequence[Part], *, teller: bool = False) -> None:
        message = _message(parts)
        plain = "".join(part if isinstance(part, str) else "\0" for part in parts)
        said = re.search("[A-Za-z]{2}", plain) if teller else _WORDS.search(plain)
        if said and not _NO_TEXT.match(plain):
            self._found.append((line, message))

    def _add_help(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """What `--help` says of a command: its paragraphs."""
        words = [_called(one) if isinstance(one, ast.Call) else "" for one in node.decorator_list]
        if {"command", "group"} & {*words}:
            for paragraph in paragraphs(ast.get_docstring(node) or ""):
                self._found.append((node.lineno, _escaped(paragraph)))


def fields() -> list[str]:
    """What stands below a field of a request in its declaration: `quanma api OPERATION --help` shows it."""
    found: list[str] = []

    def add(struct: type[msgspec.Struct]) -> None:
        for one in fields_of(struct):
            found.append(_escaped(one.about))
            if one.below is not None:
                add(one.below)

    for operation in OPERATIONS:
        add(operation.request)
    return [*filter(None, dict.fromkeys(found))]


def _assigned_to(node: ast.AnnAssign | ast.Assign) -> str:
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    return getattr(target, "id", "")


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a help text, each in one line."""
    return [" ".join(one.split()) for one in cleandoc(text).split("\n\n") if one.strip()]


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) and _is_text(node.orelse)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return any(map(_is_text, _sides(node)))
    return isinstance(node, ast.JoinedStr)


def _sides(node: ast.AST) -> list[ast.expr]:
    assert isinstance(node, ast.BinOp)
    left = _sides(node.left) if isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Add) else [node.left]
    return [*left, node.right]


def _assigned_once(function: ast.AST) -> dict[str, ast.expr]:
    """The names of a function that are given one text, in one place."""
    given: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            given.setdefault(node.id, []).append(None)
        elif isinstance(node, ast.arg):
            given.setdefault(node.arg, []).append(None)
    once = {}
    for name, values in given.items():
        texts_of = [one for one in values if one is not None]
        if len(values) == 2 and len(texts_of) == 1 and _is_text(texts_of[0]):  # The target is a Name too.
            once[name] = texts_of[0]
    return once


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_not_for_people(node: ast.Call) -> bool:
    owner = getattr(node.func, "value", None)
    name = _called(node)
    owned = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
    if name in _LOG_METHODS and owned in _LOGGERS:
        return True
    return owned == "re" or name in _TAKERS


def _is_a_programs(node: ast.Raise) -> bool:
    """An error that only a program's author sees."""
    return isinstance(node.exc, ast.Call) and _called(node.exc) in (
        "TypeError",
        "AttributeError",
        "RuntimeError",
        "NotImplementedError",
        "AssertionError",
        "ImportError",
    )


def _message(parts: Sequence[Part]) -> str:
    names: dict[str, str] = {}
    said: list[str] = []
    for part in parts:
        if isinstance(part, str):
            said.append(_escaped(part))
            continue
        value, form = _field(part)
        name, key = _name(value), ast.unparse(value)
        if key not in names:
            taken = set(names.values())
            names[key] = next(one for n in count(1) if (one := name if n == 1 else f"{name}_{n}") not in taken)
        said.append(f"{{{names[key]}{form}}}")
    # What a text is put behind, with a sign between, is translated by itself.
    return "".join(said).strip().removeprefix("; ").removeprefix(": ").removeprefix(", ")


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _field(part: ast.expr) -> tuple[ast.expr, str]:
    """The expression of a field, and what is known of its form: `:,` of a number, `!r` of a quoted text."""
    if isinstance(part, ast.FormattedValue):
        if part.conversion == ord("r"):
            return part.value, "!r"
        spec = part.format_spec
        given = "".join(one.value for one in spec.values) if isinstance(spec, ast.JoinedStr) and _is_plain(spec) else ""
        return part.value, f":{given}" if given.endswith(tuple("dfg,xX")) else ""
    return part, ":d" if _is_count(part) else ""


def _is_count(node: ast.expr) -> bool:
    """Whether it is a number for certain: a length, or what is counted from one."""
    if isinstance(node, ast.BinOp):
        sides = (node.left, node.right)
        return any(_is_count(side) or (isinstance(side, ast.Constant) and side.value == 1) for side in sides)
    return isinstance(node, ast.Call) and _called(node) == "len"


def _is_plain(spec: ast.JoinedStr) -> bool:
    return all(isinstance(one, ast.Constant) for one in spec.values)


def _name(node: ast.expr) -> str:
    """What a field is called: the last name in its expression."""
    if isinstance(node, ast.Name):
        return node.id.strip("_")
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_")
    if isinstance(node, ast.Call):
        return (
            _name(node.args[0])
            if node.args
            else _name(node.func.value if isinstance(node.func, ast.Attribute) else node.func)
        )
    for below in ast.iter_child_nodes(node):
        if isinstance(below, ast.expr) and not isinstance(below, ast.Constant):
            return _name(below)
    return "value"


OUTSIDE: Final[dict[str, tuple[str, ...]]] = {
    "click": (
        "Usage:",
        "Options",
        "Commands",
        "Examples:",
        "required",
        "default: {default}",
        "env var: {var}",
        "Show this message and exit.",
        "Show the version and exit.",
        "Error: {message}",
        "Aborted!",
        "Missing command.",
        "Missing argument '{name}'.",
        "Missing option '{name}'.",
        "Missing option '{name}'. Choose from:\n\t{choices}",
        "Missing parameter: {param_name}",
        "Got unexpected extra argument ({args})",
        "Got unexpected extra arguments ({args})",
        "Invalid value: {message}",
        "Invalid value for {param_hint}: {message}",
        "No such option {name!r}.",
        "No such option: {name}",
        "No such option {name!r}. {possibilities}",
        "No such command {name!r}.",
        "Did you mean {possibility}?",
        "(Did you mean one of: {possibilities}?)",
        "(Possible options: {possibilities})",
        "Option {name!r} requires an argument.",
        "Option {name!r} requires {nargs} arguments.",
        "Option {name!r} does not take a value.",
        "Takes {nargs} values but 1 was given.",
        "{value!r} is not {choice}.",
        "{value!r} is not one of {choices}.",
        "{value!r} is not a valid {number_type}.",
        "{value} is not in the range {range}.",
        "integer",
        "float",
        "integer range",
        "float range",
        "file",
        "directory",
        "path",
        "{name} {filename!r} does not exist.",
        "{name} {filename!r} is a file.",
        "{name} {filename!r} is a directory.",
        "{name} {filename!r} is not readable.",
    ),
    "the system": (
        "No such file or directory",
        "Permission denied",
        "Operation not permitted",
        "File exists",
        "Is a directory",
        "Not a directory",
        "Directory not empty",
        "No space left on device",
        "Disk quota exceeded",
        "Read-only file system",
        "Too many open files",
        "File name too long",
        "Input/output error",
        "Too many levels of symbolic links",
        "Address already in use",
        "Cannot assign requested address",
        "Connection refused",
        "Connection reset by peer",
        "Network is unreachable",
        "No route to host",
        "Name or service not known",
        "Temporary failure in name resolution",
        "timed out",
        "[Errno {number:d}] {what}: {path}",
        "[Errno {number:d}] {what}",
        "{what} (os error {number:d})",
    ),
    "words of lists and limits": (
        "characters",
        "empty",
        "`{one}` or `{other}`",
        "`{one}` or `{other}` or `{third}`",
        "--{one} or --{other}",
        "--{one} or --{other} or --{third}",
    ),
    "Python": (
        "Error {number:d} while decompressing data: {why}",
        "incorrect header check",
        "incorrect data check",
        "invalid distance too far back",
        "invalid block type",
        "Compressed file ended before the end-of-stream marker was reached",
        "Unable to decompress Zstandard data: {why}",
        "Restored data doesn't match checksum",
        "Frame requires too much memory for decoding",
        "Data corruption detected",
        "connection closed before message completed",
        "received corrupt message of type {kind}",
        "Remote end closed connection without response",
        "connection error",
        "invalid peer certificate: {why}",
        "ordinal not in range({limit:d})",
        "no element found",
        "not well-formed (invalid token)",
        "mismatched tag",
        "field larger than field limit ({limit:d})",
        "maximum recursion depth exceeded",
        "Expected ']' at the end of a table declaration",
        "Expected ']]' at the end of an array declaration",
        "Unclosed array",
        "Invalid initial character for a key part",
        "Invalid date or datetime",
        "line contains NUL",
        "unexpected end of data",
        "'{codec}' codec can't decode byte {byte} in position {position:d}: {why}",
        "invalid start byte",
        "invalid continuation byte",
        "(at line {line:d}, column {column:d})",
        "(at end of document)",
        "{what} (at line {line:d}, column {column:d})",
        "Expected '=' after a key in a key/value pair",
        "Invalid value",
        "Invalid statement",
        "Cannot overwrite a value",
        "Unterminated string",
        "Illegal character {character}",
        "Expected newline or end of document after a statement",
    ),
    "SQLite": (
        "file is not a database",
        "database disk image is malformed",
        "unable to open database file",
        "disk I/O error",
        "database or disk is full",
        "attempt to write a readonly database",
        "database is locked",
        "no such table: {table}",
        "no such column: {column}",
    ),
    "msgspec": (
        "Object missing required field `{field}`",
        "Object missing required field `{field}` - at `{path}`",
        "Object contains unknown field `{field}`",
        "Object contains unknown field `{field}` - at `{path}`",
        "Expected `{expected}`, got `{got}`",
        "Expected `{expected}`, got `{got}` - at `{path}`",
        "Expected `{expected}` of length {limit}",
        "Expected `{expected}` of length {limit} - at `{path}`",
        "Expected `{expected}` {limit}",
        "Expected `{expected}` {limit} - at `{path}`",
        "Expected `{expected}` matching regex {regex}",
        "Expected `{expected}` matching regex {regex} - at `{path}`",
        "Invalid enum value {value}",
        "Invalid enum value {value} - at `{path}`",
        "JSON is malformed: {problem}",
        "JSON is malformed: {problem} (byte {place:d})",
        "{problem} - at `{path}`",
        "Number out of range",
        "Integer value out of range",
        "Input data was truncated",
        "invalid character",
        "unexpected character",
        "trailing characters",
        "object keys must be strings",
        "expected ',' or '}}'",
        "expected ',' or ']'",
        "expected ':'",
        "invalid number",
    ),
}
"""Texts of what the program is made with, as people may see them in an error."""


def main() -> int:
    """Write the template anew, merge it into the catalogue, compile that. The exit status says if a text lacks."""
    catalogue = updated(read(CATALOGUE))
    TEMPLATE.parent.mkdir(parents=True, exist_ok=True)
    CATALOGUE.parent.mkdir(parents=True, exist_ok=True)
    TEMPLATE.write_bytes(written(template()))
    CATALOGUE.write_bytes(written(catalogue))
    CATALOGUE.with_suffix(".mo").write_bytes(compiled(catalogue))
    missing = [str(one.id) for one in catalogue if one.id and not one.string]
    for text in missing:
        print(repr(text))
    print(f"{len(catalogue)} texts, {len(missing)} still to be translated in {CATALOGUE.name}")
    return 1 if missing else 0


def template() -> Catalog:
    """What there is to be translated."""
    made = Catalog(project="quanma", fuzzy=False, charset="utf-8")
    for text, modules in texts().items():
        made.add(text, locations=[(name, None) for name in modules])  # type: ignore[misc]
    return made


def updated(catalogue: Catalog) -> Catalog:
    """The catalogue with the texts that there are, and no others."""
    made = Catalog(locale="zh", project="quanma", fuzzy=False, charset="utf-8")
    for text, modules in texts().items():
        known = catalogue.get(text)
        made.add(text, known.string if known else "", locations=[(name, None) for name in modules])  # type: ignore[misc]
    return made


def read(path: Path) -> Catalog:
    if not path.exists():
        return Catalog(locale="zh")
    with path.open("rb") as file:
        return read_po(file, locale="zh")


def written(catalogue: Catalog) -> bytes:
    """As a .po file, the same each time: without dates and line numbers."""
    file = io.BytesIO()
    write_po(file, catalogue, width=120, omit_header=True, sort_by_file=False)
    header = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Content-Transfer-Encoding: 8bit\\n"\n'
    return header.encode() + b"\n" + file.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """As a .mo file."""
    made = Catalog(locale="zh", charset="utf-8", creation_date=_LONG_AGO, revision_date=_LONG_AGO)
    for one in catalogue:
        if one.id:
            made.add(one.id, one.string)
    file = io.BytesIO()
    write_mo(file, made)
    return file.getvalue()


_LONG_AGO = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""The same bytes each time hold no time of their writing."""


if __name__ == "__main__":
    sys.exit(main())
