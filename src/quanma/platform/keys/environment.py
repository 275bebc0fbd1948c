"""A whole local world: the platform's keys and settings, and for each merchant its own. `quanma init`."""

from __future__ import annotations

import datetime
import os
import re
import secrets
import string
from collections.abc import Sequence
from pathlib import Path

from ...errors import Misconfigured
from ...settings.keys import is_brand_id
from ...storage import private
from ...wire import keys, signature

MCHID_DEFAULT = "1900000001"
_ALPHANUMERIC = string.ascii_letters + string.digits


def make_environment(
    folder: Path, *, port: int, mchids: Sequence[str], now: datetime.datetime, brands: Sequence[str] = ()
) -> None:
    """Write a new world into `folder`, made if it is not there. Key files and settings are mode 0600.

    The first merchant is a service provider to whom each brand has granted 商品券.

    Raises:
        Misconfigured: a world is there already, or the folder can't be written. Nothing was overwritten.
    """
    for mchid in mchids:
        if not re.fullmatch(r"[0-9]{8,15}", mchid):
            raise Misconfigured(f"mchid {mchid!r} is not 8 to 15 digits")
    for brand_id in brands:
        if not is_brand_id(brand_id):
            raise Misconfigured(f"brand_id {brand_id!r} is not 1 to 20 digits")
    if len(set(mchids)) != len(mchids) or len(set(brands)) != len(brands):
        raise Misconfigured("a merchant or a brand was given twice")
    if not 0 <= port <= 65535:
        raise Misconfigured(f"port {port} is not between 0 and 65535")
    for taken in ("platform.toml", "platform", "merchants", "brands"):
        if os.path.lexists(folder / taken):
            raise Misconfigured(f"{folder / taken} is there already: a world is never overwritten, name another folder")
    try:
        _write(folder, port, mchids, brands, now)
    except OSError as problem:
        raise Misconfigured(f"{problem.filename or folder} can't be written: {problem.strerror}") from None


def _write(folder: Path, port: int, mchids: Sequence[str], brands: Sequence[str], now: datetime.datetime) -> None:
    certificate = keys.make_certified("quanma platform", now)
    public_key_private = keys.make_private_key()
    public_key = keys.public_pem(keys.load_private_key(public_key_private, "public key"))
    public_key_id = f"{signature.PUBLIC_KEY_PREFIX}01{mchids[0].zfill(12)}{now:%Y%m%d}{secrets.randbelow(10**12):012}"
    entries: list[str] = []
    write_private(folder / "platform" / "public_key_private.pem", public_key_private)
    write_private(folder / "platform" / "certificate_private.pem", certificate.private_key)
    write_private(folder / "platform" / "pub_key.pem", public_key)
    write_private(folder / "platform" / "platform_cert.pem", certificate.certificate)
    for mchid in mchids:
        merchant = keys.make_certified(f"merchant {mchid}", now)
        apiv3_key, apiv2_key = _random_key(), _random_key()
        home = folder / "merchants" / mchid
        write_private(home / "apiclient_key.pem", merchant.private_key)
        write_private(home / "apiclient_cert.pem", merchant.certificate)
        write_private(home / "pub_key.pem", public_key)
        write_private(home / "platform_cert.pem", certificate.certificate)
        write_private(
            home / "quanma.toml",
            f"""#:schema ../../schemas/quanma.json
[merchant]
mchid = "{mchid}"
serial_no = "{merchant.serial_no}"
private_key = "apiclient_key.pem"
apiv3_key = "{apiv3_key}"
apiv2_key = "{apiv2_key}"
base_url = "http://127.0.0.1:{port}"

[merchant.platform_keys]
"{public_key_id}" = "pub_key.pem"
"{certificate.serial_no}" = "platform_cert.pem"
""".encode(),
        )
        entries.append(f"""
[[merchants]]
mchid = "{mchid}"
apiv3_key = "{apiv3_key}"
apiv2_key = "{apiv2_key}"
certificates = ["merchants/{mchid}/apiclient_cert.pem"]
""")
    entries += [_make_brand(folder, port, brand_id, mchids[0], now) for brand_id in brands]
    # Last: a world with a platform.toml is whole.
    write_private(
        folder / "platform.toml",
        f"""#:schema schemas/platform.json
host = "127.0.0.1"
port = {port}
database = "sqlite:///quanma.db"
# requests_per_second = 20          # of one merchant; absent: no limit
# stocks_per_merchant = 10000       # how many stocks one merchant may create
# warmup_seconds = 60               # how long a new stock is not ready for uploads
# log_format = "json"               # a line of JSON for each event, instead of text
# allow_private_callbacks = true    # for tests: callback addresses that are not https or not public
# refused_callback_networks = ["168.63.129.16/32"]    # events are never posted there, though it is public

public_key_id = "{public_key_id}"
public_key_private = "platform/public_key_private.pem"
certificate = "platform/platform_cert.pem"
certificate_private = "platform/certificate_private.pem"
{"".join(entries)}""".encode(),
    )


def _make_brand(folder: Path, port: int, brand_id: str, provider: str, now: datetime.datetime) -> str:
    """Make a brand's folder, and return its entry in platform.toml. It shares no key with any merchant."""
    brand = keys.make_certified(f"brand {brand_id}", now)
    private_key = keys.make_private_key()
    public_key = keys.public_pem(keys.load_private_key(private_key, "public key"))
    public_key_id = f"{signature.PUBLIC_KEY_PREFIX}02{brand_id.zfill(12)}{now:%Y%m%d}{secrets.randbelow(10**12):012}"
    brand_key, home = _random_key(), folder / "brands" / brand_id
    write_private(folder / "platform" / f"brand_{brand_id}_private.pem", private_key)
    write_private(home / "apiclient_key.pem", brand.private_key)
    write_private(home / "apiclient_cert.pem", brand.certificate)
    write_private(home / "pub_key.pem", public_key)
    write_private(
        home / "quanma.toml",
        f"""#:schema ../../schemas/quanma.json
[brand]
brand_id = "{brand_id}"
serial_no = "{brand.serial_no}"
private_key = "apiclient_key.pem"
brand_key = "{brand_key}"
base_url = "http://127.0.0.1:{port}"

[brand.platform_keys]
"{public_key_id}" = "pub_key.pem"
""".encode(),
    )
    return f"""
[[brands]]
brand_id = "{brand_id}"
brand_key = "{brand_key}"
certificates = ["brands/{brand_id}/apiclient_cert.pem"]
public_key_id = "{public_key_id}"
public_key_private = "platform/brand_{brand_id}_private.pem"
granted = ["{provider}"]
"""


def _random_key() -> str:
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(32))


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read. Raises OSError: it is there already, or can't be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(private.make(path), "wb") as file:
        file.write(content)
