"""English texts of the program in another language, by its gettext catalogue.

The key of a text is the English text itself, with the names of what was put into it: `made {folder}`. A text that was
put together comes here as it is printed, `made world`: it is recognised by its template, what stands in its fields is
translated in turn, and the translation is filled with that. So an error can be raised anywhere, in plain English, and
one place knows of languages.

Of several templates that fit, the one with the most text of its own is taken; tests/cli/test_languages.py shows that
each is recognised. Where none has more than a word of its own, a text is also taken apart, at its lines, brackets,
semicolons, colons and commas, and what leaves the least English is taken. What is not known stays English.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from string import Formatter
from typing import NamedTuple

LOCALE_FOLDER = Path(__file__).parent / "locale"
LENGTH_MAX = 4_000
"""What is longer is no text of ours."""
MARKS_MAX = 24
"""With more signs than that, a text is a list, or another program's, and is not taken apart."""
EDGES_MAX = 100
"""So many places are tried for where one of two texts begins, from the end on."""
SENTENCE = 3
"""So many English words are one that was not translated."""
_LETTERS = re.compile("[A-Za-z]{2}")
_ENGLISH = re.compile(r"(?<![\w./`'-])[A-Za-z]?[a-z']+(?![\w./`'=-])")
"""A word that may be translated still: no option, path, or name in it."""
_COMMAND = re.compile("quanma .*|`[^`]*`", re.DOTALL)
"""It is typed as it stands."""
_MARKS = re.compile("[;:,] ")
_ANY, _NUMBER, _HEX, _QUOTED = (
    "(.*?)",
    r"( *[-+]?[0-9][0-9,.]*(?:e[-+]?[0-9]+)?)",
    "([0-9A-Fa-f]+)",
    r"""('[^'\n]*'|"[^"\n]*"|<[^>\n]*>|[^\s'"]*)""",
)


class Template(NamedTuple):
    """A text with fields. Fields with nothing between them are one group: what stands in each is found by trying."""

    pattern: str
    groups: tuple[tuple[str, ...], ...]
    literals: tuple[str, ...]
    """The texts of its own: where one is not found behind the one before, the template does not fit."""
    longest: str
    """Of these: it is looked for first."""
    own: int
    """How many characters are its own."""
    first: str
    """What it begins with, before a field."""
    certain: bool
    """It has words enough of its own, or a label before them, to be meant where it fits."""
    loose: bool
    """One word, and no sign."""
    label: bool
    """It is a label before one text: `next: {step}`."""
    translation: str


