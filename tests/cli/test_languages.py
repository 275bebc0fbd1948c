"""What people read, in English and in Chinese: one catalogue, complete, up to date, and used by every command."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from string import Formatter

import click
import pytest

from quanma.api.tree import OPERATIONS
from quanma.cli import language
from quanma.cli.api import chain_of
from quanma.cli.catalogue import Catalogue, catalogue
from quanma.cli.commands import COMMANDS
from quanma.cli.main import group
from tests.cli.conftest import Ended, Quanma
from tests.support.every import some_quick
from tools import texts
from tools.messages import messages_of

SENTENCE = re.compile(r"(?<![\w./-])[A-Za-z][a-z']+[,:;]? [a-z']{2,}[,:;]? [a-z']{2,}(?![\w./-])")
"""Three English words in a row."""
COMMANDS_IN_IT = re.compile(r"`[^`]*`|'[^']*'|(quanma|pip|openssl|jq|export|tr|zstd) [^\n，。；：（）]*")


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    yield
    language.use(language.ENGLISH)


@pytest.fixture
def zh(quanma: Quanma, monkeypatch: pytest.MonkeyPatch) -> Quanma:
    """The command, in Chinese."""
    monkeypatch.setenv("QUANMA_LANG", "zh")
    return quanma


@cache
def chinese() -> dict[str, str]:
    """The catalogue: each text, and its translation."""
    return {str(one.id): str(one.string) for one in texts.read(texts.CATALOGUE) if one.id}


def english_in(text: str) -> list[str]:
    return [found.group() for found in SENTENCE.finditer(COMMANDS_IN_IT.sub("", text))]


# Which language.


@pytest.mark.parametrize(
    ("environment", "chosen"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.GB18030"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "zh_TW@radical"}, "zh"),
        ({"LANG": "zha_CN"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "QUANMA_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "QUANMA_LANG": "zh"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "QUANMA_LANG": ""}, "zh"),
        ({"QUANMA_LANG": "zh-Hans"}, "zh"),
        ({"QUANMA_LANG": "EN_us.UTF-8"}, "en"),
    ],
)
def test_the_language_is_what_QUANMA_LANG_names_and_else_the_locale_s(environment: dict[str, str], chosen: str) -> None:
    assert language.chosen(environment) == chosen


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["--version"]])
def test_a_wrong_QUANMA_LANG_is_told_in_both_languages(arguments: list[str]) -> None:
    environment = os.environ | {"QUANMA_LANG": "fr", "PYTHONIOENCODING": "utf-8"}
    ended = subprocess.run(
        [sys.executable, "-m", "quanma", *arguments], env=environment, capture_output=True, encoding="utf-8"
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    told = "QUANMA_LANG is 'fr': it is en or zh, or unset · QUANMA_LANG 应为 en 或 zh，也可以不设"
    assert ended.stderr == f"quanma: {told}\n"


def test_no_catalogue_is_loaded_for_english() -> None:
    code = (
        "import sys; sys.argv = ['quanma', '--help']\n"
        "from quanma.cli.start import main; main()\n"
        "assert not {'gettext', 'click', 'quanma.cli.catalogue'} & {*sys.modules}, 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# The catalogue.


def test_the_template_has_the_texts_of_the_program_and_no_others() -> None:
    assert texts.TEMPLATE.read_bytes() == texts.written(texts.template()), "run `python -m tools.texts`"


def test_every_text_has_a_translation_and_no_translation_is_left_over() -> None:
    assert [text for text in texts.texts() if not chinese().get(text)] == [], (
        "run `python -m tools.texts`, and translate these"
    )
    assert [text for text in chinese() if text not in texts.texts()] == [], "run `python -m tools.texts`"


def test_the_compiled_catalogue_is_that_of_the_source() -> None:
    compiled = texts.CATALOGUE.with_suffix(".mo").read_bytes()
    assert compiled == texts.compiled(texts.read(texts.CATALOGUE)), "run `python -m tools.texts`"


def test_what_is_printed_for_people_goes_through_the_catalogue() -> None:
    """`click.echo` and `print` are for what programs read: an English text given to them would stay English."""
    printed = [
        ast.unparse(node)
        for path in (texts.SOURCE / "cli").glob("*.py")
        if path.name != "language.py"  # It tells of a wrong QUANMA_LANG, in both.
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "print")
    ]
    assert len(printed) > 10
    assert [call for call in printed if messages_of(call) and "said(" not in call] == []


LEFT_OUT = ("plural", "ends", "have", "sheets", "attempt_2", "commits_2", "coupons_2", "value", "value_2", "value_3")
"""Fields of the English grammar, which Chinese does without."""


@pytest.mark.parametrize("fields_of", [lambda text: [field for _, field, _, _ in Formatter().parse(text) if field]])
def test_a_translation_has_the_fields_of_its_text(fields_of: Callable[[str], list[str]]) -> None:
    wrong = []
    for text, said in chinese().items():
        given, used = {*fields_of(text)}, {*fields_of(said)}
        if used - given or {field for field in given - used if field not in LEFT_OUT}:
            wrong.append((text, said))
    assert wrong == []


def test_no_translation_holds_an_english_sentence() -> None:
    wrong = [said for said in chinese().values() if english_in(re.sub(r"\{\w+\}", "，", said))]
    assert wrong == []


# A text that was put together is recognised.


def filled(text: str, mark: str = "⟨{}⟩") -> tuple[str, dict[str, str]]:
    """A text with something in each field that is in no text."""
    said, fields, before = "", dict[str, str](), ""
    for number, (literal, field, form, conversion) in enumerate(Formatter().parse(text), start=11):
        said += literal
        if field is None:
            continue
        if field not in fields:
            kind = form or ""
            fields[field] = f"'{mark.format(number)}'" if conversion else mark.format(number)
            if kind.endswith(("d", "f", "g", ",", "x", "X")):
                fields[field] = str(number)
            elif not literal and before:
                fields[field] = ""  # What stands side by side is told apart by what is known of it.
        said += fields[field]
        before = fields[field]
    return said, fields


def test_every_text_is_recognised_by_its_template() -> None:
    known = Catalogue(chinese())
    wrong = []
    for text, translation in chinese().items():
        said, fields = filled(text)
        if re.search("[A-Za-z]{2}", said) and known.said(said) != translation.format(**fields).replace(" （", "（"):
            wrong.append((said, known.said(said)))
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("made world", "已生成 world"),
        ("  next: the same command with --resume", "  下一步：同一条命令加 --resume"),
        ("codes.txt cannot be read: Permission denied", "无法读取 codes.txt：没有权限"),
        ("2 × number cell (rows 7, 9): the cell holds a date or time: export it", None),
        (
            (
                "no connection to 127.0.0.1:1: Connection refused (os error 111): check base_url, and the proxy "
                "(1 attempt in 0.0 s)"
            ),
            "无法连接 127.0.0.1:1：连接被拒绝（os error 111）：请检查 base_url 和代理（0.0 秒内尝试 1 次）",
        ),
        (
            "429 FREQUENCY_LIMITED: 频率限制: too many requests (Request-ID 1A-429); send it again in 3 s, not before",
            "429 FREQUENCY_LIMITED：频率限制：请求太多（Request-ID 1A-429）；3 s之后再重发，不要提前",
        ),
        ("no such command 'uplaod': did you mean `quanma upload`?", "没有命令 'uplaod'：是不是 `quanma upload`？"),
        # Names that look like a text stay what they are.
        ("made upload codes", "已生成 upload codes"),
        ("made {world}", "已生成 {world}"),
        ("quanma codes check codes.txt", "quanma codes check codes.txt"),
        ("did you mean `quanma codes check FILE`?", "是不是 `quanma codes check FILE`？"),
        ("there is no ledger total row", None),
        ("a sentence that nobody wrote", "a sentence that nobody wrote"),
        ("", ""),
    ],
)
def test_a_text_is_translated_with_what_stands_in_it(text: str, said: str | None) -> None:
    found = catalogue("zh").said(text)
    if said is not None:
        assert found == said
    else:
        assert not english_in(found)


@pytest.mark.parametrize("sign", [", ", ": ", "; ", " is ", " (", " of ", "\n", " "])
def test_a_long_text_of_another_program_is_not_puzzled_over(sign: str) -> None:
    for length in (400, 4_000, 40_000):
        text = f"400 PARAM_ERROR: {sign.join(['the answer', 'a header'] * (length // 20))}"
        assert catalogue("zh").said(text).count("\n") == text.count("\n")


# Every command.


def all_commands() -> list[list[str]]:
    found: list[list[str]] = []

    def add(words: list[str], command: click.Command) -> None:
        found.append(words)
        if isinstance(command, click.Group):
            for name, below in command.commands.items():
                add([*words, name], below)

    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        add([name], command)
    return found


HELP = [
    *(pytest.param(words, id=" ".join(words)) for words in ([], *all_commands())),
    *some_quick([(chain_of(one), ["api", chain_of(one)]) for one in OPERATIONS]),
]


def examples(printed: str) -> list[str]:
    return [line.strip() for line in printed.splitlines() if re.match(r" +(quanma [a-z]|stock_id=)", line)]


@pytest.mark.parametrize("words", HELP)
def test_the_help_of_a_command_is_in_each_language(words: list[str], quanma: Quanma, zh: Quanma) -> None:
    in_chinese = zh(*words, "--help")
    os.environ["QUANMA_LANG"] = "en"
    in_english = quanma(*words, "--help")
    assert (in_chinese.status, in_english.status) == (0, 0)
    assert english_in(in_chinese.out) == []
    assert re.search("[\u4e00-\u9fff]", in_chinese.out)
    assert in_english.out.startswith(("Usage: ", "v3.", "brand."))
    assert examples(in_chinese.out) == examples(in_english.out)
    # The same options, fields and examples are told of.
    names = re.compile(r"--[\w-]+|quanma [a-z-]+ ?[^\s]*")
    assert {*names.findall(in_chinese.out)} >= {*re.findall(r"^ +(--[\w-]+)", in_english.out, re.MULTILINE)}


def _columns(line: str) -> int:
    from quanma.cli.speaking import columns_of

    return columns_of(line)


REFUSALS = [
    ["uplaod"],
    ["diagnose"],
    ["doctor", "clok"],
    ["doctor", "--json", "--report"],
    ["doctor", "--config", "absent.toml"],
    ["doctor", "--callback", "http://127.0.0.1:1/", "callback"],
    ["stock", "creat"],
    ["upload"],
    ["upload", "codes.txt"],
    ["upload", "codes.txt", "--stock"],
    ["upload", "--stock", "1"],
    ["upload", "absent.txt", "--stock", "{stock}"],
    ["upload", "codes.txt", "--stock", "{stock}", "--resume"],
    ["upload", "codes.txt", "--stock", "{stock}", "--resume", "--restart"],
    ["upload", "codes.txt", "--stock", "{stock}", "--max-rejected", "many"],
    ["upload", "codes.txt", "--stock", "{stock}", "--concurrency", "900"],
    ["upload", "codes.txt", "--stock", "{stock}", "--target", "nothing"],
    ["upload", "codes.txt", "--stock", "{stock}", "--target", "product-coupon"],
    ["upload", "codes.txt", "--stock", "{stock}", "--wrong"],
    ["upload", "codes.txt", "--stock", "99999"],
    ["upload", "odd.csv", "--stock", "{stock}", "--dry-run"],
    ["upload", "odd.csv", "--stock", "{stock}"],
    ["upload", "odd.csv", "--stock", "{stock}", "--column", "nothing"],
    ["upload", "empty.txt", "--stock", "{stock}"],
    ["upload", "gbk.csv", "--stock", "{stock}"],
    ["upload", "codes.pdf", "--stock", "{stock}"],
    ["upload", "codes.txt", "--stock", "{stock}", "--config", "absent.toml"],
    ["upload-status", "absent.quanma"],
    ["upload-status", "codes.txt"],
    ["report", "absent.quanma", "--out", "report"],
    ["verify", "absent.quanma"],
    ["codes", "generate", "0"],
    ["codes", "generate", "1000000", "--length", "6"],
    ["codes", "check", "odd.csv"],
    ["codes", "list", "--stock", "99999"],
    ["stock", "create", "--name", "券"],
    ["stock", "create", "--name", "券", "--max", "10", "--minus", "1", "--percent", "90"],
    ["stock", "show", "99999"],
    ["send", "--stock", "{stock}"],
    ["use", "ABCDEFG", "--stock", "{stock}"],
    ["api", "coupns.send"],
    ["api", "coupons.send"],
    ["api", "coupons.send", "--open", "x"],
    ["api", "coupons.send", "--data", "{"],
    ["api", "coupons.send", "--data", "codes.txt"],
    ["api", "stocks.post", "--stock_type", "DISCOUNTX", "--data", "{}"],
    ["request", "GET", "/v3/nothing"],
    ["request", "FETCH", "/v3/nothing"],
    ["status", "codes.txt"],
    ["status", "--config", "absent.toml"],
    ["status", "--config", "odd.csv"],
    ["init", "odd.csv"],
    ["serve"],
    ["serve", "--config", "absent.toml"],
    ["migrate", "--config", "absent.toml"],
    ["backup", "--config", "absent.toml", "to.db"],
    ["reconcile", "--config", "absent.toml", "--dry-run"],
    ["reconcile", "--config", "absent.toml", "--issued", "absent.csv"],
    ["listen", "--port", "70000"],
    ["events", "--resend", "nothing"],
    ["completion", "csh"],
]


@pytest.mark.parametrize("words", REFUSALS, ids=" ".join)
def test_a_refusal_is_in_chinese_and_ends_as_in_english(
    words: list[str], quanma: Quanma, zh: Quanma, stock_id: str, codes: str, files: None
) -> None:
    words = [stock_id if word == "{stock}" else word for word in words]
    in_chinese = zh(*words)
    for made in Path().glob("*.quanma*"):
        made.unlink()
    os.environ["QUANMA_LANG"] = "en"
    in_english = quanma(*words)
    assert in_chinese.status == in_english.status
    assert english_in(in_chinese.err + _told(in_chinese)) == []
    assert in_chinese.err != in_english.err or not in_english.err


@pytest.fixture
def files(codes: str) -> None:
    """Files that are not as they should be."""
    Path("odd.csv").write_text("code,note\nA1,\n合计,\nB２,\nA1,\n1.2E+15,\nNULL,\n,\n" + "X" * 40 + ",\n", "utf-8")
    Path("empty.txt").write_text("")
    Path("gbk.csv").write_bytes("券码,备注\nA1,很好\n".encode("gbk") + b"\xff\xff\n")
    Path("codes.pdf").write_bytes(b"%PDF-1.7\n")


def _told(ended: Ended) -> str:
    """What is printed for people on standard output."""
    return "" if ended.out.startswith(("{", "[")) else ended.out


def test_json_is_the_same_in_both_languages(quanma: Quanma, zh: Quanma, stock_id: str, codes: str) -> None:
    first = json.loads(zh("upload", codes, "--stock", stock_id, "--json").out)
    os.environ["QUANMA_LANG"] = "en"
    again = json.loads(quanma("upload-status", f"{codes}.{stock_id}.quanma", "--json").out)
    assert first == again


def test_reasons_of_a_report_are_in_chinese_and_their_codes_are_not(
    quanma: Quanma, zh: Quanma, stock_id: str, files: None
) -> None:
    ended = zh("upload", "odd.csv", "--stock", stock_id, "--column", "code", "--max-rejected", "100%")
    assert (ended.status, english_in(ended.out + ended.err)) == (3, [])
    ledger = f"odd.csv.{stock_id}.quanma"
    assert english_in(zh("report", ledger, "--out", "zh").out) == []
    os.environ["QUANMA_LANG"] = "en"
    quanma("report", ledger, "--out", "en")
    in_chinese, in_english = (
        [line.split(",") for line in Path(folder, "report.csv").read_text("utf-8-sig").splitlines()]
        for folder in ("zh", "en")
    )
    assert english_in("\n".join(map(",".join, in_chinese[1:]))) == []
    assert in_chinese[0] == in_english[0]
    assert [(line[0], line[2], line[-1]) for line in in_chinese] == [
        (line[0], line[2], line[-1]) for line in in_english
    ]
    assert [line[3] for line in in_chinese[1:] if line[3]] != [line[3] for line in in_english[1:] if line[3]]


def test_lines_of_help_are_as_wide_as_the_terminal_in_chinese_too(zh: Quanma) -> None:
    assert max(map(_columns, zh("upload", "--help").out.splitlines())) <= 80
