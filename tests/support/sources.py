"""The modules of the package as they are written: read and parsed once in a process."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import NamedTuple

import quanma
from tools.messages import children, tree_of

ROOT = Path(quanma.__file__).parent


class Source(NamedTuple):
    tree: ast.Module
    nodes: list[ast.AST]
    """All of the tree."""


@functools.cache
def sources() -> dict[str, Source]:
    """By the module's name inside the package, as `client.config` or `client.__init__`."""
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): parsed(file.read_text("utf-8"))
        for file in sorted(ROOT.rglob("*.py"))
    }


def parsed(text: str) -> Source:
    tree = tree_of(text)
    return Source(tree, _nodes(tree))


def _nodes(tree: ast.Module) -> list[ast.AST]:
    """As `ast.walk` has them."""
    found: list[ast.AST] = [tree]
    for node in found:  # It grows on the way.
        found += children(node)
    return found
