"""No command leaves codes, users or keys where others can read them, or writes through a link that others laid (S2)."""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from quanma.cli.listen import _open as open_listening
from quanma.cli.main import group
from quanma.errors import LedgerRefused, Misconfigured, QuanmaError, StoreUnavailable
from quanma.platform.keys.rotation import rotate_certificate
from quanma.platform.pool import open_pool
from quanma.upload import report
from quanma.upload.ledger import Inputs, Ledger
from quanma.upload.plan import Planned
from tests.cli.conftest import Run
from tests.support.platform import mode_of

VICTIM = b"a file that nobody asked to change"
NOW = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
MERCHANT: dict[str, Any] = {"target": "busifavor", "mchid": "1900000001", "stock_id": "98065001"}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim.txt"
    path.write_bytes(VICTIM)
    path.chmod(0o600)
    return path


@pytest.fixture
def pool(world: Path) -> Path:
    asyncio.run(open_pool("sqlite:///quanma.db", world).close())
    return world


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "a.quanma"
    with Ledger.create(path, **MERCHANT) as made:
        made.begin_plan()
        made.end_plan(Planned(0, 0, 0, 0, 0, []), Inputs(sources=[]))
    return path


def write_report(ledger: Path, folder: Path) -> None:
    with Ledger.look(ledger) as looked:
        report.write(looked, folder)


@pytest.mark.parametrize("command", ["backup", "export"])
def test_a_part_that_is_there_gives_its_mode_to_no_copy(pool: Path, run: Run, tmp_path: Path, command: str) -> None:
    part = tmp_path / "copy.part"
    part.touch()
    part.chmod(0o666)
    run(command, str(tmp_path / "copy"))
    assert mode_of(tmp_path / "copy") == 0o600


@pytest.mark.parametrize("command", ["backup", "export"])
def test_a_link_in_a_parts_place_is_not_written_through(
    pool: Path, run: Run, tmp_path: Path, victim: Path, command: str
) -> None:
    (tmp_path / "copy.part").symlink_to(victim)
    run(command, str(tmp_path / "copy"))
    assert victim.read_bytes() == VICTIM
    assert not (tmp_path / "copy").is_symlink()
    assert mode_of(tmp_path / "copy") == 0o600


@pytest.mark.parametrize("command", ["backup", "export"])
def test_a_link_that_leads_nowhere_is_there_already(pool: Path, run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "copy").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Misconfigured, match="is there already"):
        run(command, str(tmp_path / "copy"))
    assert (tmp_path / "copy").is_symlink()


def test_a_log_of_a_killed_backup_is_not_played_into_the_next_one(pool: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "copy.part-journal").symlink_to(tmp_path / "nowhere")
    run("backup", str(tmp_path / "copy"))
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy"]


def test_a_report_is_not_written_through_a_link_nor_into_a_file_of_others(
    ledger: Path, tmp_path: Path, victim: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("report.csv", "rejected.jsonl", "leftover.txt"):
        (out / name).symlink_to(victim)
    write_report(ledger, out)
    assert victim.read_bytes() == VICTIM
    assert (mode_of(out / "report.csv"), (out / "report.csv").is_symlink()) == (0o600, False)


def test_an_open_reader_of_the_report_before_reads_nothing_of_the_next(ledger: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.csv").touch(mode=0o644)
    with (out / "report.csv").open() as reader:
        write_report(ledger, out)
        assert reader.read() == ""


def test_listen_refuses_a_ledger_that_others_can_read(tmp_path: Path) -> None:
    kept = tmp_path / "issued.jsonl"
    kept.touch(mode=0o644)
    kept.chmod(0o644)
    with pytest.raises(Misconfigured, match=r"has mode 0644, so others can read users and codes: chmod 600"):
        open_listening(kept)


def test_listen_goes_on_in_its_own_ledger(tmp_path: Path) -> None:
    for line in ("one\n", "two\n"):
        with open_listening(tmp_path / "issued.jsonl") as kept:
            kept.write(line)
    assert (tmp_path / "issued.jsonl").read_text() == "one\ntwo\n"
    assert mode_of(tmp_path / "issued.jsonl") == 0o600


@pytest.mark.parametrize("lay", [Path.symlink_to, lambda path, _: os.mkfifo(path, 0o600)], ids=["link", "pipe"])
def test_a_ledger_is_a_file_itself(
    tmp_path: Path, ledger: Path, victim: Path, lay: Callable[[Path, Path], None]
) -> None:
    before = victim.read_bytes()
    lay(tmp_path / "other", victim)
    with pytest.raises(Misconfigured, match=r"it is a link|it is no file"):
        open_listening(tmp_path / "other")
    with pytest.raises(LedgerRefused, match=r"it is a link|it is no file"):
        Ledger.create(tmp_path / "other", **MERCHANT)
    assert victim.read_bytes() == before


def test_verify_writes_its_lines_through_no_link(ledger: Path, tmp_path: Path, victim: Path, world: Path) -> None:
    (tmp_path / "lines").symlink_to(victim)
    merchant = world / "merchants" / "1900000001" / "quanma.toml"
    line = ["verify", str(ledger), "--combined", str(tmp_path / "lines"), "--config", str(merchant)]
    done = CliRunner().invoke(group, line, standalone_mode=False)
    assert isinstance(done.exception, QuanmaError)
    assert "it is a link" in str(done.exception)
    assert victim.read_bytes() == VICTIM


def test_made_codes_are_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").symlink_to(tmp_path / "nowhere")
    done = CliRunner().invoke(group, ["codes", "generate", "3", "--out", str(tmp_path / "codes.txt")])
    assert done.exit_code != 0
    assert not (tmp_path / "nowhere").exists()


def test_a_world_is_not_made_over_links(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "platform").symlink_to(tmp_path / "nowhere")
    done = CliRunner().invoke(group, ["init", str(folder)], standalone_mode=False)
    assert isinstance(done.exception, Misconfigured)
    assert "is there already" in str(done.exception)


@pytest.mark.slow
def test_a_new_key_is_told_to_merchants_through_no_link(world: Path, tmp_path: Path, victim: Path) -> None:
    (world / "platform.toml.new").symlink_to(victim)
    rotate_certificate(world / "platform.toml", NOW)
    assert victim.read_bytes() == VICTIM
    settings = [world / "platform.toml", *world.glob("merchants/*/quanma.toml")]
    assert {mode_of(path) for path in settings} == {0o600}


@pytest.mark.parametrize("name", ["quanma.db", "quanma.db.lock", "quanma.db.mark"])
def test_a_pool_that_others_reach_is_not_served(pool: Path, name: str) -> None:
    (pool / name).chmod(0o660)
    with pytest.raises(StoreUnavailable, match=r"has mode 0660, so others can read .*: chmod 600"):
        open_pool("sqlite:///quanma.db", pool)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["quanma.db", "quanma.db.lock", "quanma.db.mark"])
def test_a_pool_that_is_another_users_is_not_served(pool: Path, name: str) -> None:
    os.chown(pool / name, 12345, 12345)
    with pytest.raises(StoreUnavailable, match="another user's"):
        open_pool("sqlite:///quanma.db", pool)
