"""Wheels for an install without a network: ours, built once, and those that are installed here, packed again."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """Build quanma's wheel from the source."""
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("quanma-*.whl")
    return wheel


def pack_installed(folder: Path) -> None:
    """Pack every package that quanma or one of its extras needs, and that is installed here, as a wheel."""
    seen: set[str] = set()
    waiting = [requirement.name for requirement in _required(distribution("quanma"))]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen or name == "quanma":
            continue
        seen.add(name)
        found = distribution(name)
        waiting += [requirement.name for requirement in _required(found) if not requirement.marker]
        waiting += [one.name for one in _required(found) if one.marker and one.marker.evaluate({"extra": ""})]
        _pack(found, folder / f"{name.replace('-', '_')}-{found.version}-py3-none-any.whl")


def new_environment(folder: Path) -> Path:
    """Make an environment with nothing in it. Returns its Python."""
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python"


def install(python: Path, wheels: Path, *requirements: str) -> None:
    """Install with pip, from these wheels alone."""
    pip("--python", str(python), "install", "--no-index", "--find-links", str(wheels), "--no-compile", *requirements)


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--quiet", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"pip {' '.join(arguments)}: {done.stderr}")


def _required(found: Distribution) -> Iterable[Requirement]:
    return [Requirement(line) for line in found.requires or ()]


def _pack(found: Distribution, wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as packed:
        for file in found.files or ():
            # Scripts lie outside, and pip writes RECORD, INSTALLER and the like anew.
            if (
                not file.as_posix().startswith("../")
                and file.suffix != ".pyc"
                and (at := Path(str(file.locate()))).is_file()
            ):
                packed.write(at, file.as_posix())
