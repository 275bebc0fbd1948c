"""Every locked package of the base, `upload` and `platform` has a wheel for each system and each Python.

Asked of the package index, by the resolver of tools/lock.sh; left out where there is none.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = {
    "Windows": "x86_64-pc-windows-msvc",
    "macOS on Apple silicon": "aarch64-apple-darwin",
    "Linux x86_64": "x86_64-manylinux_2_28",
    "Linux aarch64": "aarch64-manylinux_2_28",
}
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheels")]  # uv is installed once.


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The resolver, as tools/lock.sh takes it."""
    wanted = re.search(r"uv==[\d.]+", (ROOT / "tools" / "lock.sh").read_text("utf-8"))
    assert wanted
    folder = tmp_path_factory.mktemp("uv")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--retries", "0"]
    done = subprocess.run([*pip, "--target", str(folder), wanted[0]], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin" / "uv"


def resolved(uv: Path, requirements: Path, system: str, python: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Resolve with wheels alone, for another system and Python."""
    command = [str(uv), "--no-config", "--quiet", "--no-python-downloads", "pip", "compile", "--only-binary", ":all:"]
    command += ["--no-header", "--no-annotate", "--python-platform", system, "--python-version", python]
    return subprocess.run(
        [*command, *options, str(requirements)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_every_locked_package_has_a_wheel_for_each_system_and_python(uv: Path) -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    options = ("--extra", "upload", "--extra", "platform", "--constraint", "requirements.lock")
    for name, system in SYSTEMS.items():
        for python in PYTHONS:
            done = resolved(uv, ROOT / "pyproject.toml", system, python, *options)
            assert done.returncode == 0, f"{name}, Python {python}: {done.stderr}"
            found = dict(line.split("==") for line in done.stdout.split())
            assert found.keys() >= {"apsw", "cryptography", "httptools", "msgspec", "numpy", "pyreqwest"}
            assert ("uvloop" in found) == (name != "Windows")
            assert {package: locked.get(package) for package in found} == found


def test_a_package_without_a_wheel_is_seen(uv: Path, tmp_path: Path) -> None:
    (tmp_path / "requirements.in").write_text("uvloop==0.23.0\n", "utf-8")
    done = resolved(uv, tmp_path / "requirements.in", SYSTEMS["Windows"], "3.13")
    assert done.returncode != 0
    assert "uvloop==0.23.0 has no usable wheels" in done.stderr
