"""`quanma stock`, `codes list`, `send`, `use`, `events`, `status`, `init`: on a platform that is served, by hand."""

from __future__ import annotations

import datetime
import json
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from quanma.api.operation import Answer, Operation
from quanma.api.stocklists import ListStocks, OwnStocks
from quanma.cli import init, stock
from quanma.cli.main import group
from quanma.cli.picking import pick
from quanma.client.client import Wechatpay
from quanma.errors import NoAnswer, QuanmaError, ResourceNotExists
from quanma.platform.keys import environment as world_of
from quanma.settings import files
from tests.support.every import every_row
from tests.support.platform import MCHID, InProcess, create_stock, merchant_config

Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(platform: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Typed]:
    """Runs a command line whose client talks to the platform in this process: exit status and output."""
    wxpay = platform.wechatpay()
    monkeypatch.setenv("QUANMA_CONFIG", str(merchant_config(platform.world)))
    monkeypatch.setattr("quanma.client.client.HttpTransport", lambda proxy: wxpay._transport)  # pyright: ignore[reportPrivateUsage]
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(group, words, standalone_mode=False)
        if isinstance(done.exception, click.ClickException | QuanmaError):
            return 1, str(done.exception)
        assert done.exception is None, done.exception
        return done.return_value or 0, done.stdout

    yield run
    wxpay.close()


def test_a_shop_in_a_few_commands(typed: Typed) -> None:
    _, stock_id = typed("stock", "create", "--name", "八月一日活动券", "--max", "100", "--get", "stock_id")
    stock_id = stock_id.strip()
    typed("api", "couponcodes.post", "--stock_id", stock_id, "--upload_request_no", "1", "--coupon_code_list", "A1")
    _, listed = typed("codes", "list", "--stock", stock_id)
    assert listed.startswith("A1\tAVAILABLE\t")
    assert typed("stock", "show", stock_id, "--get", "available_count") == (0, "1\n")
    assert typed("send", "--stock", stock_id, "--get", "coupon_code") == (0, "A1\n")
    _, listed = typed("codes", "list", "--stock", stock_id, "--status", "DISPATCHED", "--json")
    assert json.loads(listed)["openid"] == "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
    assert typed("use", "A1", "--stock", stock_id, "--get", "stock_id") == (0, f"{stock_id}\n")
    status, said = typed("use", "A1", "--stock", stock_id)
    assert status == 1
    assert "RESOURCE_ALREADY_EXISTS" in said
    _, listed = typed("stock", "list")
    assert listed.startswith(f"{stock_id}  RUNNING     MERCHANT_UPLOAD")


def test_stocks_are_listed_the_latest_first_and_only_ones_own(platform: InProcess, typed: Typed) -> None:
    for number in range(3):
        create_stock(platform.wechatpay(), f"n{number}", stock_name=f"stock {number}")
    create_stock(platform.wechatpay("1900000002"), "theirs", stock_name="theirs", belong_merchant="1900000002")
    listed = json.loads(typed("stock", "list", "--json")[1])
    assert sorted(one["stock_name"] for one in listed) == ["stock 0", "stock 1", "stock 2"]
    assert listed[0]["create_time"] >= listed[2]["create_time"]


def test_a_platform_without_that_list_is_told_with_what_to_do_instead(platform: InProcess) -> None:
    class Elsewhere(Wechatpay):
        def send(self, operation: Operation[..., Any, Any, Any], request: Any) -> Answer[Any]:

            raise ResourceNotExists("no such path")

    with pytest.raises(click.ClickException, match="is a call of quanma's own platform: look there"):
        stock.asked(Elsewhere(platform.wechatpay().merchant), OwnStocks.get, ListStocks(), "look there")


