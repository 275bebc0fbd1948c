"""A brand's section, alone and beside a merchant's: what files tell of it."""

from __future__ import annotations

import datetime
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from quanma.doctor import telling
from quanma.doctor.check import Status
from quanma.doctor.examine import examine
from quanma.doctor.subject import Subject
from quanma.platform.keys.environment import make_environment
from quanma.wire.keys import make_private_key
from tests.doctor.conftest import CLOCKS, Shop, look
from tests.support.every import every_row
from tests.support.platform import MCHID

BRAND = "120344"
Break = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("branded") / "world"
    now = datetime.datetime.now(datetime.UTC)
    make_environment(folder, port=8460, mchids=[MCHID], brands=[BRAND], now=now)
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A brand's folder to be broken."""
    return Path(shutil.copytree(made / "brands" / BRAND, tmp_path / "home"))


def replaced(old: str, new: str) -> Break:
    def broken(home: Path) -> None:
        text = (home / "quanma.toml").read_text("utf-8")
        assert re.search(old, text)
        (home / "quanma.toml").write_text(re.sub(old, new, text, count=1), "utf-8")

    return broken


def new_key(home: Path) -> None:
    (home / "apiclient_key.pem").write_bytes(make_private_key())


def mode(name: str) -> Break:
    return lambda home: (home / name).chmod(0o644)


def test_a_whole_brand_passes_and_no_merchant_is_missed(home: Path) -> None:
    found = look(home / "quanma.toml")
    assert [one.id for one in found.results if one.status != Status.PASS] == []
    assert {one.id.partition(".")[0] for one in found.results} == {"brand"}


@every_row(
    ("break_it", "check", "mend"),
    [
        (replaced("brand_id = .*", ""), "brand.names", "品牌ID"),
        (replaced("brand_key", "brand-key"), "brand.names", "write brand_key = "),
        (replaced("brand_key", "apiv3_key"), "brand.names", "take the line out of the file"),
        (replaced('brand_id = "120344"', 'brand_id = "1203 44"'), "brand.brand_id", "品牌ID"),
        (replaced('brand_key = ".', 'brand_key = "'), "brand.key", "品牌API密钥"),
        (replaced('base_url = "http://', 'base_url = "'), "brand.addresses", "correct base_url in quanma.toml"),
        (replaced('serial_no = ".*"', 'serial_no = "5:7"'), "brand.serial_no", "openssl x509 -noout -serial"),
        (replaced('serial_no = ".*"', 'serial_no = "577DE2"'), "brand.serial", 'serial_no = "'),
        (replaced("PUB_KEY_ID_[0-9]+", "5157F09E"), "brand.platform_keys", "微信支付公钥"),
        (replaced('"PUB_KEY_ID_.*', ""), "brand.platform_keys", "[brand.platform_keys]"),
        (mode("quanma.toml"), "brand.modes", "chmod 600 "),
        (mode("apiclient_key.pem"), "brand.modes", "chmod 600 "),
        (new_key, "brand.pair", "made with this certificate"),
        (lambda home: (home / "apiclient_key.pem").unlink(), "brand.private_key", "apiclient_key.pem"),
    ],
)
def test_what_is_wrong_with_a_brand_is_found(
    break_it: Break, check: str, mend: str, made: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(made / "brands" / BRAND, tmp_path / "home"))
    break_it(home)
    failed = look(home / "quanma.toml").of(Status.FAIL)
    assert [*failed] == [check]
    assert mend in failed[check].fix


def test_both_sections_are_looked_at_where_both_are_given(shop: Shop, home: Path) -> None:
    for name in ("apiclient_key.pem", "apiclient_cert.pem", "pub_key.pem"):
        shutil.copy(home / name, shop.folder / f"brand_{name}")
    text = (home / "quanma.toml").read_text("utf-8").partition("[brand]")[2]
    text = re.sub(r'"(apiclient_key|pub_key)\.pem"', r'"brand_\1.pem"', text)
    shop.file.write_text(shop.file.read_text("utf-8") + "\n[brand]" + text, "utf-8")
    found = look(shop.file)
    assert [*found.of(Status.FAIL), *found.of(Status.WARN)] == []
    assert {"brand.private_key", "sign.answer"} <= {*found.of(Status.PASS)}


def test_no_secret_of_a_brand_is_told(home: Path) -> None:
    text = (home / "quanma.toml").read_text("utf-8")
    key = re.findall(r'brand_key = "(.*)"', text)[0]
    secrets = [key, *(home / "apiclient_key.pem").read_text().splitlines()[1:-1]]
    replaced('brand_id = "120344"', f'brand_id = "{key}"')(home)
    subject = Subject(home / "quanma.toml", CLOCKS)
    told = telling.as_markdown(telling.report(examine(subject)), subject)
    subject.close()
    assert [secret for secret in secrets if secret in told] == []
    assert "| brand.brand_key | 32 characters |" in told
