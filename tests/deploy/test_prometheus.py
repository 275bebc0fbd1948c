"""Alerts and the board read what `/metrics` shows, of one worker and of many; and alerts fire when they should."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from quanma.api.tree import OPERATIONS
from tests.support.every import every_row
from tests.support.platform import Served, build_world, served
from tests.support.postgres import Databases
from tests.support.promql import grouped, selectors

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/quanma.rules.yml"
BOARD = ROOT / "deploy/grafana/quanma.json"
STORIES = Path(__file__).with_name("alerts.yml")
PAGES = ("docs/en/operations.md", "docs/zh/operations.md")
GIVEN = {"job", "instance"}
"""Labels that Prometheus adds to what it reads."""
ITS_OWN = {"up"}
"""Series that Prometheus makes of reading."""

pytestmark = pytest.mark.xdist_group("metrics")  # Two platforms are enough.


@functools.cache
def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(BOARD.read_text("utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> list[str]:
    of_board = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*(rule["expr"] for rule in rules()), *of_board]


class Shown(NamedTuple):
    """What a platform shows on `/metrics`."""

    types: dict[str, str]
    """By the name of a series."""
    values: dict[tuple[str, str], set[str]]
    """By the name of a series and of a label."""

    def labels(self, name: str) -> set[str]:
        return {label for series, label in self.values if series == name}


def shown_by(platform: Served) -> Shown:
    with platform.wechatpay() as wxpay:  # Something was asked, so that there is a series of it.
        wxpay.chain("v3/certificates").get()
    with urlopen(f"{platform.url}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [(sample, family.type) for family in families for sample in family.samples]
    values: dict[tuple[str, str], set[str]] = {}
    for sample, _ in samples:
        for label, value in sample.labels.items():
            values.setdefault((sample.name, label), set()).add(value)
    return Shown({sample.name: kind for sample, kind in samples}, values)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with served(build_world(tmp_path_factory.mktemp("one") / "world")) as platform:
        yield shown_by(platform)


@pytest.fixture(scope="module")
def many(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    url = databases.fresh()
    world = build_world(tmp_path_factory.mktemp("many") / "world")
    with served(world, "--database", url, "--workers", "2") as platform:
        yield shown_by(platform)
    databases.drop(url)


@pytest.fixture(params=["one", "many"])
def shown(request: pytest.FixtureRequest) -> Shown:
    found: Shown = request.getfixturevalue(request.param)
    return found


@pytest.mark.slow
def test_every_series_that_is_read_is_shown_with_the_labels_that_are_read(shown: Shown) -> None:
    for expression in expressions():
        read = selectors(expression)
        assert read
        labels = set[str]()
        for one in read:
            if one.name not in ITS_OWN:
                assert one.name in shown.types, one.name
            labels |= shown.labels(one.name)
            compared = {label for label, _, _ in one.matchers}
            assert compared <= shown.labels(one.name) | GIVEN, (one.name, compared)
        assert grouped(expression) <= labels | GIVEN, expression


@pytest.mark.slow
def test_every_cause_and_outcome_that_is_read_is_shown(shown: Shown) -> None:
    for expression in expressions():
        for one in selectors(expression):
            for label, how, text in one.matchers:
                if label in ("cause", "outcome"):
                    assert how in ("=", "=~")
                    assert {*text.split("|")} <= shown.values[one.name, label]


@pytest.mark.slow
def test_one_worker_and_many_show_the_same_series_but_for_the_pid(one: Shown, many: Shown) -> None:
    assert one.types == many.types
    several = {(name, label) for name, label in many.values if label != "pid"}
    assert several == one.values.keys()
    of_each = {name for name, label in many.values if label == "pid"}
    assert of_each == {name for name in one.types if name.startswith("process_")}


@pytest.mark.slow
def test_a_rate_is_taken_of_what_only_grows(one: Shown) -> None:
    for expression in expressions():
        for name in re.findall(r"\b(?:rate|increase)\(\s*(\w+)", expression):
            assert one.types[name] in ("counter", "histogram"), name


def test_every_operation_that_is_read_exists() -> None:
    known = {f"{operation.verb} {operation.path}" for operation in OPERATIONS}
    compared = {
        text
        for expression in expressions()
        for one in selectors(expression)
        for label, _, text in one.matchers
        if label == "operation"
    }
    assert compared
    assert compared <= known


def test_every_alert_says_what_happened_in_both_languages_and_whom_it_wakes() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "summary_zh"}
        assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
        assert 'job="quanma"' in rule["expr"]


@every_row("page", PAGES)
def test_the_page_says_of_every_alert_what_to_do(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert re.findall(r"^\| `(Quanma\w+)` \|", text, re.MULTILINE) == [rule["alert"] for rule in rules()]


def test_every_panel_of_the_board_has_a_place_of_its_own() -> None:
    board = json.loads(BOARD.read_text("utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len({*ids}) == len(ids)
    taken = set[tuple[int, int]]()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    variables = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
    assert {*re.findall(r"\$\{?(\w+)", json.dumps(board))} <= variables


UNPACKED = Path(sys.prefix) / "poolers/usr/bin/promtool"
"""See tools/poolers.sh."""
PROMTOOL = shutil.which("promtool") or (str(UNPACKED) if UNPACKED.exists() else "")
promtool = pytest.mark.skipif(not PROMTOOL, reason="no promtool: it comes with Prometheus")


def checked(*arguments: str | Path) -> None:
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_prometheus_takes_the_rules() -> None:
    checked("check", "rules", RULES)


@promtool
def test_prometheus_takes_every_expression_of_the_board(tmp_path: Path) -> None:
    records = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__rate_interval", "5m", expression)}
        for number, expression in enumerate(expressions())
    ]
    file = tmp_path / "board.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": records}]}), "utf-8")
    checked("check", "rules", file)


@promtool
@pytest.mark.slow
def test_alerts_fire_when_they_should_and_not_before() -> None:
    checked("test", "rules", STORIES)


def test_there_is_a_story_of_every_alert_that_fires_and_of_one_that_does_not() -> None:
    stories = [told for test in yaml.safe_load(STORIES.read_text("utf-8"))["tests"] for told in test["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert {told["alertname"] for told in stories if told["exp_alerts"]} == names
    assert {told["alertname"] for told in stories if not told["exp_alerts"]} == names