def test_a_lost_answer_names_the_number_to_ask_again_under(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> None:
        raise NoAnswer("the connection broke")

    monkeypatch.setattr("quanma.client.client.Wechatpay.send", lost)
    done = CliRunner().invoke(group, ["send", "--stock", "98065001", "--no", "order-1"], standalone_mode=False)
    assert isinstance(done.exception, NoAnswer)
    assert "to ask again under the same number, add --no order-1" in done.stderr


@pytest.mark.parametrize("command", [["send", "--stock", "1"], ["use", "A1", "--stock", "1"]])
def test_nobody_is_made_up_for_the_real_platform(
    command: list[str], typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANMA_BASE_URL", "https://api.mch.weixin.qq.com")
    status, said = typed(*command)
    assert status == 1
    assert "is missing: only for a platform on this machine one is made up" in said


NOW = datetime.datetime(2026, 11, 30, 18, 0, tzinfo=stock.BEIJING)
PLAIN: dict[str, Any] = {
    "stock_name": "券", "max_coupons": 10, "goods_name": "咖啡", "per_user": 1, "minus_fen": None, "percent": None,
    "price_fen": None, "minimum_fen": 1000, "days": 90, "coupon_code_mode": "MERCHANT_UPLOAD", "notify_appid": None,
}  # fmt: skip


@every_row(
    ("options", "stock_type", "rule"),
    [
        ({}, "NORMAL", {"fixed_normal_coupon": {"discount_amount": 100, "transaction_minimum": 1000}}),
        ({"percent": 90}, "DISCOUNT", {"discount_coupon": {"discount_percent": 90, "transaction_minimum": 1000}}),
        ({"price_fen": 0}, "EXCHANGE", {"exchange_coupon": {"exchange_price": 0, "transaction_minimum": 1000}}),
    ],
)
def test_a_stock_from_few_options(options: dict[str, Any], stock_type: str, rule: dict[str, Any]) -> None:
    made = stock.usual(MCHID, "n", NOW, **(PLAIN | options))
    assert made["stock_type"] == stock_type
    assert rule.items() <= made["coupon_use_rule"].items()
    times = made["coupon_use_rule"]["coupon_available_time"]
    assert times == {
        "available_begin_time": "2026-11-30T00:00:00+08:00",
        "available_end_time": "2027-02-27T23:59:59+08:00",
    }


def test_two_kinds_of_discount_are_refused() -> None:
    two: dict[str, Any] = {"minus_fen": 100, "percent": 90}
    with pytest.raises(click.UsageError, match="--minus and --percent: a stock has one kind of discount"):
        stock.usual(MCHID, "n", NOW, **(PLAIN | two))


def test_own_fields_come_on_top_and_a_dry_run_sends_nothing(typed: Typed) -> None:
    own = '{"coupon_use_rule": {"use_method": "SELF_CONSUME"}}'
    _, shown = typed("stock", "create", "--name", "券", "--max", "10", "--data", own, "--dry-run")
    rule = json.loads(shown)["coupon_use_rule"]
    assert rule["use_method"] == "SELF_CONSUME"
    assert "coupon_available_time" in rule
    assert typed("stock", "list") == (0, "")


def test_status_shows_the_settings_and_asks_the_platform(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "codes.txt.98065001.quanma").touch()
    status, said = typed("status")
    assert status == 0
    assert "upload     codes.txt.98065001.quanma: `quanma upload-status codes.txt.98065001.quanma`" in said
    assert f"merchant   {MCHID}, its certificate " in said
    assert "platform   http://127.0.0.1:8460: answers in " in said


def test_status_without_a_platform_is_a_failure(platform: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_CONFIG", str(merchant_config(platform.world)))
    monkeypatch.setenv("QUANMA_BASE_URL", "http://127.0.0.1:9")
    done = CliRunner().invoke(group, ["status"], standalone_mode=False)
    assert done.return_value == 1
    assert "no connection" in done.output


def test_a_template_of_real_settings_is_private_ignored_by_git_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    assert CliRunner().invoke(group, ["init", str(folder), "--live", "--mchid", "1900000009"]).exit_code == 0
    file = folder / "quanma.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (folder / ".gitignore").read_text() == "*\n"
    table = files.read_toml(file)
    assert table["merchant"]["mchid"] == "1900000009"
    done = CliRunner().invoke(group, ["init", str(folder), "--live"], standalone_mode=False)
    assert "never overwritten" in str(done.exception)


def test_a_world_is_ignored_by_git_and_told_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(group, ["init", "world"])
    assert (tmp_path / "world" / ".gitignore").read_text() == "*\n"
    assert f"export QUANMA_CONFIG={tmp_path}/world/merchants/{MCHID}/quanma.toml" in done.output


def port_of(world: Path) -> int:
    port: int = files.read_toml(world / "platform.toml")["port"]
    assert files.read_toml(merchant_config(world))["merchant"]["base_url"] == f"http://127.0.0.1:{port}"
    return port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


def test_a_world_has_a_port_that_is_free(tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "PORT_DEFAULT", taken)
    done = CliRunner().invoke(group, ["init", str(tmp_path / "world")])
    assert port_of(tmp_path / "world") > taken
    assert f"port {taken} is taken: the platform has {port_of(tmp_path / 'world')}" in done.output


def test_a_port_that_was_wanted_is_kept_and_told_to_be_taken(tmp_path: Path, taken: int) -> None:
    done = CliRunner().invoke(group, ["init", str(tmp_path / "world"), "--port", str(taken)])
    assert port_of(tmp_path / "world") == taken
    assert f"port {taken} is taken now: stop what listens there before `quanma serve`" in done.output


ANSWER = {"stock_id": "1", "coupon_code_count": {"total_count": 5}, "data": [{"code": "A1"}]}


@every_row(
    ("wanted", "value"),
    [("stock_id", "1"), ("coupon_code_count.total_count", 5), ("total_count", 5), ("data.0.code", "A1")],
)
def test_a_field_of_an_answer_by_its_name(wanted: str, value: object) -> None:
    assert pick(ANSWER, wanted) == value


@every_row("wanted", ["stock", "data.1.code", "data.code", "stock_id.x", ""])
def test_a_field_that_is_not_there_is_told_with_those_that_are(wanted: str) -> None:
    with pytest.raises(click.ClickException, match="there is stock_id, coupon_code_count, "):
        pick(ANSWER, wanted)


def test_the_default_merchant_is_the_worlds() -> None:
    assert init.MCHID_DEFAULT == world_of.MCHID_DEFAULT
