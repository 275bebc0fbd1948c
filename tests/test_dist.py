"""What is released: the same bytes each time, the package and nothing else, and a list of what it takes."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from tools import dist

pytestmark = pytest.mark.xdist_group("dist")  # It is built once.


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if not (dist.ROOT / ".git").exists():
        pytest.skip("this is no clone: what belongs to the package is what git knows")
    return dist.build(tmp_path_factory.mktemp("dist"))


@pytest.mark.slow
def test_it_is_the_same_each_time(made: tuple[Path, Path], tmp_path: Path) -> None:
    again = dist.build(tmp_path)
    assert [one.name for one in made] == [one.name for one in again]
    assert [one.read_bytes() for one in made] == [one.read_bytes() for one in again]


@pytest.mark.slow
def test_it_holds_the_package_and_nothing_else(made: tuple[Path, Path], tmp_path: Path) -> None:
    dist.check_contents(*made)
    source, wheel = made
    more = tmp_path / wheel.name
    more.write_bytes(wheel.read_bytes())
    with zipfile.ZipFile(more, "a") as archive:
        archive.writestr("quanma/key.pem", "secret")
    with pytest.raises(dist.Unfit, match=r"has beside \['quanma/key.pem'\]"):
        dist.check_contents(source, more)


@pytest.mark.slow
def test_a_wheel_can_be_made_from_the_source_archive_alone(made: tuple[Path, Path]) -> None:
    with tarfile.open(made[0]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/quanma/__init__.py"} <= inside


def test_the_bill_of_materials_names_each_package_with_its_version() -> None:
    components = dist.bill_of_materials()["components"]
    assert isinstance(components, list)
    named = {one["name"]: one for one in components}
    assert {"cryptography", "msgspec", "pyreqwest", "apsw", "asyncpg", "httptools"} <= named.keys()
    msgspec = named["msgspec"]
    assert msgspec["purl"] == f"pkg:pypi/msgspec@{msgspec['version']}"
