"""`quanma request`: what would be dropped in silence is wrong usage; the rest is signed, sent, verified and printed."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from quanma.cli.main import group
from tests.cli.conftest import Quanma
from tests.support.every import every_row


@every_row(
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


def test_an_answer_is_printed_as_json_once_it_is_verified(quanma: Quanma, stock_id: str, tmp_path: Path) -> None:
    path = f"/v3/marketing/busifavor/stocks/{stock_id}/couponcodes"
    (tmp_path / "body.json").write_text('{"coupon_code_list": ["A1", "B2"], "upload_request_no": "n1"}')
    posted = quanma("request", "post", path, "--data", "@body.json")
    assert (posted.status, json.loads(posted.out)["success_codes"]) == (0, ["A1", "B2"])
    listed = quanma("request", "GET", f"{path}?limit=1", "--query", "offset=1")
    assert listed.status == 0
    assert [code["code"] for code in json.loads(listed.out)["data"]] == ["B2"]


def test_a_refusal_is_told_and_ends_with_1(quanma: Quanma) -> None:
    ended = quanma("request", "GET", "/v3/marketing/busifavor/stocks/55555")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("quanma: 404 RESOURCE_NOT_EXISTS: ")


@every_row(
    ("arguments", "status", "reason"),
    [
        (["FETCH", "/v3/certificates"], 2, "'FETCH' is not one of"),
        (["GET", "/v3/certificates", "--query", "limit"], 2, "--query limit is not K=V"),
        (["POST", "/v3/certificates", "--data", "@no.json"], 1, "no.json can't be read"),
        (["GET", "/v3/certificates", "--config", "no.toml"], 1, "no.toml"),
    ],
)
def test_what_is_missing_or_wrong_is_named(quanma: Quanma, arguments: list[str], status: int, reason: str) -> None:
    ended = quanma("request", *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert reason in ended.err
