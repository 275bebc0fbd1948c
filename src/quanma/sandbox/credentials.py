"""A merchant's credentials, for a shell, as JSON or as TOML. They open the sandbox and nothing else."""

from __future__ import annotations

import json
import shlex

import msgspec

from ..client.config import Merchant

FORMATS = ("env", "json", "toml")


class Credentials(msgspec.Struct, kw_only=True):
    mchid: str
    serial_no: str
    private_key: str
    """PEM."""
    apiv3_key: str | None
    apiv2_key: str | None
    base_url: str
    platform_keys: dict[str, str]
    """PEM, by name."""


def of(merchant: Merchant) -> Credentials:
    return Credentials(
        mchid=merchant.mchid,
        serial_no=merchant.serial_no,
        private_key=merchant.private_key,
        apiv3_key=merchant.apiv3_key,
        apiv2_key=merchant.apiv2_key,
        base_url=merchant.base_url,
        platform_keys=dict(merchant.platform_keys),
    )


def written(credentials: Credentials, form: str) -> str:
    """In one of `FORMATS`. `env` is for `eval`."""
    if form == "json":
        return json.dumps(msgspec.to_builtins(credentials), ensure_ascii=False, indent=2) + "\n"
    plain = {name: value for name, value in msgspec.to_builtins(credentials).items() if value is not None}
    keys = plain.pop("platform_keys")
    if form == "toml":
        lines = [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
        trusted = [f"{json.dumps(name)} = {json.dumps(pem)}" for name, pem in keys.items()]
        return "\n".join(["[merchant]", *lines, "", "[merchant.platform_keys]", *trusted]) + "\n"
    shown = {f"QUANMA_{name.upper()}": value for name, value in plain.items()}
    shown["QUANMA_PLATFORM_KEYS"] = json.dumps(keys)
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in shown.items())
