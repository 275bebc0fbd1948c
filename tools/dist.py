"""What a release consists of, in dist/: `make dist`. Built twice, byte for byte the same, looked into,
installed with each extra, and listed.

The archives hold no time of their building: it is the time of the last commit (SOURCE_DATE_EPOCH).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "dist"
BESIDE = frozenset({"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"})
"""What the source archive holds beside src/."""
SUFFIXES = frozenset({".py", ".sql", ".typed", ".pot", ".po", ".mo", ".md"})
"""Of the package's files."""


class Unfit(Exception):
    """It must not be released, and why."""


def main() -> None:
    with tempfile.TemporaryDirectory() as other:
        made, again = build(FOLDER), build(Path(other))
        for one, another in zip(made, again, strict=True):
            if one.read_bytes() != another.read_bytes():
                raise Unfit(f"{one.name} is another one each time it is built")
    check_contents(*made)
    for extra in ("", *extras()):
        check_install(made[1], extra)
    sbom = FOLDER / f"{made[1].name.removesuffix('.whl')}.cdx.json"
    sbom.write_text(json.dumps(bill_of_materials(), indent=1) + "\n", "utf-8")
    for file in (*made, sbom):
        print(f"{file.stat().st_size:>10,}  {file.relative_to(ROOT)}")


def build(folder: Path) -> tuple[Path, Path]:
    """Build the source archive and the wheel into a folder, with what is installed here."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("quanma-*"):
        old.unlink()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "SOURCE_DATE_EPOCH": _committed_at()},
        check=True,
        capture_output=True,
    )
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


def _committed_at() -> str:
    """Unix seconds."""
    said = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True)
    return said.stdout.strip()


def check_contents(source: Path, wheel: Path) -> None:
    """Raises Unfit: something is in an archive that does not belong there, or is missing."""
    package = {str(file.relative_to(ROOT / "src")) for file in _package_files()}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    for where, found, expected in (
        (wheel.name, in_wheel, package),
        (source.name, inside - BESIDE, {f"src/{name}" for name in package}),
    ):
        if found != expected:
            raise Unfit(f"{where}: it lacks {sorted(expected - found)}, and has beside {sorted(found - expected)}")


def _package_files() -> Iterator[Path]:
    said = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, check=True, capture_output=True, text=True)
    for line in said.stdout.splitlines():
        if (file := ROOT / line).suffix not in SUFFIXES:
            raise Unfit(f"{line} is of no kind that the package has")
        yield file


def extras() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [*project["optional-dependencies"]]


def check_install(wheel: Path, extra: str) -> None:
    """Install the wheel with one extra, or none, into an empty environment, from the package index, as users do.

    Raises Unfit: it can't be installed, a package lacks another, or quanma doesn't find what the extra is for.
    """
    name = f"quanma[{extra}]" if extra else "quanma"
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "environment" / ("Scripts" if os.name == "nt" else "bin") / "python"
        versions = Path(folder) / "versions.txt"
        versions.write_text("".join(f"{package}=={version}\n" for package, version in locked()), "utf-8")
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        parts = [one for one in extras() if one != "all"] if extra == "all" else [extra] * bool(extra)
        for command in (
            [sys.executable, "-m", "venv", str(python.parents[1])],
            [*pip, "install", "--constraint", str(versions), f"{name} @ {wheel.as_uri()}"],
            [*pip, "check"],
            [str(python), "-c", f"from quanma.extras import need; need('it', *{parts}); from quanma import Wechatpay"],
            [str(python), "-m", "quanma", "--version"],
        ):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unfit(f"{name}, in an empty environment: {' '.join(command[1:4])} failed: {done.stderr.strip()}")


def locked() -> list[tuple[str, str]]:
    """Every package that an install with all extras takes, and its version."""
    return re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)


def bill_of_materials() -> dict[str, object]:
    """Every package that an install with all extras takes, in CycloneDX 1.5: as the lock file has it."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [
            {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
            for name, version in locked()
        ],
    }


if __name__ == "__main__":
    try:
        main()
    except Unfit as problem:
        sys.exit(f"dist: {problem}")
