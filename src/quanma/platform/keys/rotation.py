"""A new signing key for a world: `quanma platform rotate-key`."""

from __future__ import annotations

import datetime
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from ...errors import Misconfigured
from ...storage.private import replace
from ...wire import keys
from .. import config
from .environment import write_private


class Rotated(NamedTuple):
    """The new key's name, what merchants verify with, and the merchants of this world that have it now."""

    name: str
    verifying: Path
    told: list[Path]


def rotate_certificate(path: Path, now: datetime.datetime) -> Rotated:
    """Add a platform certificate: it signs for whoever asks for it, and is in the list that clients fetch.

    Raises:
        Misconfigured: the settings can't be read or written.
    """
    folder = _checked(path)
    made = keys.make_certified("quanma platform", now)
    tag = made.serial_no[:16]
    private, certificate = (
        Path("platform") / f"certificate_private_{tag}.pem",
        Path("platform") / f"certificate_{tag}.pem",
    )
    write_private(folder / private, made.private_key)
    write_private(folder / certificate, made.certificate)
    _append(path, f'[[newer_keys]]\nprivate = "{private}"\ncertificate = "{certificate}"\n')
    return Rotated(made.serial_no, folder / certificate, _tell(folder, made.serial_no, folder / certificate))


def rotate_public_key(path: Path, now: datetime.datetime, active_after: datetime.timedelta) -> Rotated:
    """Add a public key. It signs for whoever asks for it at once, and for everybody once merchants had time to take it.

    Raises:
        Misconfigured: the settings can't be read or written.
    """
    folder = _checked(path)
    old = config.load(path).public_key_id
    name = re.sub(r"[0-9]{20}$", f"{now:%Y%m%d}{secrets.randbelow(10**12):012}", old)
    private_pem = keys.make_private_key()
    tag = name[-12:]
    private, public = Path("platform") / f"public_key_private_{tag}.pem", Path("platform") / f"pub_key_{tag}.pem"
    write_private(folder / private, private_pem)
    write_private(folder / public, keys.public_pem(keys.load_private_key(private_pem, name)))
    active_from = (now + active_after).isoformat(timespec="seconds")
    table = f'[[newer_keys]]\nprivate = "{private}"\npublic_key_id = "{name}"\nactive_from = "{active_from}"\n'
    _append(path, table)
    return Rotated(name, folder / public, _tell(folder, name, folder / public))


def _checked(path: Path) -> Path:
    config.load(path)
    return path.resolve().parent


def _append(path: Path, table: str) -> None:
    """The file whole or as it was: whoever reads it meanwhile must not see a part of it."""
    try:
        replace(path.resolve(), path.read_bytes() + b"\n" + table.encode())
    except OSError as problem:
        raise Misconfigured(f"{path} can't be written: {problem.strerror}") from None


def _tell(folder: Path, name: str, verifying: Path) -> list[Path]:
    """Give the key to the merchants of this world: `init` ends each quanma.toml with the table it belongs in."""
    told: list[Path] = []
    for settings in sorted((folder / "merchants").glob("*/quanma.toml")):
        text = settings.read_text("utf-8").rstrip("\n")
        if "[merchant.platform_keys]" in text and "\n[" not in text.rpartition("[merchant.platform_keys]")[2]:
            write_private(settings.parent / verifying.name, verifying.read_bytes())
            replace(settings.resolve(), f'{text}\n"{name}" = "{verifying.name}"\n'.encode())
            told.append(settings)
    return told
