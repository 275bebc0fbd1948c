"""The pages of the documentation: which there are, and what of them is run.

A page marks its fences with an HTML comment in the line above, so a reader sees nothing of it:

    <!-- run -->                        run it: bash, or python
    <!-- run: online -->                and it needs the network: it installs something
    <!-- run: exit 3 -->                and this is its exit status
    <!-- run: Ctrl-C 1 s after req/s, exit 130 -->    press Ctrl-C so long after it first printed that
    <!-- run: terminal -->              in a terminal of its own, until it says "listening on"; it runs to the end
    <!-- run: terminal until ready -->  the same, and until it says that
    <!-- run: save as name.py -->       don't run it: it is a file of the reader's folder
    <!-- file: examples/name.py -->     what that file holds: another test runs it
    <!-- output -->                     what the run before it prints; … is any text, alone on a line any lines
    <!-- install -->                    how quanma is installed: the walk of a new user runs it
    <!-- not run: why -->               nothing runs it
    <!-- wait / commands / -->          without a fence: what a person waits for, by looking. It changes nothing

What is run is the text of the page, as it stands, in the language of the page: QUANMA_LANG says it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if path.is_file()
)
TRANSLATED = {
    page: page.replace("docs/zh/", "docs/en/").replace("README.md", "README.en.md")
    for page in PAGES
    if page == "README.md" or page.startswith("docs/zh/")
}
"""The page in Chinese, and the same in English."""

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(
    r"^<!-- (?P<mark>run|output|install)(?:: (?P<how>[^\n]+?))? -->\n```(?P<language>\w+)\n(?P<fenced>.*?)^```$"
    r"|^<!-- (?P<unseen>wait)\n(?P<looked>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    mark: str
    how: str
    language: str
    text: str


def language_of(page: str) -> str:
    """`zh` or `en`: in which language a page is, and what the program says in it."""
    return "zh" if page in TRANSLATED else "en"


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks_of(page: str) -> list[Block]:
    return [
        Block(found["mark"] or found["unseen"], found["how"] or "", found["language"] or "bash", text)
        for found in _BLOCK.finditer(text_of(page))
        if (text := found["fenced"] or found["looked"])
    ]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|^<!--.*?-->$", "", text, flags=re.MULTILINE | re.DOTALL)
