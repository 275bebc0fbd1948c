"""What people type before they have read anything: each of these works, or names the command that does."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from quanma.api.tree import OPERATIONS
from quanma.cli.api import chain_of
from quanma.cli.commands import COMMANDS
from quanma.cli.commands import EXAMPLES as ROOT_EXAMPLES
from quanma.cli.examples import EXAMPLES
from quanma.cli.main import group
from quanma.cli.nearby import MEANT, OPTIONS
from quanma.cli.nextstep import next_step
from quanma.errors import (
    AnswerUntrusted,
    ClientClosed,
    ClockSkewed,
    ClockWrong,
    GatewayFailed,
    KeyUnknown,
    NoAnswer,
    NotSent,
    NotThePlatform,
    QuanmaError,
    SignError,
)
from tests.support.every import every, every_row


def typed(line: str) -> tuple[int, str]:
    done = CliRunner().invoke(group, shlex.split(line))
    return done.exit_code, done.output


@every_row(
    ("line", "named"),
    [
        ("diagnose", "`quanma doctor`"),
        ("doctr", "`quanma doctor`"),
        ("stocks", "`quanma stock list`"),
        ("--install-completion", "`quanma completion bash`"),
        ("coupons send", "`quanma send`"),
        ("issue", "`quanma send`"),
        ("config", "`quanma status`"),
        ("config check", "`quanma status`"),
        ("check", "`quanma codes check FILE`"),
        ("version", "`quanma --version`"),
        ("-v", "`quanma --version`"),
        ("ping", "`quanma status`"),
        ("whoami", "`quanma status`"),
        ("resume", "`quanma upload FILE --stock ID --resume`"),
        ("ui", "`quanma serve"),
        ("help upload", "`quanma upload --help`"),
        ("logs", "`quanma events`"),
        ("download codes", "`quanma codes list --stock ID`"),
        ("cert", "`quanma api certificates.get`"),
        ("uplaod", "`quanma upload`"),
        ("stok list", "`quanma stock`"),
        ("stock lst", "`quanma stock list`"),
        ("codes ls", "list"),
        ("redeem A1", "`quanma use`"),
        ("api coupon.send", "`quanma api coupons.send.post`"),
        ("api 核销", "`quanma api use.post`"),
        ("api couponcode.get", "`quanma api couponcodes.get`"),
        ("api budget.get", "`quanma api budget.patch`"),
        ("api couponcodes.post --stockid 1", "--stock_id"),
        ("restore", "`quanma reconcile`"),
        ("status codes.txt.98065001.quanma", "`quanma upload-status codes.txt.98065001.quanma`"),
    ],
)
def test_a_natural_command_names_the_right_one(line: str, named: str) -> None:
    status, said = typed(line)
    assert status == 2
    assert named in said
    assert len(said) < 500


@every_row(
    ("line", "begins"),
    [
        ("", "Usage: quanma"),
        ("-V", "quanma, version"),
        ("stock create --help", "Usage: quanma stock create"),
        ("events --help", "Usage: quanma events"),
        ("use --help", "Usage: quanma use"),
        ("codes list --help", "Usage: quanma codes list"),
        ("status --help", "Usage: quanma status"),
        ("completion bash", "_quanma_completion()"),
        ("completion zsh", "#compdef quanma"),
        ("completion fish", "function _quanma_completion"),
        ("api coupons.send --help", "v3.marketing.busifavor.coupons.send.post: 发放商家券"),
        ("api wxpay.v3.marketing.busifavor.coupons.use -h", "v3.marketing.busifavor.coupons.use.post"),
    ],
)
def test_a_natural_command_works(line: str, begins: str) -> None:
    status, said = typed(line)
    assert status == 0, said
    assert said.lstrip().startswith(begins)


@every(MEANT)
def test_a_word_that_is_no_command_leads_to_one(word: str) -> None:
    assert word not in COMMANDS
    for named in MEANT[word]:
        _exists(named)


@every(OPTIONS)
def test_an_option_that_is_none_leads_to_a_command(option: str) -> None:
    for named in OPTIONS[option]:
        _exists(named.replace("COMMAND", "status"))


def _exists(named: str) -> None:
    words = named.partition(",")[0].split()
    if words[0].startswith("--"):
        return
    command = group.get_command(click.Context(group), words[0])
    assert command is not None, named
    if isinstance(command, click.Group) and len(words) > 1 and not words[1].startswith("-"):
        assert command.get_command(click.Context(command), words[1]) is not None, named


def _paths() -> list[str]:
    found: list[str] = []
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found.append(name)
        if isinstance(command, click.Group):
            found += [f"{name} {below}" for below in command.commands]
    return found


def test_every_command_has_examples() -> None:
    assert sorted(EXAMPLES) == sorted(_paths())


@every([line for lines in (*EXAMPLES.values(), ROOT_EXAMPLES) for line in lines])
def test_an_example_parses(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("pool.quanma", "issued.csv"):
        Path(file).touch()
    words = shlex.split(line.removeprefix("stock_id=$(").rstrip(")").partition(">")[0])
    assert words[0] == "quanma"
    command: click.Command = group
    rest = words[1:]
    while isinstance(command, click.Group):
        if command.invoke_without_command and (not rest or rest[0].startswith("-")):
            break
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, line
        command, rest = found, rest[1:]
    if "--help" not in rest:
        command.make_context("quanma", rest)


@every([path for path in _paths() if path not in ("platform", "codes", "stock")])
def test_help_shows_the_examples(path: str) -> None:
    status, said = typed(f"{path} --help")
    assert status == 0
    for example in EXAMPLES[path]:
        assert f"    {example}\n" in said


@every([chain_of(operation) for operation in OPERATIONS])
def test_an_operations_help_names_every_field_of_it(chain: str) -> None:
    (operation,) = [one for one in OPERATIONS if chain_of(one) == chain]
    status, said = typed(f"api {chain} --help")
    assert status == 0
    for name in operation.request.__struct_fields__:
        assert f"--{name}  " in said


def test_all_that_is_missing_or_wrong_is_told_at_once() -> None:
    data = '{"stock_type": "DISCOUNTX", "coupon_use_rule": {"use_metod": "OFF_LINE"}}'
    status, said = typed(f"api busifavor.stocks.post --data {shlex.quote(data)}")
    assert status == 2
    for told in (
        "stock_name is missing: text of 1 to 21 characters",
        "belong_merchant is missing",
        "coupon_code_mode is missing: one of MERCHANT_API, MERCHANT_UPLOAD, WECHATPAY_MODE",
        "stock_type is one of DISCOUNT, EXCHANGE, NORMAL, not 'DISCOUNTX'",
        "coupon_use_rule.coupon_available_time is missing",
        "coupon_use_rule.use_metod is no field of it: did you mean --use_method?",
    ):
        assert told in said


def test_a_file_given_without_its_at_sign_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("stock.json").write_text("{}")
    _, said = typed("api busifavor.stocks.post --data stock.json")
    assert "is stock.json a file? Write @stock.json" in said


def test_a_shell_completes_commands_and_operations() -> None:
    def completed(words: list[str], begun: str) -> list[str]:
        complete = ShellComplete(group, {}, "quanma", "_QUANMA_COMPLETE")
        return [one.value for one in complete.get_completions(words, begun)]

    assert completed([], "upl") == ["upload", "upload-status"]
    assert completed(["stock"], "c") == ["create"]
    assert "coupons.send.post" in completed(["api"], "coup")


@every_row(
    ("error", "named"),
    [
        (SignError("no"), "`quanma doctor sign`"),
        (AnswerUntrusted("no"), "`quanma doctor sign`"),
        (KeyUnknown("no"), "`quanma doctor sign`"),
        (ClockWrong("no"), "`quanma doctor clock`"),
        (ClockSkewed("no"), "`quanma doctor clock`"),
        (NotThePlatform("no"), "`quanma doctor network`"),
        (GatewayFailed("no"), "`quanma doctor network`"),
        (NotSent("no connection to a: invalid peer certificate"), "`quanma doctor network`"),
        (NoAnswer("none"), "under the same number"),
        (ClientClosed("closed"), ""),
    ],
)
def test_an_error_on_the_shell_says_what_to_do_next(error: QuanmaError, named: str) -> None:
    assert named in next_step(error)
    assert bool(named) == bool(next_step(error))
