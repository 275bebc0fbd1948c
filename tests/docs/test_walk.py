"""A new user, an empty home, a clone of the repository: what the pages say, copied from the first line on.

Nothing is replaced, nothing is left out: install, the first upload, the chain, and the pages that follow, in one folder
and with all that was started before still running.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import ROOT, TRANSLATED
from tests.support.reader import Reader

WALKED = (
    "README.md",
    "docs/zh/client.md",
    "docs/zh/frameworks.md",
    "docs/zh/wallet.md",
    "docs/zh/callbacks.md",
    "docs/zh/payments.md",
)
LANGUAGES = {"zh": WALKED, "en": tuple(TRANSLATED[page] for page in WALKED)}

# Where readers take turns, one waits for the others.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("language", "taken"), [("zh", []), ("en", [8460])], ids=["zh", "en, its port taken"])
def test_a_new_user_copies_what_the_pages_say_and_it_works(language: str, taken: list[int], tmp_path: Path) -> None:
    checkout = clone(tmp_path)
    with Reader(checkout, path=path_of_a_newcomer(), language=language) as newcomer:
        for port in taken:
            newcomer.occupy(port)
        for page in LANGUAGES[language]:
            newcomer.follow(page, install=True)
    assert untracked(checkout) == [], "one `git add .` would commit keys or codes"


def clone(folder: Path) -> Path:
    """What a clone of this tree would hold: the files that git knows, as they are now."""
    made = folder / "quanma"
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", ROOT, made], check=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["git", "checkout", "--quiet"], cwd=made, check=True)
    for name in listed.decode().split("\0"):
        if (ROOT / name).is_file():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes((ROOT / name).read_bytes())
    return made


def untracked(checkout: Path) -> list[str]:
    told = subprocess.run(["git", "status", "--porcelain"], cwd=checkout, check=True, capture_output=True, text=True)
    known = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return [line for line in told.stdout.splitlines() if line.startswith("??") and line[3:] not in known]


def path_of_a_newcomer() -> str:
    """No environment is active. The Python of this one is the system's, whatever else there is."""
    ours = str(Path(sys.prefix) / "bin")
    found = [name for name in os.environ["PATH"].split(os.pathsep) if name != ours]
    return os.pathsep.join([str(Path(sys.base_prefix) / "bin"), *found])
