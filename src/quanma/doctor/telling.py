"""What is told of an examination: for programs, and for an issue; and how secrets are kept out of it.

Two walls keep secrets in. What is told is made of an allow-list: settings by their shape, and texts that repeat no
value. And before it leaves, whatever was given as a secret is looked for in it once more, and taken out.
"""

from __future__ import annotations

import os
import platform as machine
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ..errors import Misconfigured, masked
from ..settings import addresses, files
from ..settings.shape import shape
from ..wire import keys, signature
from .check import LeftOut, Status
from .examine import Report, Result
from .subject import Subject

_PACKAGES = ("quanma", "cryptography", "pyreqwest", "msgspec", "click")
_REMOVED = "[removed]"
_SECRET_VARIABLES = ("PRIVATE_KEY", "APIV3_KEY", "APIV2_KEY", "PROXY", "BRAND_PRIVATE_KEY", "BRAND_KEY")
_SECRET_CHARACTERS_MIN = 6
"""A shorter value is no secret worth the name, and would be found in every text."""


def report(results: Sequence[Result], *, strict: bool = False) -> Report:
    """`strict`: a warning is a failure too."""
    wrong = {Status.FAIL, Status.WARN} if strict else {Status.FAIL}
    ok = all(result.status not in wrong for result in results)
    return Report(ok=ok, version=version("quanma"), checks=list(results))


def as_json(told: Report) -> str:
    """As the schema has it, in docs/schemas/doctor.json."""
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


def versions() -> dict[str, str]:
    """What runs here."""
    found = {
        "python": machine.python_version(),
        "system": f"{machine.system()} {machine.release()} {machine.machine()}",
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def shapes(subject: Subject) -> dict[str, str]:
    """Each setting that is there, by its shape. A name that is no setting is counted, and not repeated."""
    found: dict[str, str] = {}
    for part, before in ((subject, ""), (subject.brand, "brand.")):
        fields = part.kind.__struct_fields__
        found |= {f"{before}{name}": _shape(part, name) for name in fields if name in part.given.settings}
        if unknown := len(part.given.settings.keys() - {*fields}):
            found[f"{before}unknown names"] = str(unknown)
    return found


def _shape(subject: Subject, name: str) -> str:
    value = subject.given.settings[name]
    source = " (environment)" if name in subject.given.from_environment else ""
    if name == "platform_keys" and isinstance(value, dict):
        kinds = [_kind(key) for key in value]
        return ", ".join(kinds) + source if kinds else "none"
    if name == "private_key" and isinstance(value, str) and not keys.is_key_text(value):
        return _shape_of_file(subject.given.folders[name] / value) + source
    if name in ("base_url", "fallback_url") and subject.problem(name) is None and isinstance(value, str):
        host = addresses.host_of(value)
        if subject.is_wechat_pays or host in ("localhost", "127.0.0.1", "::1"):
            return f"{urlsplit(value).scheme}://{host}{source}"
    return shape(value) + source


def _kind(name: object) -> str:
    return "a public key" if str(name).startswith(signature.PUBLIC_KEY_PREFIX) else f"a name, {shape(name)}"


def _shape_of_file(path: Path) -> str:
    try:
        mode = path.stat().st_mode & 0o777
        return f"a file, mode {mode:04o}: {shape(files.read(path, 'private_key'))}"
    except (OSError, ValueError, Misconfigured):
        return f"a path that can't be read: {shape(str(path.name))}"


class Redactor:
    """Takes secrets out of a text: whatever was given as one, in the settings or the environment, and keys in PEM."""

    def __init__(self, subject: Subject) -> None:
        parts = (subject, subject.brand)
        given: list[object] = [
            value
            for part in parts
            for name, value in part.given.settings.items()
            if name not in ("base_url", "fallback_url", "h5_url", "platform_keys") and not _may_be_told(part, name)
        ]
        given += [os.environ.get(f"QUANMA_{name}", "") for name in _SECRET_VARIABLES]
        texts = [*map(str, given), *(piece for part in parts for piece in _pieces(part))]
        self._secrets = sorted({*_parts(texts)}, key=len, reverse=True)
        names = [part.given.settings.get(name) for part in parts for name in (part.own_number, "serial_no")]
        self._masks = {str(name) for name in names if name}
        self._home = str(Path.home())

    def __call__(self, text: str) -> str:
        """Take out secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _REMOVED)
        return re.sub(r"-----BEGIN [A-Z ]*PRIVATE KEY.*?(-----END [A-Z ]*-----|\Z)", _REMOVED, text, flags=re.DOTALL)

    def for_others(self, text: str) -> str:
        """Take out secrets, and make short what says who one is: for an issue, and a bundle."""
        text = self(text)
        for name in sorted(self._masks, key=len, reverse=True):
            text = text.replace(name, masked(name))
        return text.replace(self._home, "~") if len(self._home) > 1 else text


def _may_be_told(subject: Subject, name: str) -> bool:
    """A setting that is no secret, and is in its right form; or the path of a key."""
    value = subject.given.settings[name]
    if name == "private_key":
        return isinstance(value, str) and os.path.isfile(subject.given.folders[name] / value)
    if name in ("mchid", "brand_id", "serial_no", "deadline_seconds", "attempt_seconds", "attempts_max"):
        return subject.problem(name) is None
    return False


def _pieces(subject: Subject) -> Iterator[str]:
    """Of the private key, what a message of another program could show."""
    try:
        yield subject.private_pem
    except (LeftOut, Misconfigured):
        return


def _parts(texts: Sequence[str]) -> Iterator[str]:
    """The secrets, and what is found of them where a line of one is shown alone."""
    for text in texts:
        for part in (text, *text.split()):
            if "-----" not in part and len(part) >= _SECRET_CHARACTERS_MIN:
                yield part
        if "://" in text:
            user, at, _ = text.partition("://")[2].rpartition("@")
            yield from (part for part in (user, user.partition(":")[2]) if at and len(part) >= 2)


def as_markdown(told: Report, subject: Subject) -> str:
    """For an issue: what failed, what runs here, and the settings by their shape."""
    lines = ["### quanma doctor", "", "| check | status | detail |", "|---|---|---|"]
    lines += [f"| {one.id} | {one.status} | {_cell(one.detail)} |" for one in told.checks]
    lines += ["", "| package | version |", "|---|---|", *(f"| {name} | {it} |" for name, it in versions().items())]
    lines += [
        "",
        "| setting | shape |",
        "|---|---|",
        *(f"| {name} | {_cell(it)} |" for name, it in shapes(subject).items()),
    ]
    return Redactor(subject).for_others("\n".join(lines))


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")
