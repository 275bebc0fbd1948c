"""What is told of an input once it is read: the kinds of rejected rows, of warnings, and a few codes. Pure.

Each kind is told in one line, with how many rows it has and the first of them. No line holds a whole code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from ..api.rules import CodeRule
from ..errors import masked
from . import diagnosis
from .reasons import REMARKS, TITLES, WARNINGS
from .rows import input_and_row
from .sorting import SortedBlock, sorted_block
from .source import Block

ROWS_TOLD: Final = 3
CODES_MIN: Final = 4
"""With fewer codes, nothing is said of their lengths."""
RARE_SHARE: Final = 100
"""One code of so many is rare."""
REPEATS_SHARE: Final = 10
"""One row of so many may repeat an earlier one before it is told."""
SAFE_DIGITS: Final = 15
"""What a spreadsheet keeps of a number. Source: documented, for Excel."""
BY_CHANCE_DIGITS: Final = 2
"""So many zeros behind the 15th digit, in all codes together, are no chance."""


class Kind:
    """Rows of one kind."""

    def __init__(self) -> None:
        self.count = 0
        self.rows: list[int] = []
        self.words = ""

    def add(self, rows: Sequence[int], words: str = "", count: int | None = None) -> None:
        self.words = self.words or words
        self.count += len(rows) if count is None else count
        self.rows += rows[: ROWS_TOLD - len(self.rows)]


class Survey:
    """Looks at every block of the inputs, and keeps little of it."""

    def __init__(self, names: Sequence[str], rule: CodeRule, *, take_odd: bool = False) -> None:
        self.rows = self.left_out = self.rejected = 0
        self._names = names
        self._rule = rule
        self._take_odd = take_odd
        self._rejected: dict[str, Kind] = {}
        self._told: dict[str, Kind] = {}
        self._lengths: Counter[int] = Counter()
        self._rows_of_length: dict[int, list[int]] = {}
        self._long_digits = 0
        self._zeros = Kind()
        self._digits_behind = 0
        self._zeros_expected = 0.0
        self._first: list[str] = []
        self._last = ""

    def add(self, input_no: int, block: Block) -> SortedBlock:
        """Count a block, and return it sorted."""
        good = sorted_block(block, input_no, self._rule, take_odd=self._take_odd)
        self.rows += len(block.codes)
        self.left_out += block.left_out
        self.rejected += len(good.rejected)
        for one in good.rejected:
            self._rejected.setdefault(one.reason_code, Kind()).add([one.row], one.reason)
        first = good.rows[0] - input_and_row(good.rows[0])[1] if good.rows else 0
        for code, row in block.remarks:
            self._told.setdefault(code, Kind()).add([first + row])
        if good.codes:
            self._look_at(good.rows, good.codes)
        return good

    def reasons(self) -> list[str]:
        """The kinds of rejected rows, the most frequent first."""
        kinds = sorted(self._rejected.items(), key=lambda one: -one[1].count)
        return [self._line(TITLES.get(code, code.lower()), kind) for code, kind in kinds]

    def remarks(self) -> list[str]:
        return [self._line(REMARKS[code], kind) for code, kind in self._told.items() if code in REMARKS]

    def warnings(self, duplicate: int) -> list[str]:
        """The kinds of rows that are taken and look wrong. `duplicate`: how many repeat an earlier one."""
        found = {code: kind for code, kind in self._told.items() if code in WARNINGS}
        if far := self._far_lengths():
            found["FAR_LENGTH"] = far
        zeros = self._zeros
        if zeros.count and (
            (zeros.count == self._long_digits and self._digits_behind >= BY_CHANCE_DIGITS)
            or zeros.count > 5 * self._zeros_expected + 3
        ):
            zeros.words = (
                f"a spreadsheet keeps {SAFE_DIGITS} digits of a number, and these codes seem to have lost the others: "
                "export the column as text from where the codes were made"
            )
            found["ZEROS_FROM_16TH"] = zeros
        if duplicate >= ROWS_TOLD and duplicate * REPEATS_SHARE >= self.rows - self.rejected:
            repeats = Kind()
            repeats.add([], "is this the column with the codes, and did nothing cut or round them?", duplicate)
            found["MANY_REPEATS"] = repeats
        for code, words in _WORDS.items():
            if code in found:
                found[code].words = found[code].words or words
        return [self._line(WARNINGS[code], kind) for code, kind in found.items()]

    def shown(self) -> list[str]:
        """The first three codes and the last one, masked."""
        return [*map(masked, self._first), masked(self._last)] if self._first else []

    def _line(self, title: str, kind: Kind) -> str:
        places = [self._place(row) for row in kind.rows]
        more = " …" if kind.count > len(places) else ""
        rows = f" ({'rows' if kind.count > 1 else 'row'} {', '.join(places)}{more})" if places else ""
        return f"{kind.count:,} × {title}{rows}" + (f": {kind.words}" if kind.words else "")

    def _place(self, row: int) -> str:
        input_no, number = input_and_row(row)
        return str(number) if len(self._names) < 2 else f"{self._names[input_no]}:{number}"

    def _look_at(self, rows: Sequence[int], codes: list[str]) -> None:
        self._first += codes[: ROWS_TOLD - len(self._first)]
        self._last = codes[-1]
        lengths = set(map(len, codes))
        counts: Mapping[int, int] = {len(codes[0]): len(codes)} if len(lengths) == 1 else Counter(map(len, codes))
        for length in lengths:
            self._lengths[length] += counts[length]
            known = self._rows_of_length.setdefault(length, [])
            if len(known) < ROWS_TOLD:
                known += [row for row, code in zip(rows, codes, strict=True) if len(code) == length][
                    : ROWS_TOLD - len(known)
                ]
        text = "\n" + "\n".join(codes) + "\n"
        # One look at the whole text: most blocks have no outer blank.
        if " \n" in text or "\n " in text:
            said = ((row, words) for row, code in zip(rows, codes, strict=True) if (words := diagnosis.warn(code)))
            for row, words in said:
                self._told.setdefault("OUTER_BLANK", Kind()).add([row], words)
        if ("-" in text or "/" in text) and (dates := len(_DATES.findall(text))):
            first = [row for row, code in zip(rows, codes, strict=True) if _DATES.match(f"\n{code}\n")]
            self._told.setdefault("DATE_LIKE", Kind()).add(first[:ROWS_TOLD], count=dates)
        if max(lengths) > SAFE_DIGITS:
            self._look_for_zeros(rows, codes, text)

    def _look_for_zeros(self, rows: Sequence[int], codes: list[str], text: str) -> None:
        for length, count in Counter(map(len, _LONG_DIGITS.findall(text))).items():
            self._long_digits += count
            self._digits_behind += count * (length - 1 - SAFE_DIGITS)
            self._zeros_expected += count * 10.0 ** (SAFE_DIGITS - (length - 1))
        if found := len(_ZEROS.findall(text)):
            first = [row for row, code in zip(rows, codes, strict=True) if _ZEROS.match(f"\n{code}\n")]
            self._zeros.add(first[:ROWS_TOLD], count=found)

    def _far_lengths(self) -> Kind | None:
        total = self._lengths.total()
        if total < CODES_MIN or len(self._lengths) < 2:
            return None
        rare = max(1, total // RARE_SHARE)
        main, main_count = self._lengths.most_common(1)[0]
        far = (
            {length for length in self._lengths if abs(length - main) > 1} if total - main_count <= rare else set[int]()
        )
        clusters: list[list[int]] = []
        for length in sorted(self._lengths):
            if clusters and length - clusters[-1][-1] <= 2:
                clusters[-1].append(length)
            else:
                clusters.append([length])
        sizes = [sum(self._lengths[length] for length in cluster) for cluster in clusters]
        for cluster, size in zip(clusters, sizes, strict=True):
            if size <= rare and size < max(sizes):
                far.update(cluster)
        if not far:
            return None
        kind = Kind()
        told = ", ".join(f"{length}" for length in sorted(far)[:5])
        kind.add(
            sorted(row for length in far for row in self._rows_of_length[length]),
            f"{told} characters, and most have {main}",
            sum(self._lengths[length] for length in far),
        )
        return kind


_LONG_DIGITS: Final = re.compile(rf"\n[0-9]{{{SAFE_DIGITS + 1},}}(?=\n)", re.ASCII)
_ZEROS: Final = re.compile(rf"\n[0-9]{{{SAFE_DIGITS}}}0+(?=\n)", re.ASCII)
_DATES: Final = re.compile(r"\n[0-9]{4}([/-])[0-9]{1,2}\1[0-9]{1,2}(?=\n)", re.ASCII)
_WORDS: Final = {
    "DATE_LIKE": "is this the column with the codes? A spreadsheet also makes a date of a code like 2026-8-1",
    "FIRST_ROW_WORDS": "all others have one: if it is a header, say so with --header-row",
    "HIDDEN_ROW": "a filter or a person hides it, and it is sent all the same: choose rows with --where",
}
