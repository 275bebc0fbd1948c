"""A client at the top of a module: settings that are not there yet are read at its first use."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from quanma import AsyncWechatpay, Patience, Wechatpay
from quanma.client import config
from quanma.client.events import Receiver
from quanma.errors import Misconfigured, SettingsAbsent
from tests.support.every import every_row
from tests.support.platform import merchant_config

Made = Wechatpay | AsyncWechatpay | Receiver
MAKERS = [Wechatpay, AsyncWechatpay, Receiver]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUANMA_CONFIG", raising=False)


@every_row("make", MAKERS)
def test_without_settings_one_is_made_and_says_so(make: type[Made], nowhere: None) -> None:
    assert repr(make.from_config()) == f"<{make.__name__}, its settings not read yet>"


def test_the_first_use_reads_settings_that_have_come_since(
    world: Path, nowhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wxpay, receiver = Wechatpay.from_config(), Receiver.from_config()
    monkeypatch.setenv("QUANMA_CONFIG", str(merchant_config(world)))
    assert wxpay.merchant.mchid == "1900000001"
    assert repr(wxpay) == "<Wechatpay 1900000001 at http://127.0.0.1:8460>"
    with pytest.raises(Exception, match="signature"):
        receiver.receive({}, b"{}")
    assert repr(receiver).startswith("<Receiver with PUB_KEY_ID_")


def test_a_call_without_settings_says_what_is_missing(nowhere: None) -> None:
    for _ in range(2):
        wxpay = Wechatpay.from_config()
        with pytest.raises(SettingsAbsent, match="mchid, serial_no, private_key are missing, and no file is given"):
            wxpay.v3.certificates.get()
    with pytest.raises(SettingsAbsent):
        Receiver.from_config().receive({}, b"{}")


def test_an_async_call_without_settings_says_what_is_missing(nowhere: None) -> None:
    async def call() -> None:
        await AsyncWechatpay.from_config().v3.certificates.get()

    with pytest.raises(SettingsAbsent):
        asyncio.run(call())


def test_with_reads_them_at_once(nowhere: None) -> None:
    with pytest.raises(SettingsAbsent), Wechatpay.from_config():
        pass

    async def enter() -> None:
        async with AsyncWechatpay.from_config():
            pass

    with pytest.raises(SettingsAbsent):
        asyncio.run(enter())


def test_one_that_was_never_used_can_be_closed(nowhere: None) -> None:
    Wechatpay.from_config().close()
    asyncio.run(AsyncWechatpay.from_config().close())


@every_row("make", MAKERS)
@every_row("gone", ["quanma.toml", "apiclient_key.pem", "pub_key.pem"])
def test_a_file_that_is_not_mounted_yet_is_waited_for(make: type[Made], gone: str, world: Path) -> None:
    file = merchant_config(world)
    hidden = (file.parent / gone).rename(file.parent / "hidden")
    made = make.from_config(file)
    assert "not read yet" in repr(made)
    hidden.rename(file.parent / gone)
    if isinstance(made, Receiver):
        with pytest.raises(Exception, match="signature"):
            made.receive({}, b"{}")
    else:
        assert made.merchant.mchid == "1900000001"


@every_row("make", MAKERS)
@every_row(("setting", "value"), [("mchid", "x"), ("apiv3_key", "short"), ("base_url", "ftp://x")])
def test_a_setting_that_is_there_and_wrong_is_told_at_once(
    make: type[Made], setting: str, value: str, world: Path
) -> None:
    made: Any = make
    with pytest.raises(Misconfigured, match=setting):
        made.from_config(merchant_config(world), **{setting: value})


def test_many_threads_read_the_settings_once(world: Path, nowhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    wxpay = Wechatpay.from_config()
    read: list[config.Merchant] = []
    load = config.load

    def counted(*arguments: object, **settings: object) -> config.Merchant:
        read.append(load(merchant_config(world)))
        return read[-1]

    monkeypatch.setattr(config, "load", counted)
    threads = [threading.Thread(target=wxpay.read_settings) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 1


def test_a_name_that_is_none_is_no_setting(nowhere: None) -> None:
    with pytest.raises(AttributeError, match="has no 'v4'; calls begin with v3"):
        Wechatpay.from_config().v4  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def test_patience_comes_from_the_argument_then_the_environment_then_the_file(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = merchant_config(world)
    file.write_text(
        file.read_text().replace("[merchant]\n", "[merchant]\ndeadline_seconds = 12\nattempts_max = 2\n", 1)
    )
    assert Wechatpay.from_config(file)._patience == Patience(12.0, 15.0, 2)
    monkeypatch.setenv("QUANMA_DEADLINE_SECONDS", "2.5")
    monkeypatch.setenv("QUANMA_ATTEMPT_SECONDS", "1")
    monkeypatch.setenv("QUANMA_ATTEMPTS_MAX", "3")
    assert Wechatpay.from_config(file)._patience == Patience(2.5, 1.0, 3)
    assert Wechatpay.from_config(file, deadline_seconds=7.0)._patience == Patience(7.0, 1.0, 3)
    assert Wechatpay.from_config(file, patience=Patience())._patience == Patience(30.0, 15.0, 4)


@every_row(
    ("variable", "value", "reason"),
    [
        ("QUANMA_DEADLINE_SECONDS", "soon", "deadline_seconds is no number: it is 4 characters"),
        ("QUANMA_DEADLINE_SECONDS", "0", "deadline_seconds is 0.0: it is a number above 0"),
        ("QUANMA_DEADLINE_SECONDS", "nan", "deadline_seconds is nan: it is a number above 0"),
        ("QUANMA_ATTEMPT_SECONDS", "inf", "attempt_seconds is inf: it is a number above 0"),
        ("QUANMA_ATTEMPTS_MAX", "1.5", "attempts_max is no number"),
        ("QUANMA_ATTEMPTS_MAX", "-1", "attempts_max is -1: it is a number above 0"),
    ],
)
def test_patience_that_is_none_is_refused(
    world: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Misconfigured, match=reason):
        Wechatpay.from_config(merchant_config(world))


def test_all_settings_as_text_in_the_environment_need_no_file(
    world: Path, nowhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = merchant_config(world).parent
    merchant = config.load(folder / "quanma.toml")
    pem = (folder / "pub_key.pem").read_text()
    name = next(name for name in merchant.platform_keys if name.startswith("PUB_KEY_ID_"))
    monkeypatch.setenv("QUANMA_MCHID", merchant.mchid)
    monkeypatch.setenv("QUANMA_SERIAL_NO", merchant.serial_no)
    monkeypatch.setenv("QUANMA_PRIVATE_KEY", (folder / "apiclient_key.pem").read_text())
    monkeypatch.setenv("QUANMA_PLATFORM_KEYS", f"{name}={pem}")
    wxpay = Wechatpay.from_config()
    assert wxpay.merchant.private_key == merchant.private_key
    assert list(wxpay.merchant.platform_keys) == [name]
