"""The words of the pages: docs/glossary.md says which are not ours, and no page has one."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.support.every import every, every_row
from tests.support.pages import TRANSLATED, text_of

GLOSSARY = "docs/glossary.md"


class Row(NamedTuple):
    refused: list[str]
    instead: str
    excepted: list[str]


def rows() -> list[Row]:
    table = text_of(GLOSSARY).partition("\n## 不这样写")[2]
    found = re.findall(r"^\| ([^|]+) \| ([^|]+) \|([^|]*)\|$", table, re.MULTILINE)[1:]
    return [Row(_several(refused), instead, _several(excepted)) for refused, instead, excepted in found]


def _several(cell: str) -> list[str]:
    return [one for one in re.split(r"、|, ", cell.strip()) if one]


def wrong_words(text: str, table: list[Row]) -> list[str]:
    """What a text should not say, with what it should."""
    found: list[str] = []
    for row in table:
        rest = text
        for one in row.excepted:
            rest = rest.replace(one, "")
        for one in row.refused:
            pattern = rf"(?<!\w){re.escape(one)}(?!\w)" if one.isascii() else re.escape(one)
            found += [
                f"{one!r} in “…{rest[max(0, at.start() - 12) : at.end() + 12]}…”: {row.instead}"
                for at in re.finditer(pattern, rest, re.IGNORECASE)
            ]
    return found


@every_row(
    ("text", "word"),
    [("平台的应答", "应答"), ("落盘之后再答复", "答复"), ("【自定】", "自定"), ("Make a world.", "a world")],
)
def test_a_wrong_word_is_found(text: str, word: str) -> None:
    assert any(found.startswith(repr(word)) for found in wrong_words(text, rows()))


@every_row("text", ["先落盘，再答复。", "自定义code已达上限", "all the world's codes"])
def test_an_exception_is_none(text: str) -> None:
    assert wrong_words(text, rows()) == []


@every([page for pair in TRANSLATED.items() for page in pair])
def test_no_page_has_a_word_that_the_glossary_refuses(page: str) -> None:
    found = wrong_words(text_of(page), rows())
    assert found == [], f"{page}:\n" + "\n".join(found)
