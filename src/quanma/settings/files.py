"""Files of settings and of keys: read whole, and refused where others than the owner may read a secret."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from ..errors import Misconfigured, SettingsAbsent
from ..storage.descriptors import HAS_MODES
from ..storage.paths import command
from ..storage.private import OTHERS
from .shape import path_or_shape, shape

KEY_BYTES_MAX = 256 * 1024


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's content. A BOM, as Notepad writes one, is no part of it.

    Raises:
        Misconfigured: it can't be read, or is no TOML in UTF-8.
        FileNotFoundError: it is not there. The caller knows the way out.
    """
    content = read(path, "settings")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Misconfigured(f"{path} can't be read: it is in UTF-16: save it as UTF-8")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        reason = "it is not UTF-8: save it as UTF-8"
    except tomllib.TOMLDecodeError as problem:
        reason = str(problem)
    except (ValueError, RecursionError) as problem:
        reason = "it is nested too deep" if isinstance(problem, RecursionError) else "a number or time in it is none"
    # Not while the error is handled: it has the whole content with it.
    raise Misconfigured(f"{path} can't be read: {reason}")


def read(path: Path, what: str) -> bytes:
    """Return a file's content. Raises Misconfigured: it can't be read; FileNotFoundError: it is not there."""
    try:
        if path.is_dir():
            raise Misconfigured(f"{what}: {path} is a folder: name the file in it")
        with open(path, "rb") as file:
            content = file.read(KEY_BYTES_MAX + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "it is no path"
    else:
        if len(content) <= KEY_BYTES_MAX:
            return content
        reason = f"it is longer than {KEY_BYTES_MAX:,} bytes"
    raise Misconfigured(f"{what}: {path_or_shape(path)} can't be read: {reason}")


def refuse_open(path: Path, what: str, otherwise: str) -> None:
    """Raises Misconfigured: others than the owner may read or write a file that holds secrets.

    A mounted secret (Kubernetes) can't be changed. It is refused all the same, with what works there: `otherwise`.
    """
    if not HAS_MODES:
        return
    try:
        found = path.stat()
        if not (mode := stat.S_IMODE(found.st_mode)) & OTHERS or path.is_dir():
            return
        fixed = not mode & 0o222 or found.st_uid != os.geteuid() or bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (OSError, ValueError):
        return  # Whoever reads it says why it can't be read.
    way_out = command(["chmod", "600", path])
    if fixed:
        way_out += f"; where its mode can't be changed, as that of a mounted secret, {otherwise}"
    raise Misconfigured(f"{what} {path} has mode {mode:04o}, so others can read it: {way_out}")


def no_file(value: str, setting: str, folder: Path, wanted: str) -> Misconfigured:
    """The error for a value that is no file that is there. `wanted`: what belongs in the setting."""
    shown = path_or_shape(value)
    if shown == value:
        return SettingsAbsent(f"{setting}: there is no {folder / value}: {wanted}")
    return Misconfigured(f"{setting} is no file that is there: it is {shape(value)}: {wanted}")
