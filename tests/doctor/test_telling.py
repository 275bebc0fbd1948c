"""What is told: lines, JSON, Markdown and a bundle; and that no secret is in any of them, however it was misplaced."""

from __future__ import annotations

import json
import os
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from quanma.cli import language
from quanma.cli.main import main
from quanma.doctor.examine import CHECKS, Report
from tests.doctor.conftest import Shop
from tests.support.every import every_row, some_quick
from tests.support.way import Answer, Message, answering

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs/schemas/doctor.json"


class Ended(NamedTuple):
    status: int
    out: str
    err: str


Doctor = Callable[..., Ended]


@pytest.fixture
def doctor(shop: Shop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Doctor]:
    """The command in this process, on the shop."""
    monkeypatch.setenv("QUANMA_CONFIG", str(shop.file))
    monkeypatch.setenv("QUANMA_LANG", "en")

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["quanma", "doctor", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    yield run
    language.use(language.ENGLISH)


def test_a_whole_shop_is_told_in_a_few_lines(doctor: Doctor) -> None:
    ended = doctor()
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == "✓ pass  settings"
    assert ended.out.splitlines()[-1] == "26 checks: 25 passed, 0 warned, 0 failed, 1 skipped"


def test_what_is_broken_is_told_with_its_mend_and_the_next_command(doctor: Doctor, shop: Shop) -> None:
    shop.set(serial_no=shop.value("serial_no", shop.other / "quanma.toml"))
    ended = doctor()
    assert ended.status == 1
    right = shop.served.world / "merchants" / "1900000001" / "quanma.toml"
    assert f'        mend: serial_no = "{shop.value("serial_no", right)}"\n' in ended.out
    assert ended.out.endswith("  next: mend these, then `quanma doctor keys`\n")


def test_a_warning_is_a_failure_where_strict_is_asked_for(doctor: Doctor, shop: Shop) -> None:
    shop.set(apiv2_key=shop.value("apiv3_key"))
    assert [doctor("apiv3.form").status, doctor("apiv3.form", "--strict").status] == [0, 1]


def test_json_is_as_its_schema_says_and_ends_as_the_lines_do(doctor: Doctor, shop: Shop) -> None:
    ended = doctor("--json")
    told = msgspec.json.decode(ended.out, type=Report)
    assert (ended.status, told.ok, len(told.checks)) == (0, True, 26)
    shop.set(mchid="x")
    ended = doctor("--json")
    assert (ended.status, json.loads(ended.out)["ok"]) == (1, False)


def test_the_schema_in_the_repository_is_that_of_the_declaration() -> None:
    assert json.loads(SCHEMA.read_text("utf-8")) == msgspec.json.schema(Report)


def test_json_is_english_and_its_ids_are_stable_in_chinese_too(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    english = json.loads(doctor("--json", "settings").out)
    monkeypatch.setenv("QUANMA_LANG", "zh")
    chinese = json.loads(doctor("--json", "settings").out)
    without = [
        [{name: it for name, it in one.items() if name != "ms"} for one in told["checks"]]
        for told in (english, chinese)
    ]
    assert without[0] == without[1]


def test_the_checks_are_listed_with_what_they_look_at(doctor: Doctor) -> None:
    ended = doctor("--list")
    assert [line.split()[0] for line in ended.out.splitlines()] == [check.id for check in CHECKS]


@every_row(("words", "named"), [(["clok"], "`quanma doctor clock`"), (["keys.par"], "`quanma doctor keys.pair`")])
def test_a_check_that_is_none_names_those_that_are(doctor: Doctor, words: list[str], named: str) -> None:
    ended = doctor(*words)
    assert (ended.status, named in ended.err) == (2, True)


def test_a_report_is_markdown_without_names_of_the_merchant(doctor: Doctor, shop: Shop) -> None:
    ended = doctor("--report")
    assert ended.out.startswith("### quanma doctor\n\n| check | status | detail |")
    assert "| private_key | a file, mode 0600: the PEM of a private key" in ended.out
    assert [name for name in ("1900000001", shop.value("serial_no")) if name in ended.out] == []


def test_a_bundle_is_private_new_and_holds_what_its_list_says(doctor: Doctor, tmp_path: Path) -> None:
    assert doctor("--bundle", "doctor.zip").status == 0
    made = tmp_path / "doctor.zip"
    with zipfile.ZipFile(made) as file:
        content = {name: file.read(name).decode() for name in file.namelist()}
    assert [*content] == ["doctor.json", "versions.json", "settings.json", "variables.txt", "log.txt"]
    assert json.loads(content["settings.json"])["apiv3_key"] == "32 characters"
    assert "POST /v3/security/echo: 200 in" in content["log.txt"]
    assert stat.S_IMODE(os.stat(made).st_mode) == 0o600
    ended = doctor("--bundle", "doctor.zip")
    assert (ended.status, ended.err) == (1, "quanma: doctor.zip is there already: name another file\n")


# Secrets, planted everywhere.

WORD = "S3cretPlantedWordThatNoTextMayHold"


def planted_everywhere(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.set(proxy=f"http://user:{WORD}@127.0.0.1:1")


def planted(name: str, value: str) -> Callable[[Shop, pytest.MonkeyPatch], None]:
    return lambda shop, monkeypatch: shop.set(**{name: value})


def in_environment(name: str, value: str) -> Callable[[Shop, pytest.MonkeyPatch], None]:
    return lambda shop, monkeypatch: monkeypatch.setenv(name, value)


def key_text_as(name: str) -> Callable[[Shop, pytest.MonkeyPatch], None]:
    """The private key where something else belongs."""

    def plant(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, (shop.folder / "apiclient_key.pem").read_text())

    return plant


def as_a_name(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.file.write_text(shop.file.read_text("utf-8").replace("apiv2_key = ", f'"{WORD}" = 1\napiv2_key = '), "utf-8")


def as_a_key_name(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.platform_keys(**{WORD: "pub_key.pem"})


def as_text_in_the_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.set(private_key=f"'''\n{(shop.folder / 'apiclient_key.pem').read_text()}'''")


PLANTED = [
    ("nothing", lambda shop, monkeypatch: None),
    ("proxy", planted_everywhere),
    ("base_url", planted("base_url", f"http://user:{WORD}@127.0.0.1")),
    ("h5_url", planted("h5_url", f"http://user:{WORD}@127.0.0.1/page")),
    ("mchid", planted("mchid", WORD)),
    ("serial_no", planted("serial_no", WORD)),
    ("private_key", planted("private_key", WORD)),
    ("a path in private_key", planted("private_key", f"keys/{WORD}/key")),
    ("apiv3_key", planted("apiv3_key", WORD)),
    ("apiv2_key", planted("apiv2_key", f" {WORD}")),
    ("a name", as_a_name),
    ("the name of a key", as_a_key_name),
    ("QUANMA_MCHID", key_text_as("QUANMA_MCHID")),
    ("QUANMA_SERIAL_NO", key_text_as("QUANMA_SERIAL_NO")),
    ("QUANMA_BASE_URL", key_text_as("QUANMA_BASE_URL")),
    ("QUANMA_PROXY", key_text_as("QUANMA_PROXY")),
    ("QUANMA_APIV3_KEY", key_text_as("QUANMA_APIV3_KEY")),
    ("QUANMA_PRIVATE_KEY", key_text_as("QUANMA_PRIVATE_KEY")),
    ("QUANMA_PLATFORM_KEYS", key_text_as("QUANMA_PLATFORM_KEYS")),
    ("QUANMA_PLATFORM_KEYS, a word", in_environment("QUANMA_PLATFORM_KEYS", WORD)),
    ("QUANMA_ATTEMPTS_MAX", in_environment("QUANMA_ATTEMPTS_MAX", WORD)),
    ("HTTP_PROXY", in_environment("HTTP_PROXY", f"http://user:{WORD}@127.0.0.1:1")),
    ("the key as text", as_text_in_the_file),
]


@pytest.mark.parametrize("plant", some_quick(PLANTED))
def test_no_secret_is_in_what_is_told(
    doctor: Doctor, shop: Shop, plant: Callable[[Shop, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (shop.folder / "apiclient_key.pem").read_text()
    secrets = [WORD, shop.value("apiv3_key"), shop.value("apiv2_key"), *key.splitlines()[1:-1]]
    plant(shop, monkeypatch)
    told = [doctor("-v"), doctor("--report"), doctor("--json", "--bundle", "b.zip")]
    with zipfile.ZipFile("b.zip") as file:
        packed = "\n".join(file.read(name).decode() for name in file.namelist())
    text = "\n".join([packed, *(one.out + one.err for one in told)])
    assert [secret for secret in secrets if secret in text] == []
    assert {one.status for one in told} in ({0}, {1})


def test_what_a_stranger_answers_is_no_way_out_for_a_signature(doctor: Doctor, shop: Shop) -> None:
    def echoed(message: Message, verb: str) -> Answer:
        return Answer(403, {"Content-Type": "text/plain", "Server": message.headers["Authorization"]}, b"no")

    with answering(echoed) as url:
        shop.set(base_url=url)
        ended = doctor("-v")
    assert "signature=" not in ended.out


@every_row("page", ["docs/en/doctor.md", "docs/zh/doctor.md"])
def test_the_page_explains_every_check_under_its_group(page: str) -> None:
    """To which the result's `docs` leads."""
    text = (ROOT / page).read_text("utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = [name for cell in cells for name in cell.split("`")[1::2]]
    assert sorted(listed) == sorted(check.id for check in CHECKS)
    assert {check.group for check in CHECKS} <= {line[3:] for line in text.splitlines() if line.startswith("## ")}
