"""`quanma platform rotate-key`: which key it made, who has it already, and what is left to do."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from quanma.cli.main import main
from tests.support.every import every_row
from tests.support.platform import MCHID, OTHER_MCHID, merchant_config


def rotated(world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *flags: str) -> list[str]:
    line = ["quanma", "platform", "rotate-key", "--config", str(world / "platform.toml"), *flags]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return capsys.readouterr().out.splitlines()


def settings_of_all(world: Path) -> list[Path]:
    return [merchant_config(world, mchid) for mchid in (MCHID, OTHER_MCHID)]


@pytest.mark.slow
def test_a_certificate_is_made_and_added_for_this_worlds_merchants(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *told = rotated(world, capsys, monkeypatch)
    name, _, file = first.partition(": ")
    assert re.fullmatch("[0-9A-F]{40}", name)
    assert Path(file).exists()
    assert sorted(told) == sorted(f"  added to {path}" for path in settings_of_all(world))


@pytest.mark.slow
def test_a_public_key_is_added_for_this_worlds_merchants_and_told_for_others(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *told = rotated(world, capsys, monkeypatch, "--kind", "public-key", "--after-hours", "0")
    name = first.partition(": ")[0]
    assert name.startswith("PUB_KEY_ID_")
    assert sorted(told[:-1]) == sorted(f"  added to {path}" for path in settings_of_all(world))
    assert told[-1] == f'  other merchants add to their [merchant.platform_keys]:  "{name}" = "FILE"'
    for path in settings_of_all(world):
        assert name in tomllib.loads(path.read_text("utf-8"))["merchant"]["platform_keys"]


@every_row(
    ("flags", "reason"),
    [
        (["--kind", "secret"], "'secret' is not one of"),
        (["--after-hours", "-1"], "-1.0 is not in the range"),
        ([], "Missing option '--config'"),
    ],
)
def test_wrong_usage_makes_no_key(
    flags: list[str], reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["quanma", "platform", "rotate-key", *flags])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_world_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["quanma", "platform", "rotate-key", "--config", str(tmp_path / "no.toml")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "no.toml" in capsys.readouterr().err
