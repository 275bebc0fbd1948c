"""Checks of the settings themselves: where they come from, what they are called, whom they let read them."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable
from pathlib import Path

from ..client import config
from ..errors import Misconfigured
from ..settings import addresses, environment, files
from ..settings.shape import shape
from ..storage.paths import command
from ..wire import keys
from .check import Check, LeftOut, Outcome, failed, passed, skipped, warned
from .subject import Subject

_ADDRESSES = ("base_url", "fallback_url", "h5_url", "proxy")
_OWN_CHECKS = ("mchid", "brand_id", "serial_no", "apiv3_key", "apiv2_key", "brand_key", *_ADDRESSES)
"""Settings whose value has a check of its own."""


def _variables(subject: Subject) -> Outcome:
    """Names in the environment that look like settings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            environment.check()
        except Misconfigured as problem:
            return failed(str(problem), _unset(problem))
    if caught:
        return warned(str(caught[0].message), _unset(caught[0].message))
    return passed()


def _unset(told: object) -> str:
    """The command that takes away the variable that a message begins with."""
    found = re.match(r"[A-Za-z0-9_]+", str(told))
    return f"unset {found[0] if found else ''}"


def _file(subject: Subject) -> Outcome:
    subject.file = config.file_of(subject.asked_for)
    try:
        if subject.file is not None:
            subject.table = config.read_table(subject.file, subject.section)
        subject.given = config.gather(subject.file, subject.table, {}, section=subject.section)
    except Misconfigured as problem:
        return failed(str(problem), _HOW_TO_BEGIN)
    if subject.file is None and not subject.given.settings:
        return failed(
            f"no file is given: QUANMA_CONFIG is not set, and there is no {config.DEFAULT_FILE} here", _HOW_TO_BEGIN
        )
    variables = ", ".join(subject.where(name) for name in sorted(subject.given.from_environment))
    if subject.file is None:
        return passed(f"all from the environment: {variables}")
    return passed(f"{subject.file} and {variables}" if variables else str(subject.file))


_HOW_TO_BEGIN = "quanma init --live shop"


def _names(subject: Subject) -> Outcome:
    """Names and types. No unknown name is repeated as it is: a secret may stand in its place."""
    fields, required = subject.kind.__struct_fields__, (subject.own_number, "serial_no", "private_key")
    if missing := [name for name in required if subject.given.settings.get(name) is None]:
        return failed(
            f"{', '.join(missing)} must be given",
            _WHERE_TO_FIND[missing[0]],
        )
    for name in subject.given.settings.keys() - {*fields}:
        known = re.fullmatch(r"[A-Za-z][A-Za-z_-]{1,30}", name) is not None
        near = difflib.get_close_matches(name.lower().replace("-", "_"), fields, n=1, cutoff=0.75)
        told = f"{name} is no setting" if known else f"a name in [{subject.section}] is no setting: it is {shape(name)}"
        return failed(told, f"write {near[0]} = … instead" if near else "take the line out of the file")
    for name in (*required, *_OWN_CHECKS):
        value = subject.given.settings.get(name)
        if value is not None and not isinstance(value, str):
            return failed(f"{name} is {shape(value)}: it is to be a text", f"put {subject.where(name)} in quotes")
    for name in sorted({*fields} - {*_OWN_CHECKS}):
        if (problem := subject.problem(name)) is not None:
            return failed(_without_path(problem), f"correct {subject.where(name)}")
    return passed()


def _without_path(problem: str) -> str:
    """What msgspec says of a wrong type, with the setting's name as people write it."""
    return problem.replace("$.", "")


_WHERE_TO_FIND = {
    "mchid": "商户平台 → 账户中心 → 商户信息 → 微信支付商户号",
    "brand_id": "品牌经营平台 → 账户中心 → 品牌ID",
    "serial_no": "openssl x509 -noout -serial -in apiclient_cert.pem",
    "private_key": "商户平台 → 账户中心 → API安全 → 商户API证书: apiclient_key.pem",
}


