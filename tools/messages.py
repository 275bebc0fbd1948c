"""The texts for people in a module's source: its messages. Pure.

An f-string is a template: `f"made {folder}"` is the message `made {folder}`. What an f-string chooses from is written
out, up to four whole sentences: `f"{count} row{'s' if count != 1 else ''}"` is two messages. A name that stands for
another text is a field; that text is a message of its own.

A text is what reads as words: two of them, or one beside a field. Statements of SQL, headers of HTTP, lines of the log,
what is compared, and errors that only the author of a program sees are none.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Sequence
from inspect import cleandoc
from itertools import count
from typing import Final

ALTERNATIVES_MAX: Final = 4
Part = str | ast.expr
"""Of a text: what is written, or a field's expression."""

_WORDS: Final = re.compile(
    r"(?<![\w./<-])[A-Za-z][a-z']+[,:;)]? (?:[(`'\"]?[A-Za-z]|\0|\d|×|%|--)"  # two words, or one and a field
    r"|(?:\0|[a-z,:;]) [(]?[a-z']{2,}(?![\w=])"
    r"|× |^[a-z]{3,}\0$"
)
"""What reads as words; \\0 is a field."""
_SQL: Final = (
    *("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "PRAGMA", "BEGIN", "COMMIT", "ROLLBACK"),
    *("SAVEPOINT", "RELEASE", "WITH", "SET", "LOCK", "COPY", "EXPLAIN", "SHOW", "TRUNCATE", "AND", "OR", "WHERE"),
    *("FROM", "ON", "ORDER", "VALUES", "RETURNING", "LISTEN", "NOTIFY", "GRANT", "IN", "IF", "ANALYZE", "INTO"),
    *("EXISTS", "JOIN", "unnest", "current_setting", "operation =", "state ="),
)
_OTHER_LANGUAGES: Final = re.compile(
    rf"\s*(?:{'|'.join(_SQL)}|Basic|Date:|Connection:|[0-9]{{3}} [A-Z])(?!\w)"
    r"|[<{]|#:schema|Content-|HTTP/1|--quanma-|''|e\.history|listening on|host = |now\(\)|[A-Z]+=[0-9]"
    r"|.*(?:unknown_attempts|unknown_of_number|platform_cert\.pem)|quanma(?: \0|[a-z -]*)$|[A-Z_]+$"
)
"""SQL, HTTP, XML, settings, commands, and the line that scripts wait for."""
_NO_TEXTS: Final = ("_FOR_GOOD", "MEANT", "OPTIONS", "EXAMPLES", "TEMPLATE", "FIELDS")
"""What these names hold."""
_TELLERS: Final = ("tell", "say", "said", "confirm", "status", "update")
"""What these are given is a text, of one word too."""
_TAKERS: Final = (
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
)
"""What these are given is looked for in a text, or sent to a database."""
_NO_TEXTS_BELOW: Final = (ast.Name, ast.expr_context, ast.operator, ast.cmpop, ast.alias, ast.Pass)
_LOGGERS: Final = ("log", "_log", "logger", "_logger", "LOG", "_LOG", "logging")
_LOG_METHODS: Final = ("debug", "info", "warning", "error", "critical", "exception", "log")
_ERRORS_OF_PROGRAMS: Final = (
    *("TypeError", "AttributeError", "RuntimeError", "NotImplementedError", "AssertionError", "ImportError"),
)


def messages_of(source: str) -> list[str]:
    """Every message of a module, in its order."""
    return list(dict.fromkeys(_Module(tree_of(source)).messages()))


@functools.cache
def tree_of(source: str) -> ast.Module:
    """A module as it is read: once, for all who only look at it."""
    return ast.parse(source)


def children(node: ast.AST) -> list[ast.AST]:
    """What stands in a node, as `ast.iter_child_nodes` has it, in a third of its time."""
    found: list[ast.AST] = []
    for value in vars(node).values():
        if isinstance(value, list):
            found += [one for one in value if isinstance(one, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a help text, each in one line."""
    return [" ".join(one.split()) for one in cleandoc(text).split("\n\n") if one.strip()]


class _Module:
    """The messages of one module."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._taken: set[int] = set()
        self._found: list[tuple[int, str]] = []
        self._functions: list[_Function] = []

    def messages(self) -> list[str]:
        self._walk(self._tree, teller=False)
        return [text for _, text in sorted(self._found)]

    def _walk(self, node: ast.AST, *, teller: bool) -> None:
        if isinstance(node, _NO_TEXTS_BELOW):
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name in ("__repr__", "__getattr__"):
                return
            self._add_help(node)
            self._functions.append(_Function(node))
            for below in children(node):
                self._walk(below, teller=False)
            self._functions.pop()
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
        for below in children(node):
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
            if isinstance(value, ast.Name) and self._functions:
                value = self._functions[-1].assigned_once.get(value.id, value)
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
        if said and not _OTHER_LANGUAGES.match(plain):
            self._found.append((line, message))

    def _add_help(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """What `--help` says of a command: its paragraphs."""
        words = [_called(one) if isinstance(one, ast.Call) else "" for one in node.decorator_list]
        if {"command", "group"} & {*words}:
            for paragraph in paragraphs(ast.get_docstring(node) or ""):
                self._found.append((node.lineno, _escaped(paragraph)))


class _Function:
    def __init__(self, node: ast.AST) -> None:
        self._node = node

    @functools.cached_property
    def assigned_once(self) -> dict[str, ast.expr]:
        """Looked for where a text names something: few functions have such a text."""
        return _assigned_once(self._node)


def _assigned_to(node: ast.AnnAssign | ast.Assign) -> str:
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    return getattr(target, "id", "")


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
    return isinstance(node.exc, ast.Call) and _called(node.exc) in _ERRORS_OF_PROGRAMS


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
        given = _spec(part.format_spec)
        return part.value, f":{given}" if given.endswith(tuple("dfg,xX")) else ""
    return part, ":d" if _is_count(part) else ""


def _is_count(node: ast.expr) -> bool:
    """Whether it is a number for certain: a length, or what is counted from one."""
    if isinstance(node, ast.BinOp):
        sides = (node.left, node.right)
        return any(_is_count(side) or (isinstance(side, ast.Constant) and side.value == 1) for side in sides)
    return isinstance(node, ast.Call) and _called(node) == "len"


def _spec(spec: ast.expr | None) -> str:
    """A format that is written out; empty for one that is made at run time."""
    parts = spec.values if isinstance(spec, ast.JoinedStr) else []
    written = [str(one.value) for one in parts if isinstance(one, ast.Constant)]
    return "".join(written) if len(written) == len(parts) else ""


def _name(node: ast.expr) -> str:
    """What a field is called: the last name in its expression."""
    if isinstance(node, ast.Name):
        return node.id.strip("_")
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_")
    if isinstance(node, ast.Call):
        if node.args:
            return _name(node.args[0])
        return _name(node.func.value if isinstance(node.func, ast.Attribute) else node.func)
    for below in ast.iter_child_nodes(node):
        if isinstance(below, ast.expr) and not isinstance(below, ast.Constant):
            return _name(below)
    return "value"
