"""Which language people are spoken to in, and English texts in that language.

The program is written in English: its errors, reasons and results are, and stay so for programs, logs and JSON. Only
here, where a person reads them, they are put into another language; see `catalogue`. Nothing is loaded for English, and
nothing is imported here that Python has not loaded before, so that the list of commands comes at once.
"""

from __future__ import annotations

import os
import sys

ENGLISH, CHINESE = "en", "zh"
LANGUAGES = (ENGLISH, CHINESE)

_current = ENGLISH


def chosen(environment: dict[str, str]) -> str:
    """Return the language that QUANMA_LANG names, else the locale's: Chinese for zh_*, English for any other.

    Source: the order LC_ALL, LC_MESSAGES, LANG is POSIX's; the first that is not empty counts.

    Raises:
        ValueError: QUANMA_LANG names neither. The message says so in both languages.
    """
    wanted = environment.get("QUANMA_LANG", "")
    if wanted:
        language = _language_of(wanted)
        if language not in LANGUAGES:
            raise ValueError(
                f"QUANMA_LANG is {wanted[:20]!r}: it is en or zh, or unset · QUANMA_LANG 应为 en 或 zh，也可以不设"
            )
        return language
    names = (environment.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next(filter(None, names), "")
    return CHINESE if _language_of(locale) == CHINESE else ENGLISH


def _language_of(locale: str) -> str:
    """`zh` of zh_CN.UTF-8, zh-Hans, zh."""
    return locale.replace("-", "_").partition(".")[0].partition("@")[0].partition("_")[0].lower()


def choose() -> None:
    """Speak the language of the environment from now on. A wrong QUANMA_LANG is told, and the program ends with 1."""
    try:
        use(chosen(dict(os.environ)))
    except ValueError as problem:
        print(f"quanma: {problem}", file=sys.stderr)
        sys.exit(1)


def use(language: str) -> None:
    """Speak this language from now on."""
    global _current
    _current = language


def current() -> str:
    return _current


def said(text: str) -> str:
    """Return a text of the program as a person is to read it. What has no translation stays as it is."""
    if _current == ENGLISH:
        return text
    from .catalogue import catalogue

    return catalogue(_current).said(text)
