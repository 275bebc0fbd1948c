"""A brand's own calls: its scheme, its settings, its keys; against our platform, which believes nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quanma import Wechatpay
from quanma.client import config
from quanma.client.config import Settings
from quanma.client.exchange import Patience
from quanma.errors import AnswerUntrusted, Misconfigured, RequestRefused, SignatureInvalid
from quanma.platform.keys.environment import make_environment
from quanma.wire import signature
from quanma.wire.keys import load_private_key
from tests.support.every import every_row
from tests.support.platform import MCHID, InProcess, merchant_config

BRAND, OTHER = "120344", "120345"
NONCE, SIGNED = "593BEC0C930BF1AFEB40B4A08C8FB242", "c2lnbmVk"
HEADER = (
    f'WECHATPAY-BRAND-SHA256-RSA2048 brand_id="{BRAND}",nonce_str="{NONCE}",timestamp="1554208460",'
    f'serial_no="3493DE0D",signature="{SIGNED}"'
)


def brand_config(world: Path, brand_id: str = BRAND) -> Path:
    return world / "brands" / brand_id / "quanma.toml"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brands") / "world"
    make_environment(folder, port=8460, mchids=[MCHID], brands=[BRAND, OTHER], now=datetime.datetime.now(datetime.UTC))
    return folder


@pytest.fixture(scope="module")
def platform(world: Path) -> Iterator[InProcess]:
    running = InProcess(world, f"sqlite:///{world / 'brands.db'}", explain=True)
    yield running
    running.close()


def as_brand(platform: InProcess, settings: Settings) -> Wechatpay:
    return Wechatpay(settings, transport=platform.transport(), patience=Patience(attempts_max=1))


def refused(wxpay: Wechatpay) -> str:
    """What the platform says to a brand whose signature it took: the operation is not done here yet, or no such one."""
    with pytest.raises(RequestRefused) as told:
        wxpay.chain_raw("brand/marketing/nothing").get()
    return f"{told.value.status_code} {told.value.verified}"


def test_a_brand_signs_and_the_platform_signs_its_answer_with_the_brands_key(platform: InProcess, world: Path) -> None:
    wxpay = as_brand(platform, config.load_both(brand_config(world)))
    assert refused(wxpay) == "404 True"


def test_the_header_of_a_brand_has_its_scheme_and_its_brand_id() -> None:
    fields = signature.parse_authorization(HEADER)
    assert (fields.scheme, fields.mchid) == ("WECHATPAY-BRAND-SHA256-RSA2048", BRAND)
    assert signature.parse_authorization(signature.authorization(fields)) == fields
    parts = HEADER.partition(" ")[2].split(",")
    spelt = f"{signature.BRAND_SCHEME} {','.join(reversed(parts))}"
    assert signature.parse_authorization(spelt) == fields


@every_row(
    "header",
    [HEADER.replace("brand_id", "mchid"), HEADER.replace("-BRAND-", "2-", 1), f'{HEADER},mchid="1"'],
)
def test_a_scheme_with_the_other_ones_field_is_refused(header: str) -> None:
    with pytest.raises(SignatureInvalid):
        signature.parse_authorization(header)


def test_a_client_holds_both_and_the_path_says_which_signs(platform: InProcess, world: Path) -> None:
    brand = config.load_brand(brand_config(world))
    both = as_brand(platform, Settings(config.load(merchant_config(world)), brand))
    assert refused(both) == "404 True"
    with pytest.raises(RequestRefused) as told:
        both.chain_raw("v3/nothing").get()
    assert (told.value.status_code, told.value.verified) == (404, True)
    assert repr(both).startswith(f"<Wechatpay {MCHID} at ")
    assert f"brand {BRAND} at " in repr(both)


def test_a_call_without_its_section_names_the_section_to_add(platform: InProcess, world: Path) -> None:
    brand = as_brand(platform, config.load_both(brand_config(world)))
    with pytest.raises(Misconfigured, match=r"merchant's call, and the settings have no \[merchant\] section: add it"):
        brand.v3.certificates.get()
    merchant = as_brand(platform, config.load_both(merchant_config(world)))
    with pytest.raises(Misconfigured, match=r"brand's own call, and the settings have no \[brand\] section: add it"):
        merchant.brand.marketing.product_coupon.notify_configs.get()


def test_another_brands_key_verifies_nothing(platform: InProcess, world: Path) -> None:
    mine, theirs = config.load_brand(brand_config(world)), config.load_brand(brand_config(world, OTHER))
    assert mine is not None
    assert theirs is not None
    mixed = _with(mine, platform_keys=theirs.platform_keys)
    with pytest.raises(AnswerUntrusted, match="not in platform_keys"):
        as_brand(platform, Settings(None, mixed)).brand.marketing.product_coupon.notify_configs.get()


def test_a_brand_asks_for_an_answer_under_its_own_key(platform: InProcess, world: Path) -> None:
    brand = config.load_brand(brand_config(world))
    assert brand is not None
    for wanted in ([], [("Wechatpay-Serial", "PUB_KEY_ID_0119000000012026112400000000000000")]):
        reply = platform.ask("GET", "/brand/x", [*_signed(brand, "/brand/x"), *wanted])
        assert reply.status_code == 401
        assert b"Wechatpay-Serial must be the brand's own public key" in reply.body


def _signed(brand: config.Brand, target: str, scheme: str = signature.BRAND_SCHEME) -> list[tuple[str, str]]:
    from_file = load_private_key(brand.private_key.encode(), "private_key")
    now = str(int(datetime.datetime.now(datetime.UTC).timestamp()))
    message = signature.request_message("GET", target, now, NONCE, b"")
    fields = signature.Authorization(
        brand.brand_id, brand.serial_no, NONCE, now, signature.sign(from_file, message), scheme
    )
    return [("Authorization", signature.authorization(fields))]


@every_row(("target", "scheme"), [("/v3/certificates", signature.BRAND_SCHEME), ("/brand/x", signature.SCHEME)])
def test_the_wrong_scheme_for_a_path_is_not_believed(
    target: str, scheme: str, platform: InProcess, world: Path
) -> None:
    brand = config.load_brand(brand_config(world))
    assert brand is not None
    reply = platform.ask("GET", target, _signed(brand, target, scheme))
    assert reply.status_code == 401
    assert f"this path takes the Authorization scheme {signature.scheme_of(target)}".encode() in reply.body


def test_a_brand_is_no_merchant_under_a_merchants_scheme(platform: InProcess, world: Path) -> None:
    brand = config.load_brand(brand_config(world))
    assert brand is not None
    posing = _with(brand, brand_id="120344")
    for name in (f"brand:{BRAND}", BRAND):
        headers = _signed(posing, "/v3/certificates", signature.SCHEME)
        headers = [(key, value.replace(f'mchid="{BRAND}"', f'mchid="{name}"')) for key, value in headers]
        assert platform.ask("GET", "/v3/certificates", headers).status_code == 401


def _with(brand: config.Brand, **changes: Any) -> config.Brand:
    fields = {name: getattr(brand, name) for name in config.Brand.__struct_fields__}
    return config.Brand(**{**fields, **changes})


def test_a_brands_settings_come_from_the_environment(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, brand = world / "brands" / BRAND, config.load_brand(brand_config(world))
    assert brand is not None
    monkeypatch.chdir(world)
    (name,) = brand.platform_keys
    for variable, value in {
        "ID": BRAND,
        "SERIAL_NO": brand.serial_no,
        "PRIVATE_KEY": str(home / "apiclient_key.pem"),
        "KEY": "k" * 32,
        "BASE_URL": brand.base_url,
        "PLATFORM_KEYS": f"{name}={home / 'pub_key.pem'}",
    }.items():
        monkeypatch.setenv(f"QUANMA_BRAND_{variable}", value)
    assert config.load_both() == Settings(None, _with(brand, brand_key="k" * 32))


@every_row(
    ("change", "told"),
    [
        ({"brand_id": "12034x"}, "brand_id is not a brand's number"),
        ({"brand_key": "short"}, "brand_key is not 32 letters and digits"),
        ({"serial_no": "no serial"}, "serial_no is not a certificate's serial"),
        ({"mchid": "1900000001"}, "unknown field `mchid`"),
    ],
)
def test_a_setting_of_a_brand_that_can_not_be_right_is_named(change: dict[str, Any], told: str, world: Path) -> None:
    with pytest.raises(Misconfigured, match=told):
        config.load_brand(brand_config(world), **change)


def test_a_brand_has_no_platform_certificate(world: Path) -> None:
    brand = config.load_brand(brand_config(world))
    assert brand is not None
    with pytest.raises(Misconfigured, match="a brand has no other kind of key"):
        _with(brand, platform_keys={"5157F09EFDC096DE15EBE81A47057A7232F1B8E1": "a certificate"})


def test_each_brand_has_granted_product_coupons_to_the_first_merchant(platform: InProcess) -> None:
    assert platform.keystore.merchant(MCHID).granted == {BRAND, OTHER}


def test_a_strangers_brand_is_refused_as_any_stranger(platform: InProcess, world: Path) -> None:
    brand = config.load_brand(brand_config(world))
    assert brand is not None
    reply = platform.ask("GET", "/brand/x", _signed(_with(brand, brand_id="999"), "/brand/x"))
    assert reply.status_code == 401
    assert b"brand '999' is not known here" in reply.body
