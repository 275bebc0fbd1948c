"""A merchant's settings: their order, their files, and messages that name the setting, the reason and the way out."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quanma import AsyncWechatpay, Claim, Wechatpay
from quanma.client import config
from quanma.client.events import Receiver
from quanma.errors import Misconfigured
from tests.support.every import every_row
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


@every_row(
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


@every_row("mode", [0o640, 0o604, 0o660, 0o644])
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


@every_row(
    ("old", "new", "reason"),
    [
        ("serial_no", "serial", "unknown field `serial`"),
        ('mchid = "1900000001"\n', "", "mchid is missing"),
        ('mchid = "1900000001"', "mchid = 1900000001", "Expected `str`, got `int` - at `$.mchid`"),
        ("[merchant", "[customer", "has no [merchant] table: is it a merchant's quanma.toml?"),
        ("[merchant]", "[merchant", "can't be read: "),
        ("8460", "8460/v3", "base_url is not http(s)://host[:port] (an address, 24 characters): it has a path"),
        (
            "http://",
            "ftp://",
            "base_url is not http(s)://host[:port] (an address, 20 characters): its scheme is none of http, https",
        ),
        (
            "[merchant]",
            '[merchant]\nfallback_url = "b.example"',
            "fallback_url is not http(s)://host[:port] (9 characters): it has no scheme",
        ),
        ("apiclient_key.pem", "gone.pem", "private_key: "),
        ("pub_key.pem", "gone.pem", "platform_keys.PUB_KEY_ID_"),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_the_reason(
    file: Path, tmp_path: Path, old: str, new: str, reason: str
) -> None:
    copy = shutil.copytree(file.parent, tmp_path / "merchant") / file.name
    with pytest.raises(Misconfigured, match=re.escape(reason)):
        config.load(edited(copy, old, new))


def test_a_file_that_is_not_there_is_told_with_the_way_out(elsewhere: Path) -> None:
    with pytest.raises(Misconfigured, match=r"there is no .*gone\.toml: make one with `quanma init DIR`"):
        config.load(elsewhere / "gone.toml")


def test_no_settings_at_all_are_told_with_the_way_out() -> None:
    with pytest.raises(
        Misconfigured,
        match=r"no file is given: QUANMA_CONFIG is not set, .*: name one with --config or in QUANMA_CONFIG",
    ):
        config.load()


def test_platform_keys_of_another_form_are_told_with_the_form(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_PLATFORM_KEYS", "pub.pem")
    with pytest.raises(Misconfigured, match="QUANMA_PLATFORM_KEYS is not name=path;name=path"):
        config.load(file)


@every_row("content", ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_private_key_that_is_none_is_refused_when_the_client_is_made(file: Path, content: str) -> None:
    (file.parent / "apiclient_key.pem").write_text(content)
    with pytest.raises(Misconfigured, match="private_key is not the PEM of an unencrypted private key"):
        Wechatpay.from_config(file)


def test_what_is_printed_of_settings_holds_no_secret(file: Path) -> None:
    merchant: Any = config.load(file)
    assert f"{merchant!r} {merchant}" == "<Merchant 1900000001> <Merchant 1900000001>"


@every_row("mode", [0o440, 0o444, 0o040])
def test_a_mounted_key_that_others_can_read_is_refused_with_a_way_out_that_works_there(file: Path, mode: int) -> None:
    key = file.parent / "apiclient_key.pem"
    key.chmod(mode)
    with pytest.raises(Misconfigured) as refused:
        config.load(file)
    assert str(refused.value) == (
        f"private_key {key} has mode {mode:04o}, so others can read it: chmod 600 {key}; where its mode can't be "
        "changed, as that of a mounted secret, give the key's text in QUANMA_PRIVATE_KEY"
    )


def test_mounted_settings_with_secrets_are_refused_with_a_way_out_that_works_there(file: Path) -> None:
    file.chmod(0o444)
    with pytest.raises(Misconfigured, match="keep the secrets out of it and give them as QUANMA_APIV3_KEY, "):
        config.load(file)


@every_row("mode", [0o600, 0o400])
def test_a_key_that_only_its_owner_can_read_is_read(file: Path, mode: int) -> None:
    (file.parent / "apiclient_key.pem").chmod(mode)
    assert config.load(file).private_key.startswith("-----BEGIN PRIVATE KEY-----")


ODD = ["", "{}\n", "{}\r\n", " {}", "{} ", "{}\xa0", '"{}"', "{}\u200b", "\ufeff{}", "{}\0"]


@every_row("form", [*ODD, "１９００００００１", "1900-000001", "mchid", "1" * 33, "-1", "²"])
def test_a_merchant_number_is_digits_and_nothing_else(file: Path, form: str) -> None:
    with pytest.raises(Misconfigured, match=r"^mchid is not a merchant number, 1 to 32 digits: it is "):
        config.load(file, mchid=form.format(MCHID))


@every_row("form", [*ODD, "0x{}", "AB:CD", "G", "PUB_KEY_ID_01", "1" * 48, "A" * 41, "serial=AB"])
def test_a_serial_is_hexadecimal_digits_and_nothing_else(file: Path, form: str) -> None:
    with pytest.raises(
        Misconfigured, match=r"^serial_no is not a certificate's serial, .*: `openssl x509 .*` prints it"
    ):
        config.load(file, serial_no=form.format("3775B6A4"))


@every_row("setting", ["apiv3_key", "apiv2_key"])
@every_row(
    "value",
    ["", "k" * 31, "k" * 33, "k" * 40, "k" * 31 + "\n", "k" * 32 + "\n", "券" * 32, "k" * 31 + "-", "密" * 10 + "ab"],
)
def test_an_api_key_is_32_letters_and_digits(file: Path, setting: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=f"^{setting} is not 32 letters and digits: it is "):
        config.load(file, **{setting: value})


@every_row(
    ("base_url", "hosts", "page"),
    [
        ("https://api.mch.weixin.qq.com/", 2, "https://action.weixin.qq.com/busifavor/getcouponinfo"),
        ("https://api.mch.weixin.qq.com:443", 2, "https://action.weixin.qq.com/busifavor/getcouponinfo"),
        ("https://API.mch.weixin.qq.com.", 2, "https://action.weixin.qq.com/busifavor/getcouponinfo"),
        ("https://api2.mch.weixin.qq.com", 2, "https://action.weixin.qq.com/busifavor/getcouponinfo"),
        ("https://apihk.mch.weixin.qq.com", 1, "https://action.weixin.qq.com/busifavor/getcouponinfo"),
        ("https://mch.weixin.qq.com.example", 1, "https://mch.weixin.qq.com.example/busifavor/getcouponinfo"),
        ("http://127.0.0.1:8460/", 1, "http://127.0.0.1:8460/busifavor/getcouponinfo"),
        ("HTTP://LOCALHOST:80", 1, "http://localhost/busifavor/getcouponinfo"),
    ],
)
def test_a_host_in_any_spelling_has_the_same_claim_page_and_fallback(
    file: Path, base_url: str, hosts: int, page: str
) -> None:
    with Wechatpay.from_config(file, base_url=base_url) as wxpay:
        assert len(wxpay.merchant.hosts) == hosts
        assert wxpay.claims.h5_url(Claim("98065001", "n1"), open_id="o1").partition("?")[0] == page


def test_each_of_wechat_pays_two_hosts_falls_back_to_the_other(file: Path) -> None:
    hosts = ("https://api.mch.weixin.qq.com", "https://api2.mch.weixin.qq.com")
    assert config.load(file, base_url=hosts[1]).hosts == (hosts[1], hosts[0])


def test_behind_a_gateway_the_claim_page_is_what_h5_url_says(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_H5_URL", "https://ACTION.weixin.qq.com/busifavor/getcouponinfo")
    with Wechatpay.from_config(file, base_url="http://gateway.example:8080") as wxpay:
        url = wxpay.claims.h5_url(Claim("98065001", "n1"), open_id="o1")
    assert url.startswith("https://action.weixin.qq.com/busifavor/getcouponinfo?stock_id=98065001&")


@every_row("name", ["platform_cert", "AB:CD", "PUB_KEY_ID", "PUB_KEY_ID_", "PUB_KEY_ID_01\n", "", "1" * 48])
def test_a_platform_key_is_named_by_a_public_key_id_or_a_serial(file: Path, name: str) -> None:
    with pytest.raises(Misconfigured, match=r"^platform_keys: a name in it is neither PUB_KEY_ID_"):
        config.load(file, platform_keys={name: str(file.parent / "pub_key.pem")})


def test_the_merchants_own_certificate_is_no_key_of_the_platform(file: Path) -> None:
    serial_no = config.load(file).serial_no
    for name in (serial_no, serial_no.lower(), f"0{serial_no}"):
        with pytest.raises(Misconfigured, match=rf"^platform_keys\.{name} is the merchant's own certificate"):
            config.load(file, platform_keys={name: str(file.parent / "apiclient_cert.pem")})


def test_a_setting_of_the_environment_is_named_with_its_variable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_APIV3_KEY", "k" * 33)
    with pytest.raises(Misconfigured) as refused:
        config.load(file)
    assert str(refused.value) == (
        "apiv3_key is not 32 letters and digits: it is 33 characters (it is set in QUANMA_APIV3_KEY)"
    )
    assert config.load(file, apiv3_key="k" * 32).apiv3_key == "k" * 32


def test_a_client_and_a_receiver_are_not_made_with_a_key_that_can_open_nothing(file: Path) -> None:
    for make in (Wechatpay, AsyncWechatpay, Receiver):
        with pytest.raises(
            Misconfigured, match=r"^apiv3_key is not 32 letters and digits: it is 33 characters, ends in"
        ):
            make.from_config(file, apiv3_key="k" * 32 + "\n")


def test_settings_that_are_made_without_a_file_are_checked_too(file: Path) -> None:
    merchant = config.load(file)
    with pytest.raises(Misconfigured, match=r"^base_url is not "):
        msgspec.structs.replace(merchant, base_url="127.0.0.1")
    assert msgspec.structs.replace(merchant, base_url="HTTP://LOCALHOST:80/").base_url == "http://localhost"


def test_a_file_that_notepad_saved_is_read(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert config.load(file).mchid == MCHID


def test_a_file_in_utf_16_is_told_to_be_so(file: Path) -> None:
    file.write_bytes(file.read_text("utf-8").encode("utf-16"))
    with pytest.raises(Misconfigured, match="can't be read: it is in UTF-16: save it as UTF-8"):
        config.load(file)


def test_a_variable_that_is_nearly_a_setting_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_BASE_URI", "http://127.0.0.1:8460")
    with pytest.raises(Misconfigured, match="QUANMA_BASE_URI is set and is no setting: is QUANMA_BASE_URL meant"):
        config.load(file)


@every_row(
    ("address", "told"),
    [
        ("http://pay.example.com", True),
        ("http://10.0.0.7:8460", True),
        ("http://platform:8460", True),
        ("http://127.0.0.1.example.com", True),
        ("http://127.0.0.1:8460", False),
        ("http://127.9.9.9", False),
        ("http://[::1]:8460", False),
        ("http://localhost:8460", False),
        ("https://pay.example.com", False),
    ],
)
def test_an_address_that_can_be_read_on_the_way_is_told(
    world: Path, monkeypatch: pytest.MonkeyPatch, address: str, told: bool
) -> None:
    for setting in ("base_url", "fallback_url"):
        with warnings.catch_warnings(record=True) as warned, monkeypatch.context() as patched:
            warnings.simplefilter("always")
            patched.setenv(f"QUANMA_{setting.upper()}", address)
            config.load(merchant_config(world))
            config.load(merchant_config(world), **{setting: address})  # A program's own word is no mistake.
        assert [str(one.message).partition(" begins with http:// ")[0] for one in warned] == [setting] * told
