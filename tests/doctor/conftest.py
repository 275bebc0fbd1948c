"""A merchant's folder to be broken, and a platform that is served for real."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from quanma.client.exchange import Clocks
from quanma.doctor.check import Status
from quanma.doctor.examine import Result, examine
from quanma.doctor.subject import Subject
from tests.support.platform import MCHID, OTHER_MCHID, Served, merchant_config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the machine, and no proxy of its own."""
    for name in [name for name in os.environ if name.startswith("QUANMA_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def served(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(Path(shutil.copytree(made_world, tmp_path_factory.mktemp("examined") / "world")))
    yield running
    running.close()


class Shop:
    """A merchant's folder, whole, at the platform that is served."""

    def __init__(self, served: Served, folder: Path) -> None:
        self.served = served
        self.url = served.url
        self.folder = folder
        self.other = served.world / "merchants" / OTHER_MCHID
        shutil.copytree(served.world / "merchants" / MCHID, folder)
        self.file = folder / "quanma.toml"
        self.set(base_url=served.url)

    def set(self, **settings: str | None) -> None:
        """Change settings, or take them out. The values are written as they are, in quotes."""
        for name, value in settings.items():
            lines = [one for one in self.file.read_text("utf-8").splitlines() if not one.startswith(f"{name} = ")]
            if value is not None:
                quoted = (
                    value if value.startswith("'''") or (value.isdigit() and name == "attempts_max") else f'"{value}"'
                )
                lines.insert(lines.index("[merchant]") + 1, f"{name} = {quoted}")
            self.file.write_text("\n".join(lines), "utf-8")

    def platform_keys(self, **keys: str) -> None:
        """Set the platform's keys, by name and file."""
        text = self.file.read_text("utf-8").partition("[merchant.platform_keys]")[0]
        self.file.write_text(
            text + "[merchant.platform_keys]\n" + "".join(f'"{name}" = "{file}"\n' for name, file in keys.items()),
            "utf-8",
        )

    def without_certificate(self) -> None:
        (self.folder / "apiclient_cert.pem").unlink()

    def value(self, name: str, file: Path | None = None) -> str:
        """A setting's text."""
        lines = (file or self.file).read_text("utf-8").splitlines()
        return next(line.partition(" = ")[2].strip('"') for line in lines if line.startswith(f"{name} = "))

    @property
    def names(self) -> list[str]:
        """Of the platform's keys: the public key's, and the certificate's."""
        text = merchant_config(self.served.world).read_text("utf-8").partition("[merchant.platform_keys]")[2]
        return [line.split('"')[1] for line in text.splitlines() if line.startswith('"')]


class Examined(NamedTuple):
    results: list[Result]

    def of(self, status: Status) -> dict[str, Result]:
        return {one.id: one for one in self.results if one.status == status}

    @property
    def text(self) -> str:
        return "\n".join(f"{one.detail}\n{one.fix}" for one in self.results)


CLOCKS = Clocks(time.time, time.monotonic)


def look(file: Path | None, *words: str, ahead_seconds: float = 0, callback: str | None = None) -> Examined:
    clocks = Clocks(lambda: time.time() + ahead_seconds, time.monotonic)
    subject = Subject(file, clocks, callback=callback)
    try:
        return Examined(examine(subject, words))
    finally:
        subject.close()


@pytest.fixture
def shop(served: Served, tmp_path: Path) -> Shop:
    return Shop(served, tmp_path / "shop")
