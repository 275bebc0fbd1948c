"""Variables that begin with QUANMA_ and are no setting: told, and refused where a setting was meant."""

from __future__ import annotations

import os
import warnings

import pytest

from quanma.client.config import Merchant
from quanma.errors import Misconfigured
from quanma.settings import environment
from tests.support.every import every_row


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("QUANMA_")]:
        monkeypatch.delenv(name)


def test_every_setting_of_a_merchant_is_known() -> None:
    assert [field.upper() for field in Merchant.__struct_fields__] == sorted(
        environment.MERCHANT, key=[field.upper() for field in Merchant.__struct_fields__].index
    )


@every_row(
    ("name", "meant"),
    [
        ("QUANMA_BASE_URI", "QUANMA_BASE_URL"),
        ("QUANMA_BASEURL", "QUANMA_BASE_URL"),
        ("QUANMA_MCH_ID", "QUANMA_MCHID"),
        ("QUANMA_SERIAL", "QUANMA_SERIAL_NO"),
        ("QUANMA_APIV3KEY", "QUANMA_APIV3_KEY"),
        ("QUANMA_API_V3_KEY", "QUANMA_APIV3_KEY"),
        ("QUANMA_PLATFORM_KEY", "QUANMA_PLATFORM_KEYS"),
        ("QUANMA_PRIVATE_KEY_PATH", "QUANMA_PRIVATE_KEY"),
        ("QUANMA_DATABSE", "QUANMA_DATABASE"),
        ("QUANMA_CONFIG_FILE", "QUANMA_CONFIG"),
        ("quanma_mchid", "QUANMA_MCHID"),
    ],
)
def test_one_that_is_nearly_a_setting_is_refused_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "S3same")
    with pytest.raises(Misconfigured) as refused:
        environment.check()
    assert str(refused.value) == f"{name} is set and is no setting: is {meant} meant? Correct it, or unset it"


@every_row("name", ["QUANMA_DEBUG", "QUANMA_URL", "QUANMA_", "QUANMA_TIMEOUT"])
def test_any_other_is_warned_of(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "S3same")
    with pytest.warns(
        environment.UnknownVariable, match=f"^{name} is set and is no setting, so it does nothing; there"
    ) as told:
        environment.check()
    assert "S3same" not in str(told[0].message)


@every_row(
    "name",
    [
        *(f"QUANMA_{setting}" for setting in (*environment.MERCHANT, *environment.OTHERS)),
        "QUANMA_BRAND_SERIAL_NO",
        "QUANMA_TEST_POSTGRES",
        "QUANMA_WITHOUT_NODE",
        "QUANMA_SERVICE_HOST",
        "QUANMA_SERVICE_PORT",
        "QUANMA_SERVICE_PORT_HTTP",
        "QUANMA_PORT",
        "QUANMA_PORT_8460_TCP",
        "QUANMA_PORT_8460_TCP_ADDR",
        "QUANMA_PLATFORM_SERVICE_HOST",
        "QUANMA_PLATFORM_PORT_8460_TCP_PROTO",
        "MY_QUANMA_MCH_ID",
    ],
)
def test_settings_and_what_kubernetes_puts_there_are_not_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        environment.check()
