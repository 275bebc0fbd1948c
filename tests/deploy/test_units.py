"""The units in deploy/ are right: read as systemd does, and what they start is there and does what they say."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from quanma.cli.maintenance import backup, migrate
from quanma.cli.platform import SETTINGS, serve
from quanma.platform.pool import backups
from quanma.serving import server, supervisor
from tests.deploy.commands import parsed
from tests.support.every import every_row

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGES = ("docs/en/operations.md", "docs/zh/operations.md")
QUANMA = str(Path(sys.executable).with_name("quanma"))
PROGRAM = "/opt/quanma/bin/quanma"
UNITS = ("quanma.service", "quanma-backup.service", "quanma-backup.timer")
READ_FROM_THE_ENVIRONMENT = {"PGPASSWORD"}
"""By the database's driver."""


def unit(name: str) -> configparser.ConfigParser:
    read = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    read.optionxform = str  # type: ignore[assignment]
    read.read_string((DEPLOY / name).read_text("utf-8"))
    return read


def words_of(command: str) -> list[str]:
    """A command as systemd starts it."""
    joined = re.sub(r"\\\n\s*", " ", command)
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(joined)]


def environment(*, offered: bool = False) -> dict[str, str]:
    """What quanma.env sets; and what it offers behind a `#`."""
    text = (DEPLOY / "quanma.env").read_text("utf-8")
    return dict(re.findall(rf"^{'#?' if offered else ''}([A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_the_unit_starts_a_command_that_exists() -> None:
    program, name, *words = words_of(unit("quanma.service")["Service"]["ExecStart"])
    assert (program, name) == (PROGRAM, "serve")
    assert parsed(serve, words)["config_path"] == Path("/var/lib/quanma/platform.toml")


def test_the_unit_waits_until_what_was_asked_is_answered() -> None:
    service = unit("quanma.service")["Service"]
    assert float(service["TimeoutStopSec"]) > supervisor.END_SECONDS > server.DRAIN_SECONDS
    assert service["KillMode"] == "mixed"


def test_the_unit_is_told_and_what_waiting_cannot_mend_is_not_tried_again() -> None:
    service = unit("quanma.service")["Service"]
    assert service["Type"] == "notify"
    assert "NotifyAccess" not in service  # The main process alone: its workers say nothing.
    assert float(service["WatchdogSec"]) > 0
    assert service["Restart"] == "always"
    assert str(SETTINGS) in service["RestartPreventExitStatus"].split()
    assert "1" not in service["RestartPreventExitStatus"].split()


@every_row("name", ["quanma.service", "quanma-backup.service"])
def test_units_run_as_one_user_with_one_environment_and_may_write_in_their_folders_only(name: str) -> None:
    service = unit(name)["Service"]
    assert (service["User"], service["Group"], service["UMask"]) == ("quanma", "quanma", "0077")
    assert service["EnvironmentFile"] == "/etc/quanma/quanma.env"
    assert (service["ProtectSystem"], service["StateDirectoryMode"]) == ("strict", "0700")
    assert "quanma" in service["StateDirectory"].split()


def test_a_command_as_the_service_has_what_the_service_has() -> None:
    text = (DEPLOY / "quanma-as-service").read_text("utf-8")
    told = set(re.findall(r"--property=\"?([^\"\s]+(?: [\w-]+)?)\"?(?= |$)", text, re.MULTILINE))
    service = unit("quanma-backup.service")["Service"]
    of_unit = {f"{name}={value}" for name, value in service.items()}
    assert len(told) == 8
    assert told <= of_unit
    assert f"--uid={service['User']} --gid={service['Group']} " in text


@pytest.mark.skipif(not shutil.which("systemd-run"), reason="no systemd-run")
def test_systemd_takes_the_options_of_a_command_as_the_service(tmp_path: Path) -> None:
    script = tmp_path / "quanma-as-service"
    text = (DEPLOY / "quanma-as-service").read_text("utf-8")
    # The last option makes it start nothing: those before it are read first, and an unknown one is refused.
    script.write_text(text.replace(PROGRAM, f"--version {PROGRAM}"), "utf-8")
    misspelt = tmp_path / "misspelt"
    misspelt.write_text(script.read_text("utf-8").replace("--collect", "--colect"), "utf-8")
    assert subprocess.run(["sh", misspelt], capture_output=True, check=False).returncode != 0
    done = subprocess.run(["sh", script, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The units, with a program that is there."""
    for name in UNITS:
        text = (DEPLOY / name).read_text("utf-8").replace(PROGRAM, QUANMA)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")


def complaints(file: Path) -> list[str]:
    verified = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    # It reads what else is installed, and complains of that too.
    return [line for line in (verified.stdout + verified.stderr).splitlines() if is_of_ours(line)]


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_units(here: Path, name: str) -> None:
    assert complaints(here / name) == []


@needs_systemd
def test_systemd_takes_the_backup_of_postgresql(here: Path) -> None:
    folder = here / "quanma-backup.service.d"
    folder.mkdir()
    text = (DEPLOY / "quanma-backup-postgres.conf").read_text("utf-8")
    (folder / "postgres.conf").write_text(text, "utf-8")
    assert complaints(here / "quanma-backup.service") == []
    (folder / "postgres.conf").write_text("[Service]\nExec=x\n", "utf-8")
    assert complaints(here / "quanma-backup.service") != []  # It was read.


@needs_systemd
@pytest.mark.parametrize("name", ["quanma.service", "quanma-backup.service"])
def test_systemd_finds_little_exposed(here: Path, name: str) -> None:
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", here / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert security.returncode == 0, security.stdout


def is_of_ours(line: str) -> bool:
    """Whether a line of systemd-analyze is about one of our units, by its file or by its name."""
    return re.match(r"(?:\S*/)?quanma(?:-backup)?\.(?:service|timer)\b", line) is not None


@every_row(
    ("line", "ours"),
    [
        ("/tmp/x/quanma.service:9: Unknown key name 'Exec' in section 'Service', ignoring.", True),
        ("/tmp/x/quanma-backup.service.d/postgres.conf:2: Unknown key name 'Exec' in section 'Service'", True),
        ("quanma.service: Command /opt/quanma/bin/quanma is not executable: No such file or directory", True),
        ("/usr/lib/systemd/system/old.service:12: Unit configured to use KillMode=none. This is unsafe.", False),
        ("old.service: Command /usr/bin/old is not executable: No such file or directory", False),
        ("/etc/systemd/system/old@.service:3: Support for option SysVStartPriority= has been removed", False),
        ("old.device: Failed to load quanma.service", False),
        ("Failed to prepare filename /usr/lib/systemd/system/old.swap: Invalid argument", False),
    ],
)
def test_a_unit_of_another_package_is_not_judged(line: str, ours: bool) -> None:
    assert is_of_ours(line) == ours


@needs_systemd
def test_the_backup_comes_once_a_day() -> None:
    (when,) = [unit("quanma-backup.timer")["Timer"]["OnCalendar"]]
    done = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=2", when], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    days = re.findall(r"(?:Next elapse|Iter(?:ation|\.) #2): \w+ (\d{4}-\d\d-\d\d) 03:30", done.stdout)
    assert len({*days}) == 2


@pytest.mark.slow
def test_the_nightly_copy_of_a_sqlite_pool_is_made_by_what_the_unit_starts(world: Path, tmp_path: Path) -> None:
    (copies := tmp_path / "copies").mkdir()
    _, name, *words = words_of(unit("quanma-backup.service")["Service"]["ExecStart"])
    moved = [word.replace("/var/lib/quanma-backups", str(copies)) for word in words]
    moved = [word.replace("/var/lib/quanma/", f"{world}/") for word in moved]
    assert name == backup.name
    assert parsed(backup, moved)["keep"] == 14
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QUANMA_")}
    run([QUANMA, str(migrate.name), "--config", f"{world}/platform.toml"], clean)
    run([QUANMA, name, *moved], clean)
    (copy,) = copies.iterdir()
    assert backups.DATED.fullmatch(copy.name)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pg_dump"), reason="no pg_dump")
def test_the_nightly_copy_of_a_pool_in_postgresql_is_made_by_what_the_unit_starts(
    world: Path, postgres_url: str, tmp_path: Path
) -> None:
    (copies := tmp_path / "copies").mkdir()
    (old := copies / "quanma-20200101T000000Z.dump").touch()
    os.utime(old, (0, 0))
    service = unit("quanma-backup-postgres.conf")["Service"]
    start = [word.replace("/var/lib/quanma-backups", str(copies)) for word in words_of(service["ExecStart"])]
    after = [word.replace("/var/lib/quanma-backups", str(copies)) for word in words_of(service["ExecStartPost"])]
    password = {"PGPASSWORD": urlsplit(postgres_url).password or ""}
    told = {**os.environ, **password, "QUANMA_DATABASE": postgres_url}
    run([QUANMA, "migrate", "--config", f"{world}/platform.toml"], told)
    run(start, told)
    run(after, told)
    (copy,) = copies.iterdir()
    assert re.fullmatch(r"quanma-\d{8}T\d{6}Z\.dump", copy.name)
    assert b"PGDMP" in copy.read_bytes()[:5]
    del told["QUANMA_DATABASE"]
    refused = subprocess.run(start, env=told, capture_output=True, text=True, check=False)
    assert "set it in /etc/quanma/quanma.env" in refused.stderr
    assert refused.returncode != 0
    assert [*copies.iterdir()] == [copy]


def run(command: list[str], told: dict[str, str]) -> None:
    done = subprocess.run(command, env=told, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_example_sets_and_offers_only_what_is_read() -> None:
    known = {str(option.envvar) for option in serve.params if option.envvar} | READ_FROM_THE_ENVIRONMENT
    assert environment(offered=True).keys() == known
    assert environment() == {"QUANMA_WORKERS": "1"}


@every_row("page", PAGES)
def test_the_page_names_every_file_of_deploy_and_no_other(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = set(re.findall(r"deploy/((?:\w+/)?[\w.-]+\w)", text)) - {".env"}
    files = {path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file()}
    assert named == files - {".gitignore", ".env"}


@every_row("page", PAGES)
def test_what_the_page_says_to_install_puts_every_file_where_it_is_looked_for(page: str, tmp_path: Path) -> None:
    for folder in ("etc/systemd/system", "usr/local/sbin", "var/lib"):
        (tmp_path / folder).mkdir(parents=True)
    text = (ROOT / page).read_text("utf-8")
    lines = re.findall(r"^(?:- .*`)?(install -[^`\n]+)", text, re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        # Without the account: it is not of this machine.
        words = re.sub(r" (?=/(?:etc|usr|var)/)", f" {tmp_path}", line.replace("-o quanma -g quanma ", ""))
        run(["sh", "-euc", words], {**os.environ})
    modes = {
        file.relative_to(tmp_path).as_posix(): oct(file.stat().st_mode & 0o777)
        for file in tmp_path.rglob("*")
        if file.is_file()
    }
    assert modes == {
        "etc/quanma/quanma.env": "0o600",
        "etc/systemd/system/quanma.service": "0o644",
        "etc/systemd/system/quanma-backup.service": "0o644",
        "etc/systemd/system/quanma-backup.timer": "0o644",
        "etc/systemd/system/quanma-backup.service.d/postgres.conf": "0o644",
        "usr/local/sbin/quanma-as-service": "0o755",
    }
    assert oct((tmp_path / "var/lib/quanma").stat().st_mode & 0o777) == "0o700"


@every_row("page", PAGES)
def test_every_variable_on_the_page_is_read(page: str) -> None:
    known = {str(option.envvar) for option in serve.params if option.envvar} | READ_FROM_THE_ENVIRONMENT
    told = set(re.findall(r"\b(?:QUANMA|PG)[A-Z_]*[A-Z]\b", (ROOT / page).read_text("utf-8")))
    assert told - {"PGPASSFILE"} <= known
