"""A merchant's settings: their order, their files, and messages that name the setting, the reason and the way out."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from quanma import Wechatpay
from quanma.client import config
from quanma.errors import Misconfigured
from tests.support.platform import MCHID, merchant_config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings of the machine: an empty folder, and no QUANMA_ variable."""
    for name in [name for name in os.environ if name.startswith("QUANMA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(world: Path) -> Path:
    return merchant_config(world)


def edited(file: Path, old: str, new: str) -> Path:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")
    return file


def test_a_file_of_init_is_read_with_the_keys_beside_it(file: Path) -> None:
    merchant = config.load(file)
    assert (merchant.mchid, merchant.base_url) == ("1900000001", "http://127.0.0.1:8460")
    assert merchant.private_key == (file.parent / "apiclient_key.pem").read_text()
    assert sorted(pem[:26] for pem in merchant.platform_keys.values()) == [
        "-----BEGIN CERTIFICATE----",
        "-----BEGIN PUBLIC KEY-----",
    ]


def test_an_argument_comes_before_the_environment_and_that_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.load(file).base_url == "http://127.0.0.1:8460"
    monkeypatch.setenv("QUANMA_BASE_URL", "http://127.0.0.1:1")
    assert config.load(file).base_url == "http://127.0.0.1:1"
    assert config.load(file, base_url="http://127.0.0.1:2").base_url == "http://127.0.0.1:2"


def test_an_argument_that_is_none_is_no_argument(file: Path) -> None:
    assert config.load(file, base_url=None).base_url == "http://127.0.0.1:8460"


def test_the_client_is_made_from_the_same_settings(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_BASE_URL", "http://127.0.0.1:1")
    with Wechatpay.from_config(file, mchid="1900000009") as wxpay:
        assert repr(wxpay) == "<Wechatpay 1900000009 at http://127.0.0.1:1>"


def test_a_file_is_named_by_an_argument_then_by_the_environment_then_lies_here(
    file: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(name: str, mchid: str) -> Path:
        home = shutil.copytree(file.parent, elsewhere / name, dirs_exist_ok=True)
        return edited(Path(home) / "quanma.toml", f'mchid = "{MCHID}"', f'mchid = "{mchid}"')

    copy("", "1900000003")
    assert config.load().mchid == "1900000003"
    monkeypatch.setenv("QUANMA_CONFIG", str(copy("named", "1900000004")))
    assert config.load().mchid == "1900000004"
    assert config.load(file).mchid == MCHID


def test_a_path_in_a_file_is_beside_the_file_and_one_in_the_environment_is_here(
    file: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copy(file.parent / "apiclient_key.pem", elsewhere / "other_key.pem")
    monkeypatch.setenv("QUANMA_PRIVATE_KEY", "other_key.pem")
    monkeypatch.setenv("QUANMA_PLATFORM_KEYS", "PUB_KEY_ID_01=pub.pem;")
    shutil.copy(file.parent / "pub_key.pem", elsewhere / "pub.pem")
    merchant = config.load(file)
    assert merchant.private_key == Path(other).read_text()
    assert list(merchant.platform_keys) == ["PUB_KEY_ID_01"]


def test_everything_can_come_from_the_environment_keys_as_text_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = (file.parent / "apiclient_key.pem").read_text()
    for name, value in {"MCHID": "1900000001", "SERIAL_NO": "ABC", "PRIVATE_KEY": pem}.items():
        monkeypatch.setenv(f"QUANMA_{name}", value)
    merchant = config.load()
    assert (merchant.serial_no, merchant.private_key, merchant.platform_keys) == ("ABC", pem, {})
    assert merchant.hosts == ("https://api.mch.weixin.qq.com", "https://api2.mch.weixin.qq.com")


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        ({}, ("http://127.0.0.1:8460",)),
        ({"base_url": "http://127.0.0.1:1/"}, ("http://127.0.0.1:1",)),
        ({"fallback_url": "https://b.example/"}, ("http://127.0.0.1:8460", "https://b.example")),
        (
            {"base_url": "https://api.mch.weixin.qq.com"},
            ("https://api.mch.weixin.qq.com", "https://api2.mch.weixin.qq.com"),
        ),
    ],
)
def test_only_the_platforms_own_host_has_a_second_one_by_itself(
    file: Path, settings: dict[str, str], hosts: tuple[str, ...]
) -> None:
    assert config.load(file, **settings).hosts == hosts


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_private_key_that_others_can_read_is_refused_with_the_way_out(file: Path, mode: int) -> None:
    key = file.parent / "apiclient_key.pem"
    key.chmod(mode)
    with pytest.raises(Misconfigured) as refused:
        config.load(file)
    assert str(refused.value) == f"private_key {key} has mode {mode:04o}, so others can read it: chmod 600 {key}"


def test_settings_with_secrets_that_others_can_read_are_refused(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(Misconfigured, match=re.escape(f"settings {file} has mode 0644")):
        config.load(file)


def test_settings_without_secrets_may_be_read_by_others(file: Path) -> None:
    text = "\n".join(line for line in file.read_text("utf-8").splitlines() if not line.startswith("apiv"))
    file.write_text(text, "utf-8")
    file.chmod(0o644)
    assert config.load(file).apiv3_key is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("serial_no", "serial", "unknown field `serial`"),
        ('mchid = "1900000001"\n', "", "missing required field `mchid`"),
        ('mchid = "1900000001"', "mchid = 1900000001", "Expected `str`, got `int` - at `$.mchid`"),
        ("[merchant", "[customer", "has no [merchant] table: is it a merchant's quanma.toml?"),
        ("[merchant]", "[merchant", "can't be read: "),
        ("8460", "8460/v3", "base_url is not http(s)://host[:port] (an address, 24 characters): it has a path"),
        ("http://", "ftp://", "base_url is not http(s)://host[:port] (an address, 20 characters): its scheme is none of http, https"),
        ("[merchant]", '[merchant]\nfallback_url = "b.example"', "fallback_url is not http(s)://host[:port] (9 characters): it has no scheme"),
        ("apiclient_key.pem", "gone.pem", "private_key: "),
        ("pub_key.pem", "gone.pem", "platform_keys.PUB_KEY_ID_"),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_the_reason(file: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(Misconfigured, match=re.escape(reason)):
        config.load(edited(file, old, new))


def test_a_file_that_is_not_there_is_told_with_the_way_out(elsewhere: Path) -> None:
    with pytest.raises(Misconfigured, match=r"there is no .*gone\.toml: make one with `quanma init DIR`"):
        config.load(elsewhere / "gone.toml")


def test_no_settings_at_all_are_told_with_the_way_out() -> None:
    with pytest.raises(Misconfigured, match="no file is given: name one with --config or in QUANMA_CONFIG"):
        config.load()


def test_platform_keys_of_another_form_are_told_with_the_form(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_PLATFORM_KEYS", "pub.pem")
    with pytest.raises(Misconfigured, match="QUANMA_PLATFORM_KEYS is not name=path;name=path"):
        config.load(file)


@pytest.mark.parametrize("content", ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_private_key_that_is_none_is_refused_when_the_client_is_made(file: Path, content: str) -> None:
    (file.parent / "apiclient_key.pem").write_text(content)
    with pytest.raises(Misconfigured, match="private_key is not the PEM of an unencrypted private key"):
        Wechatpay.from_config(file)


def test_what_is_printed_of_settings_holds_no_secret(file: Path) -> None:
    merchant: Any = config.load(file)
    assert f"{merchant!r} {merchant}" == "<Merchant 1900000001> <Merchant 1900000001>"
