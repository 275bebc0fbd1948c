"""What lies in deploy/ is right: units and files are read as what reads them does, and what they name is there."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from quanma.cli.init import init
from quanma.cli.platform import serve
from quanma.serving import server, supervisor

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGES = ("docs/en/operations.md", "docs/zh/operations.md")
READ_FROM_THE_ENVIRONMENT = {"QUANMA_WORKERS", "PGPASSWORD"}
"""By the unit and the compose file; by the database's driver."""


def unit() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parsed.optionxform = str  # type: ignore[assignment]
    parsed.read_string((DEPLOY / "quanma.service").read_text("utf-8"))
    return parsed


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return document


def environment() -> dict[str, str]:
    lines = (DEPLOY / "quanma.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def parsed(command: click.Command, words: list[str]) -> dict[str, Any]:
    """As the command line reads them. Raises click.UsageError."""
    return command.make_context(command.name, words, auto_envvar_prefix=None).params


def test_the_unit_starts_a_command_that_exists() -> None:
    program, name, *words = shlex.split(unit()["Service"]["ExecStart"])
    told = [word.replace("${QUANMA_WORKERS}", environment()["QUANMA_WORKERS"]) for word in words]
    assert (program, name) == ("/opt/quanma/bin/quanma", "serve")
    assert parsed(serve, told)["workers"] == 2
    assert unit()["Service"]["EnvironmentFile"] == "/etc/quanma/quanma.env"


def test_the_unit_waits_until_what_was_asked_is_answered() -> None:
    assert float(unit()["Service"]["TimeoutStopSec"]) > supervisor.END_SECONDS > server.DRAIN_SECONDS
    assert unit()["Service"]["KillMode"] == "mixed"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_takes_the_unit_and_finds_little_exposed(tmp_path: Path) -> None:
    text = (DEPLOY / "quanma.service").read_text("utf-8")
    here = tmp_path / "quanma.service"
    here.write_text(text.replace("/opt/quanma/bin/quanma", str(Path(sys.executable).with_name("quanma"))))
    verified = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, check=False)
    # It reads what else is installed, and complains of that too.
    assert [line for line in (verified.stdout + verified.stderr).splitlines() if is_of_ours(line)] == []
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", here],
        capture_output=True,
        text=True,
        check=False,
    )
    assert security.returncode == 0, security.stdout


def is_of_ours(line: str) -> bool:
    """Whether a line of systemd-analyze is about our unit, by its file or by its name."""
    return re.match(r"(?:\S*/)?quanma\.service\b", line) is not None


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("/tmp/x/quanma.service:9: Unknown key name 'Exec' in section 'Service', ignoring.", True),
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


def test_compose_starts_a_command_that_exists_once_the_database_answers() -> None:
    platform = compose()["services"]["platform"]
    name, *words = platform["command"]
    assert name == "serve"
    assert parsed(serve, [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in words])["workers"] == 2
    assert platform["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "healthcheck" in compose()["services"]["postgres"]
    compile(platform["healthcheck"]["test"][-1], "healthcheck", "exec")
    assert "/readyz" in platform["healthcheck"]["test"][-1]
    assert (DEPLOY / platform["build"]["context"] / platform["build"]["dockerfile"]).exists()
    assert int(platform["stop_grace_period"].removesuffix("s")) > supervisor.END_SECONDS
    volumes = {volume.partition(":")[0] for one in compose()["services"].values() for volume in one["volumes"]}
    assert volumes == compose()["volumes"].keys()


def test_what_compose_wants_to_be_set_is_in_the_example() -> None:
    wanted = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text("utf-8")))
    assert wanted <= environment().keys()


def test_the_example_sets_only_what_is_read() -> None:
    known = {str(option.envvar) for option in serve.params if option.envvar}
    assert environment().keys() == known | READ_FROM_THE_ENVIRONMENT


def test_the_image_copies_what_is_there() -> None:
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists()
    assert parsed(init, ["/world"])["folder"] == Path("/world")


@pytest.mark.parametrize("page", PAGES)
def test_the_page_names_every_file_of_deploy_and_no_other(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = set(re.findall(r"deploy/([\w.]+)", text)) - {".env"}
    assert named == {path.name for path in DEPLOY.iterdir()} - {".gitignore"}


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_on_the_page_is_read(page: str) -> None:
    known = {str(option.envvar) for option in serve.params if option.envvar} | READ_FROM_THE_ENVIRONMENT
    told = set(re.findall(r"\b(?:QUANMA|PG)[A-Z_]*[A-Z]\b", (ROOT / page).read_text("utf-8")))
    assert told - {"PGPASSFILE"} <= known
