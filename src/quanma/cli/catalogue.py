"""English texts of the program in another language, by its gettext catalogue.

The key of a text is the English text itself, with the names of what was put into it: `made {folder}`. A text that was
put together comes here as it is printed, `made world`: it is recognised by its template, what stands in its fields is
translated in turn, and the translation is filled with that. So an error can be raised anywhere, in plain English, and
one place knows of languages.

Of several templates that fit, the one with the most text of its own is taken; tests/cli/test_languages.py shows that
each is recognised. A text that fits none is taken apart at its lines, semicolons and colons, and else stays English.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from string import Formatter
from typing import NamedTuple

from .language import LOCALE_FOLDER

DEPTH_MAX = 6
"""How deep texts stand in each other."""
LENGTH_MAX = 20_000
"""What is longer is no text of ours."""
_BETWEEN = (("\n", "\n"), ("; ", "；"), (": ", "："))
"""Where a text that fits no template is taken apart, and what stands there in Chinese."""
_LETTERS = re.compile("[A-Za-z]{2}")


class Template(NamedTuple):
    """A text with fields. Fields with nothing between them are one group: what stands in each is found by trying."""

    pattern: str
    groups: tuple[tuple[str, ...], ...]
    longest: str
    """The longest text of its own: where it is not found, the template does not fit."""
    own: int
    """How many characters are its own."""
    translation: str


class Catalogue:
    """The translations of one language. `texts`: English, and what it is there."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._plain = {text.replace("{{", "{").replace("}}", "}"): said for text, said in texts.items()}
        made = [template(text, said) for text, said in texts.items() if re.search(r"(?<!\{)\{\w", text)]
        self._templates = sorted(made, key=lambda one: -one.own)
        self.said = lru_cache(maxsize=10_000)(self._said)

    def _said(self, text: str, depth: int = 0) -> str:
        """The translation of a text, whatever blanks stand around it; itself, if it has none."""
        core = text.strip()
        if depth > DEPTH_MAX or not _LETTERS.search(core) or len(core) > LENGTH_MAX:
            return text
        found = self._fitting(core, depth) or self._apart(core, depth)
        if found is None:
            return text
        begin = text.index(core)
        return text[:begin] + found + text[begin + len(core) :]

    def _fitting(self, text: str, depth: int) -> str | None:
        if (exact := self._plain.get(text)) is not None:
            return exact.replace("{{", "{").replace("}}", "}")
        for one in self._templates:
            if one.longest in text and (found := _compiled(one.pattern).fullmatch(text)):
                fields: dict[str, str] = {}
                for names, filled in zip(one.groups, found.groups(), strict=True):
                    fields |= zip(names, self._shared_out(filled, len(names), depth), strict=True)
                return one.translation.format(**fields)
        return None

    def _shared_out(self, filled: str, count: int, depth: int) -> list[str]:
        """What stands in so many fields side by side: the last text in it that is known is the last field."""
        if count == 1:
            return [self.said(filled, depth + 1)]
        for place in range(len(filled)):
            tail = filled[place:]
            if _begins_a_text(filled, place) and (said := self.said(tail, depth + 1)) != tail:
                return [*self._shared_out(filled[:place], count - 1, depth), said]
        return [*self._shared_out(filled, count - 1, depth), ""]

    def _apart(self, text: str, depth: int) -> str | None:
        for mark, said_mark in _BETWEEN:
            begin = text.find(mark)
            while begin >= 0:
                left, right = text[:begin], text[begin + len(mark) :]
                said = (self.said(left, depth + 1), self.said(right, depth + 1))
                if said != (left, right):
                    return said_mark.join(said)
                begin = text.find(mark, begin + len(mark))
        return None


def template(text: str, translation: str) -> Template:
    """Read a key of the catalogue that has fields."""
    pattern, groups, own = [], [list[str]()], [""]
    for literal, field, _, _ in Formatter().parse(text):
        if literal:
            own.append(literal)
            if groups[-1]:
                pattern.append("(.*?)")
                groups.append([])
            pattern.append(re.escape(literal))
        if field is not None:
            groups[-1].append(field)
    if groups[-1]:
        pattern.append("(.*?)")
    names = tuple(map(tuple, filter(None, groups)))
    return Template("".join(pattern), names, max(own, key=len), len("".join(own)), translation)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


def _begins_a_text(text: str, place: int) -> bool:
    """Whether one text may end here and another begin: at a blank, at punctuation, or at the edge of a word."""
    return place == 0 or not (text[place - 1].isalpha() and text[place].isalpha())


@cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language, read once."""
    return Catalogue(dict(_messages(language)))


def _messages(language: str) -> Iterable[tuple[str, str]]:
    read = gettext.translation("quanma", LOCALE_FOLDER, [language])
    assert isinstance(read, gettext.GNUTranslations)
    # Source: gettext keeps what it read there, and has no other way to list it.
    messages: Mapping[object, str] = vars(read)["_catalog"]
    for key, said in messages.items():
        if isinstance(key, str) and key:
            yield key, said
