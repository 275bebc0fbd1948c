"""`quanma request`: what would be dropped in silence is wrong usage, before anything is read or sent."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from quanma.cli.main import group


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["GET", "/v3/x/y?a=1&a=2"], "a query parameter stands twice"),
        (["GET", "/v3/x/y?a=1", "--query", "a=2"], "a query parameter stands twice"),
        (["POST", "/v3/x/y", "--data", '{"a":1,"a":2}'], "a stands twice"),
        (["POST", "/v3/x/y", "--data", '{"b":[{"a":1,"a":1}]}'], "a stands twice"),
        (["POST", "/v3/x/y", "--data", "{"], "not JSON that we send"),
        (["POST", "/v3/x/y", "--data", '{"a":NaN}'], "not JSON that we send"),
        (["POST", "/v3/x/y", "--data", "[1]"], "--data is not a JSON object"),
    ],
)
def test_what_would_be_dropped_in_silence_is_wrong_usage(arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(group, ["request", *arguments])
    assert done.exit_code == 2
    assert reason in done.output
