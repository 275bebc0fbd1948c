"""What `pip install quanma` may take: no version with a hole that is known, and what the lock files hold (D1)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.every import every_row

ROOT = Path(__file__).parents[1]
FIXED_IN = {  # The first version without the hole, and where that is told.
    "apsw": ("3.53.2", "CVE-2026-11822, CVE-2026-11824, of the SQLite in it"),
    "cryptography": ("48.0.1", "GHSA-537c-gmf6-5ccf"),
    "pyarrow": ("23.0.1", "CVE-2026-25087"),
}


def requirements() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    # `all` names the other extras of quanma itself.
    return {one.name: one for one in map(Requirement, lines) if one.name != "quanma"}


def floor(requirement: Requirement) -> Version:
    return Version(next(one.version for one in requirement.specifier if one.operator == ">="))


def locked(file: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / file).read_text("utf-8"), re.MULTILINE))


@every_row("name", FIXED_IN)
def test_no_version_with_a_known_hole_is_taken(name: str) -> None:
    version, told_in = FIXED_IN[name]
    assert floor(requirements()[name]) >= Version(version), told_in


@every_row("file", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_files_hold_what_may_be_taken(file: str) -> None:
    held = locked(file)
    wrong = [name for name, one in requirements().items() if held[canonicalize_name(name)] not in one.specifier]
    assert wrong == []


def test_a_package_of_two_extras_has_the_same_bounds_in_both() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    lines = {line for extra in extras.values() for line in extra}
    assert len({Requirement(line).name for line in lines}) == len(lines)


def test_every_requirement_has_a_lowest_version_and_a_bound() -> None:
    for requirement in requirements().values():
        assert {one.operator for one in requirement.specifier} == {">=", "<"}
