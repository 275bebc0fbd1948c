"""Why a row is not taken, or taken with a remark: in words for people, and under a name that programs can rely on."""

from __future__ import annotations

from typing import Final


class Reason(str):
    """Words for whoever corrects the file. `code` is one of TITLES, or the platform's: `PLATFORM_LENGTH_LIMIT`."""

    __slots__ = ("code",)

    code: str

    def __new__(cls, code: str, words: str) -> Reason:
        made = super().__new__(cls, words)
        made.code = code
        return made


PLATFORM: Final = "PLATFORM_"
"""Before the platform's own error code."""

TITLES: Final = {
    # The text of the code.
    "EMPTY": "no code in the row",
    "TOO_LONG": "too long",
    "CHARACTER": "character that is not allowed",
    "SCIENTIFIC": "scientific notation",
    "DECIMALS": "number with decimals",
    "FORMULA_TEXT": "formula as text",
    # The cell or value.
    "NUMBER": "number cell",
    "DIGITS_LOST": "number of more than 15 digits",
    "NOT_WHOLE": "number that is not whole",
    "TOO_MANY_DIGITS": "number with too many digits",
    "DATE": "date or time cell",
    "TRUTH": "cell with true or false",
    "NO_RESULT": "formula without a result",
    "CELL_ERROR": "cell with an error",
    "NOT_TEXT": "value that is no text",
    # The row.
    "FIELDS": "wrong number of fields",
    "NOT_CSV": "row that is not CSV",
    "JOINED_ROWS": "rows that a quote joins",
    "NOT_JSON": "line that is not JSON",
    "NO_KEY": "object without the key",
    "NOT_CORRECTED": "refused before and not corrected",
    # Legal texts that are hardly codes: --take-odd takes them.
    "TOTAL": "total row",
    "HEADER": "name of a column",
    "NULL_WORD": "word for a missing value",
    "TRUTH_WORD": "word for true or false",
    "DATE_WORD": "date that a spreadsheet made",
    "NO_LETTER": "neither letter nor digit",
    "ROW_COUNT": "count of rows",
}
"""Of rejected rows. What a code is called in a summary. The codes stay; the words may change."""
ODD: Final = frozenset(("TOTAL", "HEADER", "NULL_WORD", "TRUTH_WORD", "DATE_WORD", "NO_LETTER", "ROW_COUNT"))

REMARKS: Final = {
    "NUMBER_AS_TEXT": "number cells are taken as text",
    "ZEROS_RESTORED": "codes got zeros in front, by --digits",
    "CORRECTED": "rows are taken as they were corrected",
}
"""Of rows that are taken: what was done because it was asked for."""
WARNINGS: Final = {
    "OUTER_BLANK": "code with a blank at an end",
    "FIRST_ROW_WORDS": "first row without a digit",
    "FAR_LENGTH": "code of another length than all others",
    "ZEROS_FROM_16TH": "digits that end in zeros from the 16th on",
    "DATE_LIKE": "code that looks like a date",
    "MANY_REPEATS": "row that repeats an earlier one",
    "HIDDEN_ROW": "hidden row",
}
"""Of rows that are taken, and look wrong: --strict refuses the file."""
