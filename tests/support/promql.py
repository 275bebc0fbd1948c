"""Which series an expression of Prometheus reads: names, labels that are compared, labels that are kept.

It takes expressions that are well formed: `promtool` finds those that are not, where there is one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_RANGE = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r'(?<![\w.])([a-zA-Z_:][\w:]*)\s*(?:\{((?:[^"}]|"(?:\\.|[^"\\])*")*)\}|(?![\w:]*\s*\())')
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:\\.|[^"\\])*)"')
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


class Selector(NamedTuple):
    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()
    """Label, operator, text."""


def selectors(expression: str) -> list[Selector]:
    """Return what an expression selects, in its order."""
    plain = _GROUPING.sub(" ", _RANGE.sub(" ", expression))
    found = [Selector(name, tuple(_MATCHER.findall(matchers))) for name, matchers in _SELECTOR.findall(plain)]
    return [one for one in found if one.name.lower() not in _WORDS]


def grouped(expression: str) -> set[str]:
    """Return the labels that its aggregations and joins name."""
    return {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",") if label.strip()}
