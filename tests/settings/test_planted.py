"""S1: no message repeats a setting's value. Every secret in every setting, in every broken form, by every way in."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from quanma import Wechatpay
from quanma.cli import main
from quanma.client import config
from quanma.client.events import Receiver
from quanma.errors import Misconfigured, SourceUnreadable
from quanma.platform import config as platform_config
from quanma.platform.keys.keystore import KeyStore
from quanma.platform.pool import open_pool
from quanma.upload.source import open_query
from tests.settings import planted
from tests.settings.planted import clean, said
from tests.support.platform import merchant_config

pytestmark = pytest.mark.slow  # Hundreds of values each.

SETTINGS = [field for field in config.Merchant.__struct_fields__ if field != "platform_keys"]
WAYS = ["argument", "environment", "file"]


@pytest.fixture(scope="module")
def pem(made_world: Path) -> str:
    return (merchant_config(made_world).parent / "apiclient_key.pem").read_text()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("QUANMA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def given(world: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, Any], Callable[[], object]]:
    """A call that makes a client with a setting that came by a way."""
    file = merchant_config(world)
    document = tomllib.loads(file.read_text("utf-8"))["merchant"]

    def give(way: str, setting: str, value: Any) -> Callable[[], object]:
        written = document | ({setting: value} if way == "file" else {})
        file.write_text(planted.toml({"merchant": written}), "utf-8")
        if way == "environment":
            monkeypatch.setenv(f"QUANMA_{setting.upper()}", value)
        arguments = {setting: value} if way == "argument" else {}
        return lambda: config.load(file, **arguments)

    return give


def fits(way: str, value: str) -> bool:
    return not (way == "environment" and "\0" in value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_repeats_a_private_key_a_password_or_a_key(
    given: Any, monkeypatch: pytest.MonkeyPatch, pem: str, setting: str, way: str
) -> None:
    forms = planted.unreadable_forms(pem) | {f"address: {name}": text for name, text in planted.addresses().items()}
    if setting != "private_key":
        forms |= planted.readable_forms(pem)
    takes = {"apiv3_key": {"an APIv3 key"}, "apiv2_key": {"an APIv3 key"}, "proxy": {"address: escaped"}}
    for name, value in forms.items():
        if not fits(way, value) or name.removeprefix("address: ") == "a key" or name in takes.get(setting, ()):
            continue
        text = clean(said(given(way, setting, value)), pem)
        assert "quanma.errors.Misconfigured" in text or setting == "proxy", f"{name}: {text}"
        assert setting in text, f"{name}: {text}"


@pytest.mark.parametrize("way", WAYS)
def test_a_private_key_is_read_in_every_form_that_is_plain(given: Any, pem: str, way: str) -> None:
    for name, value in planted.readable_forms(pem).items():
        loaded = given(way, "private_key", value)()
        assert planted.key_of(loaded.private_key).private_numbers() == planted.key_of(pem).private_numbers(), name


def test_a_private_keys_file_is_read_in_every_form_that_is_plain_and_else_named(
    given: Any, elsewhere: Path, pem: str
) -> None:
    for name, content in planted.files(pem).items():
        file = elsewhere / "key.pem"
        file.write_bytes(content)
        file.chmod(0o600)
        text = clean(said(given("argument", "private_key", str(file))), pem)
        assert ("Misconfigured" in text) == name.startswith("refused"), f"{name}: {text}"


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("refused: a .p12", "it is a .p12 file, 1,"),
        ("refused: empty", "it is empty"),
        ("refused: half of DER", "it is DER, "),
    ],
)
def test_a_key_file_of_another_kind_is_named_as_what_it_is(
    given: Any, elsewhere: Path, pem: str, name: str, looks: str
) -> None:
    (elsewhere / "key.pem").write_bytes(planted.files(pem)[name])
    (elsewhere / "key.pem").chmod(0o600)
    assert looks in said(given("argument", "private_key", "key.pem"))


@pytest.mark.parametrize("setting", ["private_key", "platform_keys"])
def test_a_folder_is_told_to_be_one_and_stays_open(given: Any, elsewhere: Path, setting: str) -> None:
    (elsewhere / "keys").mkdir()
    value: Any = "keys" if setting == "private_key" else {"PUB_KEY_ID_01": "keys"}
    text = said(given("argument", setting, value))
    assert "keys is a folder: name the file in it" in text
    assert "chmod" not in text


@pytest.mark.parametrize("way", WAYS)
def test_no_key_of_the_platform_repeats_what_stands_there(given: Any, pem: str, way: str) -> None:
    forms = planted.unreadable_forms(pem) | planted.readable_forms(pem)
    for name, value in forms.items():
        if not fits(way, value):
            continue
        for key_name in ("PUB_KEY_ID_01", value):
            table: Any = {key_name: value} if way != "environment" else f"{key_name}={value}"
            text = clean(said(given(way, "platform_keys", table)), pem)
            assert "Misconfigured" in text, name


def test_a_configs_name_is_not_repeated_where_it_is_a_secret(monkeypatch: pytest.MonkeyPatch, pem: str) -> None:
    for value in (planted.unreadable_forms(pem) | planted.readable_forms(pem) | planted.addresses()).values():
        if "\0" not in value:
            monkeypatch.setenv("QUANMA_CONFIG", value)
            assert re.search("SettingsAbsent|Misconfigured", clean(said(config.load), pem))
        assert re.search("SettingsAbsent|Misconfigured", clean(said(partial(config.load, value)), pem))
        assert "Misconfigured" in clean(said(partial(platform_config.load, Path(value))), pem)


def test_a_file_of_settings_that_cannot_be_read_is_not_repeated(world: Path, pem: str) -> None:
    file = merchant_config(world)
    whole = file.read_text("utf-8").replace("apiclient_key.pem", pem.replace("\n", "\\n"))
    unquoted = whole.replace('"', "")
    for content in (unquoted.encode(), whole.encode("utf-16"), whole.encode() + b"\x82", whole[:-40].encode(), b"\0"):
        file.write_bytes(content)
        for load in (config.load, platform_config.load):
            assert "Misconfigured" in clean(said(partial(load, file)), pem)


@pytest.mark.parametrize("setting", ["mchid", "serial_no", "apiv3_key", "proxy", "private_key"])
def test_a_value_of_another_type_is_not_repeated(world: Path, pem: str, setting: str) -> None:
    for value in ([planted.API_KEY], {planted.API_KEY: 1}, {"a": planted.PASSWORD}):
        text = clean(said(partial(config.load, merchant_config(world), **{setting: value})), pem)
        assert f"$.{setting}" in text


@pytest.mark.parametrize("setting", ["base_url", "proxy", "h5_url", "fallback_url"])
def test_a_client_and_a_receiver_say_no_more_than_their_settings(
    given: Any, world: Path, pem: str, setting: str
) -> None:
    for value in planted.addresses().values():
        settings: dict[str, Any] = {setting: value}
        clean(said(partial(Wechatpay.from_config, merchant_config(world), **settings)), pem)
        clean(said(partial(Receiver.from_config, merchant_config(world), **settings)), pem)


PLATFORM = ["public_key_id", "public_key_private", "certificate", "certificate_private", "host", "log_format"]


@pytest.mark.parametrize("setting", [*PLATFORM, "mchid", "apiv3_key", "apiv2_key", "certificates", "active_from"])
def test_no_setting_of_the_platform_repeats_a_secret(world: Path, pem: str, setting: str) -> None:
    file = world / "platform.toml"
    document = tomllib.loads(file.read_text("utf-8"))
    forms = planted.unreadable_forms(pem) | planted.readable_forms(pem)
    if setting in (
        "public_key_private",
        "certificate",
        "certificates",
        "active_from",
    ):  # Each is looked at after a key, and that takes time.
        forms = {name: forms[name] for name in ("to the letter", "without header lines", "half of it", "an APIv3 key")}
    for name, value in forms.items():
        if name == "an APIv3 key" and setting in ("apiv3_key", "apiv2_key", "public_key_id", "host"):
            continue
        merchant, newer = document["merchants"][0], {"private": "platform/public_key_private.pem", "public_key_id": "A"}
        written = document | (
            {setting: value}
            if setting in PLATFORM
            else {"newer_keys": [newer | {setting: value}]}
            if setting == "active_from"
            else {"merchants": [merchant | {setting: [value] if setting == "certificates" else value}]}
        )
        file.write_text(planted.toml(written), "utf-8")
        text = clean(said(lambda: KeyStore.load(platform_config.load(file), world)), pem)
        assert "Misconfigured" in text, f"{name}: {text}"


def test_settings_of_the_platform_are_shown_without_their_secrets(world: Path, pem: str) -> None:
    loaded = platform_config.load(world / "platform.toml")
    text = f"{loaded!r} {loaded.merchants!r} {KeyStore.load(loaded, world).known('1900000001')!r}"
    keys = [key for merchant in loaded.merchants for key in (merchant.apiv3_key, merchant.apiv2_key) if key]
    assert len(keys) == 4
    assert [key for key in keys if key in text] == []


def database_urls() -> Iterator[str]:
    for url in planted.addresses().values():
        yield url
        for scheme in (
            "postgresql://",
            "postgres://",
            "mysql://",
            "sqlite://",
            "postgresql:/",
            "postgresql+asyncpg://",
        ):
            yield scheme + url.partition("://")[2]
            yield scheme + url.partition("://")[2] + "/database"
    yield from (
        "postgresql://user:S3same/0pen@h/db",
        "postgresql://user:S3same#0pen@h/db",
        "postgresql://user:S3same?0pen@h/db",
        "postgresql://user:12/S3same@h/db",
        "postgresql://user:12#S3same@h/db",
        "postgresql://user:S3same@h:99999/db",
        "postgresql://user:S3same@h:0/db",
        "postgresql://user:S3same@[::1/db",
        "postgresql://user:S3same@[::1]x/db",
        "postgresql://user:S3same@h1,h2:99999/db",
        "postgresql://user:S3same@h/db?port=S3same",
        "postgresql://user:S3same@h",
        "postgresql://user:S3same@h/",
        "postgresql://user:S3same@h/db#0pen",
        "postgresql://user:S3same@h/d b",
        "postgresql:user:S3same@h/db",
        "",
        "sqlite://",
        "sqlite:///",
        "sqlite:////a\0b",
    )


def test_no_database_url_is_repeated_where_it_cannot_be_right(world: Path, pem: str) -> None:
    count = 0
    for url in database_urls():
        if "\0" not in url and url.startswith("sqlite:///") and len(url) > 10:
            continue
        for refusal, call in (
            ("Misconfigured", partial(open_pool, url, world)),
            ("SourceUnreadable", partial(open_query, url, "SELECT 1")),
        ):
            text = said(call)
            assert not any(piece in text for piece in ("S3same", "0pen", "openn0w", "Geheim")), text
            count += refusal in text
    assert count > 250


@pytest.mark.parametrize(
    "command",
    [
        ["request", "GET", "/v3/certificates", "--config", "{merchant}"],
        ["listen", "--config", "{merchant}", "--port", "0"],
        ["upload", "{codes}", "--stock", "98065001", "--config", "{merchant}"],
    ],
    ids=lambda command: command[0],
)
def test_a_command_says_what_is_wrong_in_one_line_without_the_value(
    world: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, pem: str, command: list[str]
) -> None:
    (elsewhere / "codes.csv").write_text("A1\n")
    paths = {"merchant": merchant_config(world), "codes": elsewhere / "codes.csv"}
    monkeypatch.setattr(sys, "argv", ["quanma", *[word.format(**paths) for word in command]])
    wrong = {
        "QUANMA_PRIVATE_KEY": planted.unreadable_forms(pem)["half without header lines"],
        "QUANMA_BASE_URL": f"https://user:{planted.PASSWORD}@h",
        "QUANMA_PROXY": "http://user:S3sameopenn0w@h:99999",
        "QUANMA_APIV3_KEY": planted.API_KEY + "\n",
        "QUANMA_MCHID": planted.API_KEY,
    }
    for name, value in wrong.items():
        with monkeypatch.context() as environment:
            environment.setenv(name, value)
            lines = clean(said(main.main), pem).splitlines()
        assert lines[0].startswith(f"quanma: {name.removeprefix('QUANMA_').lower()} "), lines
        assert lines[0].endswith(f"(it is set in {name})")
        assert "SystemExit(1)" in lines[1]


@pytest.mark.parametrize("command", ["serve", "migrate", "export"])
def test_a_command_of_the_platform_says_what_is_wrong_with_a_database_url_without_it(
    world: Path, monkeypatch: pytest.MonkeyPatch, pem: str, command: str
) -> None:
    to = ["house"] if command == "export" else []
    monkeypatch.setattr(sys, "argv", ["quanma", command, "--config", str(world / "platform.toml"), *to])
    for url in ("postgresql://u:S3same/0pen@h/db", "postgresql://u:S3same@[::1/db", "postgresql://u:S3same@h:99999/db"):
        monkeypatch.setenv("QUANMA_DATABASE", url)
        lines = clean(said(main.main), pem).splitlines()
        assert lines[0].startswith("quanma: database is not sqlite:///relative.db"), lines
        assert "SystemExit(1)" in lines[1]


def test_a_source_that_is_no_database_is_told_on_the_command_line_without_the_url(
    world: Path, monkeypatch: pytest.MonkeyPatch, pem: str
) -> None:
    for url in (
        "postgresql://u:S3same/0pen@h/db",
        "postgresql://u:S3same#0pen@h/db",
        "postgresql://u:1/S3same@[::1/db",
    ):
        words = ["upload", "--sql", url, "SELECT 1", "--stock", "98065001", "--config", str(merchant_config(world))]
        monkeypatch.setattr(sys, "argv", ["quanma", *words])
        lines = clean(said(main.main), pem).splitlines()
        assert lines[0].startswith("quanma: the database to read from is not "), lines


def test_a_database_that_was_read_is_shown_without_its_password() -> None:
    with pytest.raises(SourceUnreadable) as refused:
        open_query("postgresql://me:S3same@127.0.0.1:1/shop?password=S3same", "SELECT 1")
    assert "postgresql://me@127.0.0.1:1/shop" in str(refused.value)
    url = f"postgresql://me:{planted.PASSWORD[:6]}@127.0.0.1:1/shop"
    assert planted.PASSWORD[:6] not in said(lambda: open_query(url, "SELECT 1"))


def test_a_planted_secret_is_found_where_it_is_said(pem: str) -> None:
    def tells() -> None:
        try:
            raise ValueError(planted.unreadable_forms(pem)["turned round"])
        except ValueError:
            raise Misconfigured("something") from None

    with pytest.raises(AssertionError, match="pieces of secrets"):
        clean(said(tells), pem)
