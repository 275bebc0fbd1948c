"""Commands, run in this process on a world of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from quanma.cli.main import group
from quanma.errors import QuanmaError

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(world: Path) -> Run:
    """Runs a command on the world: its exit status and what it printed. Raises what the command raises."""

    def run(command: str, *arguments: str) -> tuple[int, str]:
        line = [command, "--config", str(world / "platform.toml"), *arguments]
        done = CliRunner().invoke(group, line, standalone_mode=False, catch_exceptions=False)
        if isinstance(done.exception, QuanmaError):
            raise done.exception
        return done.return_value or 0, done.output

    return run
