"""A terminal or a file whose encoding has no Chinese, as on a western Windows: what can't be shown is escaped."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from quanma.cli.commands import listing
from tests.support.every import every_row


def ran(encoding: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, "-m", "quanma", *arguments], capture_output=True, check=False, env=environment
    )


@every_row("encoding", ["cp1252", "ascii"])
def test_the_list_of_commands_is_printed(encoding: str) -> None:
    listed = ran(encoding, "--help")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout == listing().encode(encoding, "backslashreplace") + os.linesep.encode()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("arguments", [("api",), ("upload", "--help"), ("no-such-command",)])
def test_a_command_is_not_stopped_by_what_it_prints(encoding: str, arguments: tuple[str, ...]) -> None:
    ended = ran(encoding, *arguments)
    assert b"Traceback" not in ended.stderr
    assert ended.returncode == (2 if arguments == ("no-such-command",) else 0)


@pytest.mark.slow
def test_an_error_about_a_chinese_name_is_told() -> None:
    refused = ran("cp1252", "request", "GET", "/v3/certificates", "--config", "券码.toml")
    assert refused.returncode == 1
    assert b"there is no \\u5238\\u7801.toml" in refused.stderr
    assert b"Traceback" not in refused.stderr


@every_row("encoding", ["utf-8", "gbk"])
def test_where_there_is_chinese_nothing_is_escaped(encoding: str) -> None:
    assert "券码".encode(encoding) in ran(encoding, "--help").stdout