class Catalogue:
    """The translations of one language. `texts`: English, and what it is there."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._plain = {_unescaped(text): _unescaped(said) for text, said in texts.items()}
        made = [template(text, said) for text, said in texts.items() if re.search(r"(?<!\{)\{\w", text)]
        labels = tuple(one.longest for one in made if one.label)
        made = [one._replace(certain=one.certain or one.first.startswith(labels)) for one in made]
        self._templates = sorted(
            made,
            key=lambda one: (not one.first.startswith(labels), not one.certain, -one.own, -sum(map(len, one.groups))),
        )
        self.said = lru_cache(maxsize=10_000)(self._said)

    def _said(self, text: str, nested: bool = False) -> str:
        """The translation of a text, whatever blanks stand around it; itself, if it has none."""
        core = text.strip()
        if not _LETTERS.search(core) or len(core) > LENGTH_MAX:
            return text
        found = self._plain.get(core)
        if found is None and not _COMMAND.fullmatch(core):
            found = self._fitting(core, nested)
        if found is None:
            return text
        before, _, after = text.partition(core)
        # A wide colon has its blank in it.
        return before + found + (after.lstrip(" ") if found.endswith("：") else after)

    def _fitting(self, text: str, nested: bool) -> str | None:
        fitting: list[str] = []
        for one in self._templates:
            if one.longest not in text or not _in_order(one.literals, text):
                continue
            if (found := _compiled(one.pattern).fullmatch(text)) is None:
                continue
            below = nested or not one.label
            filled = found.groups()
            fields: dict[str, str] = {}
            for names, part in zip(one.groups, filled, strict=True):
                fields |= zip(names, self._shared_out(part, len(names), below), strict=True)
            said = one.translation.format(**fields).replace(" （", "（")
            if one.certain and _english_left(said) < SENTENCE:
                return said
            if one.certain or _is_meant(filled, tuple(fields.values()), name_may_look_so=one.loose and nested):
                fitting.append(said)
        return min([*fitting, *self._apart(text, nested)], key=_english_left, default=None)

    def _shared_out(self, filled: str, count: int, nested: bool) -> Sequence[str]:
        """What stands in so many fields side by side: as it leaves the least English."""
        if count == 1:
            return [self.said(filled, nested)]
        edges = [place for place in range(len(filled)) if place and _is_edge(filled, place)]
        ways = (
            [self.said(filled[:place], nested), *self._shared_out(filled[place:], count - 1, nested)]
            for place in [len(filled), *edges[-EDGES_MAX:], 0]
        )
        return min(ways, key=lambda said: _english_left("\n".join(said)))

    def _apart(self, text: str, nested: bool) -> Iterator[str]:
        """The translations of a text that was put together of others, with nothing between but a sign."""
        if "\n" in text:
            yield "\n".join(self.said(line, nested) for line in text.split("\n"))
            return
        if len(_MARKS.findall(text)) > MARKS_MAX:
            return
        for left, right, form in _parts(text):
            said = (self.said(left, True), self.said(right, True))
            if said != (left, right):
                yield form.format(*said)


def template(text: str, translation: str) -> Template:
    """Read a key of the catalogue that has fields."""
    pattern: list[str] = []
    groups: list[tuple[str, ...]] = []
    own: list[str] = []
    side_by_side = False
    for literal, field, form, conversion in Formatter().parse(text):
        if literal:
            own.append(literal)
            pattern.append(re.escape(literal))
            side_by_side = False
        if field is None:
            continue
        kind = _kind(form or "", conversion)
        if (field,) in groups:
            pattern.append(rf"(?:\{groups.index((field,)) + 1})")
            side_by_side = False
            continue
        if kind == _ANY and side_by_side:
            groups[-1] = (*groups[-1], field)
        else:
            groups.append((field,))
            pattern.append(kind)
        side_by_side = kind == _ANY
    whole = "".join(own)
    return Template(
        "".join(pattern),
        tuple(groups),
        tuple(own),
        max(own, key=len),
        len(whole),
        own[0] if text.startswith(own[0]) else "",
        len(re.findall("[A-Za-z']{2,}", " ".join(own))) >= 2,
        re.fullmatch("[A-Za-z ]*", whole) is not None and len(whole.split()) < 2,
        pattern[1:] == [_ANY] and own[0].endswith((": ", "   ")),
        translation,
    )


def _kind(form: str, conversion: str | None) -> str:
    if conversion == "r":
        return _QUOTED
    if form.endswith(("x", "X")):
        return _HEX
    return _NUMBER if form.endswith(("d", "f", "g", ",", "n")) else _ANY


def _parts(text: str) -> Iterator[tuple[str, str, str]]:
    """Each way to take a text apart: the two parts, and how they are put together in Chinese."""
    if text.endswith(":"):
        yield text[:-1], "", "{}："
    for mark, form in (("; ", "{}；{}"), (": ", "{}：{}"), (", ", "{}，{}")):
        begin = text.find(mark)
        while begin >= 0:
            yield text[:begin], text[begin + len(mark) :], form
            begin = text.find(mark, begin + len(mark))
    if text.endswith(")") and (begin := text.rfind(" (")) > 0:
        yield text[:begin], text[begin + 2 : -1], "{}（{}）"
        yield text[:begin], text[begin + 1 :], "{}{}"
    if (begin := text.find(" ")) > 0 and " " in text[begin + 1 :]:
        yield text[:begin], text[begin + 1 :], "{} {}"  # A name, and what is told of it.


def _is_meant(filled: Sequence[str], said: Sequence[str], *, name_may_look_so: bool) -> bool:
    """Whether a template with hardly a word of its own is meant. `filled`, `said`: its fields, and these translated.

    It is not where a sentence stays English: another template should have fitted. What stands in a field is a name most
    often, and a name may look like a template of one word; a number in it, or a text, is no name.
    """
    if any(_english_left(part) >= SENTENCE and part == text for part, text in zip(filled, said, strict=False)):
        return False
    if not name_may_look_so or not any(map(_LETTERS.search, filled)):
        return True
    return any(" " in part and part != text for part, text in zip(filled, said, strict=False))


def _in_order(literals: Iterable[str], text: str) -> bool:
    """Whether a text has all these, one behind the other: an expression takes long to find out that it has not."""
    place = 0
    for literal in literals:
        place = text.find(literal, place)
        if place < 0:
            return False
        place += len(literal)
    return True


def _english_left(text: str) -> int:
    return len(_ENGLISH.findall(text))


def _is_edge(text: str, place: int) -> bool:
    """Whether one text may end here and another begin: not within a word."""
    return not (text[place - 1].isalnum() and text[place].isalnum())


def _unescaped(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL if "\\\n" in pattern else 0)


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