def _modes(subject: Subject) -> Outcome:
    """Who else can read the files that hold secrets."""
    value = subject.given.settings.get("private_key")
    key_file: Path | None = None
    if isinstance(value, str) and not keys.is_key_text(value):
        key_file = subject.given.folders["private_key"] / value
    path = subject.file
    try:
        if path is not None:
            config.refuse_open_table(path, subject.table)
        if (path := key_file) is not None:
            files.refuse_open(path, "private_key", config.TEXT_INSTEAD)
    except Misconfigured as problem:
        return failed(str(problem), command(["chmod", "600", path or ""]))
    return passed()


def _own_number(subject: Subject) -> Outcome:
    number = subject.text(subject.own_number)
    if (problem := subject.problem(subject.own_number)) is not None:
        return failed(problem, _WHERE_TO_FIND[subject.own_number])
    return passed(number)


def _addresses(subject: Subject) -> Outcome:
    open_ones: list[str] = []
    for setting in _ADDRESSES:
        try:
            address = subject.text(setting)
        except LeftOut:
            continue
        if (problem := subject.problem(setting)) is not None:
            return failed(problem, f"correct {subject.where(setting)}")
        if setting != "proxy" and addresses.is_open(address):
            open_ones.append(setting)
    if open_ones:
        return warned(
            f"{open_ones[0]} begins with http:// and is not of this machine: users, codes and signatures can be read "
            "on the way",
            f"write https:// in {subject.where(open_ones[0])}",
        )
    return passed(", ".join(subject.hosts))


def _apiv3(subject: Subject) -> Outcome:
    if (told := _api_key(subject, "apiv3_key", "商户平台 → 账户中心 → API安全 → APIv3密钥")) is not None:
        return told
    if subject.value("apiv3_key") == subject.given.settings.get("apiv2_key"):
        return warned(
            "apiv3_key and apiv2_key are the same: one of them probably stands in the other's place",
            "商户平台 → 账户中心 → API安全: APIv3密钥, APIv2密钥",
        )
    return passed("32 letters and digits")


def _apiv2(subject: Subject) -> Outcome:
    return _api_key(subject, "apiv2_key", "商户平台 → 账户中心 → API安全 → APIv2密钥") or passed(
        "32 letters and digits"
    )


def _brand_key(subject: Subject) -> Outcome:
    return _api_key(subject, "brand_key", "品牌经营平台 → 账户中心 → 品牌API密钥") or passed("32 letters and digits")


def _api_key(subject: Subject, setting: str, place: str) -> Outcome | None:
    if subject.given.settings.get(setting) is None:
        lacks = "claims can't be signed" if setting == "apiv2_key" else "events can't be opened"
        return skipped(f"there is no {setting}: {lacks}")
    if (problem := subject.problem(setting)) is not None:
        return failed(problem, place)
    return None


def of_brand(look: Callable[[Subject], Outcome]) -> Callable[[Subject], Outcome]:
    """The same, of the brand's section."""
    return lambda subject: look(subject.brand)


_FILE = ("brand.file",)
BRAND_CHECKS = (
    Check("brand.file", "where the brand's settings come from", of_brand(_file)),
    Check("brand.names", "names and types of the brand's settings", of_brand(_names), _FILE),
    Check("brand.modes", "who can read the brand's secrets", of_brand(_modes), _FILE),
    Check("brand.addresses", "addresses in the brand's settings", of_brand(_addresses), _FILE),
    Check("brand.brand_id", "the brand's number", of_brand(_own_number), _FILE),
    Check("brand.key", "the form of the brand's key", of_brand(_brand_key), _FILE),
)
CHECKS = (
    Check("settings.environment", "names of variables in the environment", _variables),
    Check("settings.file", "where the settings come from", _file),
    Check("settings.names", "names and types of the settings", _names, ("settings.file",)),
    Check("settings.modes", "who can read the files with secrets", _modes, ("settings.file",)),
    Check("settings.addresses", "addresses in the settings", _addresses, ("settings.file",)),
    Check("settings.mchid", "the merchant's number", _own_number, ("settings.file",)),
    Check("apiv3.form", "the form of the APIv3 key", _apiv3, ("settings.file",)),
    Check("apiv2.form", "the form of the V2 key", _apiv2, ("settings.file",)),
)
