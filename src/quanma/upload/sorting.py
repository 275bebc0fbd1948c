"""Rows that are taken and rows that are not, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

from ..api.rules import CodeRule
from . import diagnosis
from .odd import odd_ones
from .reasons import Reason
from .rows import row_id
from .source import Block


class Rejected(NamedTuple):
    row: int
    text: str
    reason: str
    reason_code: str = ""


class SortedBlock(NamedTuple):
    """A block's good rows and bad rows."""

    rows: Sequence[int]
    codes: list[str]
    rejected: list[Rejected]


def sorted_block(block: Block, input_no: int, rule: CodeRule, *, take_odd: bool = False) -> SortedBlock:
    """Take a block's good rows and bad rows apart. The common block, all good, costs nothing per row in Python."""
    first = row_id(input_no, 0)
    rows: Sequence[int] = (
        range(block.rows.start + first, block.rows.stop + first)
        if isinstance(block.rows, range) and block.rows.step == 1
        else [row + first for row in block.rows]
    )
    problems = block.problems
    if not take_odd and (odd := odd_ones(block.codes)):
        problems = {**odd, **problems}
    if not problems and rule.takes_all(block.codes):
        return SortedBlock(rows, block.codes, [])
    verdicts: list[object] = list(map(rule.pattern.fullmatch, block.codes))
    for index in problems:
        verdicts[index] = None
    rejected: list[Rejected] = []
    for index, code in enumerate(block.codes):
        if verdicts[index] is None:
            reason = (
                problems.get(index) or diagnosis.explain(code, rule) or Reason("CHARACTER", "the code is not allowed")
            )
            rejected.append(Rejected(rows[index], code, reason, reason.code))
    return SortedBlock(list(compress(rows, verdicts)), list(compress(block.codes, verdicts)), rejected)
