"""What the foreign clients' tests share: a merchant's keys as files, and codes that are hard on a path."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path
from typing import NamedTuple

from quanma.wire.signature import PUBLIC_KEY_PREFIX
from tests.support.platform import MCHID, merchant_config

CODES = ("ABC9588200", "A 1", "B/2", "C\\3", "D|4", "E=5", "F-6", "G_7", "/", " ", "a//b", "x /\\|=y")
"""Every character that a code may have beside letters and digits, slashes at both ends too."""
OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"


class MerchantFiles(NamedTuple):
    """A merchant of a world, its keys as paths: what a foreign client is set up with."""

    serial_no: str
    private_key: Path
    apiv3_key: str
    public_key_id: str
    public_key: Path
    certificate_serial_no: str
    certificate: Path


def merchant_files(world: Path, mchid: str = MCHID) -> MerchantFiles:
    path = merchant_config(world, mchid)
    merchant = tomllib.loads(path.read_text())["merchant"]
    keys: dict[str, str] = merchant["platform_keys"]
    (public_key_id,) = (name for name in keys if name.startswith(PUBLIC_KEY_PREFIX))
    (certificate_serial_no,) = keys.keys() - {public_key_id}
    return MerchantFiles(
        serial_no=merchant["serial_no"],
        private_key=path.parent / merchant["private_key"],
        apiv3_key=merchant["apiv3_key"],
        public_key_id=public_key_id,
        public_key=path.parent / keys[public_key_id],
        certificate_serial_no=certificate_serial_no,
        certificate=path.parent / keys[certificate_serial_no],
    )


def now_rfc3339() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
