"""A whole shop with one thing broken: that check fails, no other does, and the mend is the one for it."""

from __future__ import annotations

import datetime
import json
import re
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from quanma.doctor.check import Status
from quanma.wire import keys
from tests.doctor.conftest import Shop, look
from tests.support.every import every_row, some_quick
from tests.support.platform import OTHER_MCHID, Served
from tests.support.way import Answer, Message, answering, between, unchanged

Break = Callable[[Shop], None]
NOTHING = serialization.NoEncryption()
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def own_key(shop: Shop) -> rsa.RSAPrivateKey:
    return keys.load_private_key((shop.folder / "apiclient_key.pem").read_bytes(), "key")


def key_file(content: Callable[[Shop], bytes]) -> Break:
    return lambda shop: _write(shop.folder / "apiclient_key.pem", content(shop))


def of_other(name: str) -> Callable[[Shop], bytes]:
    return lambda shop: (shop.other / name).read_bytes()


def setting(**changes: str | None) -> Break:
    return lambda shop: shop.set(**changes)


def with_others(*names: str) -> Break:
    """Settings of the other merchant."""
    return lambda shop: shop.set(**{name: shop.value(name, shop.other / "quanma.toml") for name in names})


def bare(break_it: Break) -> Break:
    """Without the merchant's certificate, by which more could be told."""

    def broken(shop: Shop) -> None:
        break_it(shop)
        shop.without_certificate()

    return broken


def encrypted(shop: Shop) -> bytes:
    return own_key(shop).private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"1900000001"))


def p12(shop: Shop) -> bytes:
    certificate = x509.load_pem_x509_certificate((shop.folder / "apiclient_cert.pem").read_bytes())
    return pkcs12.serialize_key_and_certificates(
        b"x", own_key(shop), certificate, None, serialization.BestAvailableEncryption(b"1900000001")
    )


def elliptic(shop: Shop) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, NOTHING)


def short(shop: Shop) -> bytes:
    return rsa.generate_private_key(65537, 1024).private_bytes(PEM, PKCS8, NOTHING)


def half(shop: Shop) -> bytes:
    return (shop.folder / "apiclient_key.pem").read_bytes()[:800]


def certificate(key: rsa.RSAPrivateKey, serial: int, days: tuple[int, int], name: str = "1900000001") -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tenpay.com")]))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .sign(key, SHA256())
        .public_bytes(PEM)
    )


def merchants_certificate(*days: int) -> Break:
    def broken(shop: Shop) -> None:
        made = certificate(own_key(shop), int(shop.value("serial_no"), 16), (days[0], days[1]))
        (shop.folder / "apiclient_cert.pem").write_bytes(made)

    return broken


def platforms_certificate(*days: int) -> Break:
    """One that is not valid now, and no other key."""

    def broken(shop: Shop) -> None:
        made = certificate(rsa.generate_private_key(65537, 2048), 0x5157F09E, (days[0], days[1]))
        (shop.folder / "platform_cert.pem").write_bytes(made)
        shop.platform_keys(**{"5157F09E": "platform_cert.pem"})

    return broken


def key_names(public: str | None = None, certified: str | None = None, files: tuple[str, ...] = ()) -> Break:
    """The platform's keys under other names, or the names for other files."""

    def broken(shop: Shop) -> None:
        first, second = shop.names
        names = (public or first, certified or second)
        shop.platform_keys(**dict(zip(names, files or ("pub_key.pem", "platform_cert.pem"), strict=True)))

    return broken


def foreign_public_key(shop: Shop) -> None:
    (shop.folder / "pub_key.pem").write_bytes(keys.public_pem(rsa.generate_private_key(65537, 2048)))


def only_certificates_with_a_public_key(shop: Shop) -> None:
    """No apiv3_key, and a certificate that the platform does not have."""
    key = rsa.generate_private_key(65537, 2048)
    (shop.folder / "platform_cert.pem").write_bytes(certificate(key, 0x5157F09E, (-1, 300)))
    shop.platform_keys(**{"5157F09E": "platform_cert.pem"})
    shop.set(apiv3_key=None)


def mode(name: str, bits: int) -> Break:
    return lambda shop: (shop.folder / name).chmod(bits)


def text(content: bytes) -> Break:
    return lambda shop: _write(shop.file, content)


def replaced(old: str, new: str) -> Break:
    return lambda shop: _write(shop.file, re.sub(old, new, shop.file.read_text("utf-8"), count=1).encode())


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def nothing_to_verify_with(shop: Shop) -> None:
    shop.platform_keys()
    shop.set(apiv3_key=None)


BOM, ZERO_WIDTH = "\ufeff", "\u200b"
K32 = "0123456789abcdef0123456789abcdef"

BROKEN: list[tuple[str, Break, str, str]] = [
    ("no TOML", text(b"[merchant\n"), "settings.file", "quanma init --live"),
    ("another file", text(b"port = 1\n"), "settings.file", "quanma init --live"),
    ("UTF-16", text("[merchant]\n".encode("utf-16")), "settings.file", "quanma init --live"),
    ("no serial_no", setting(serial_no=None), "settings.names", "openssl x509 -noout -serial"),
    ("no mchid", setting(mchid=None), "settings.names", "账户中心 → 商户信息"),
    ("no private_key", setting(private_key=None), "settings.names", "apiclient_key.pem"),
    ("a setting's name with a hyphen", replaced("apiv3_key", "apiv3-key"), "settings.names", "write apiv3_key = "),
    (
        "a number for mchid",
        replaced('mchid = "(.*)"', r"mchid = \1"),
        "settings.names",
        "put mchid in quanma.toml in quotes",
    ),
    ("a wrong number", setting(attempts_max="0"), "settings.names", "correct attempts_max in quanma.toml"),
    ("settings that others read", mode("quanma.toml", 0o644), "settings.modes", "chmod 600 "),
    ("a key that others read", mode("apiclient_key.pem", 0o640), "settings.modes", "chmod 600 "),
    ("a blank in mchid", setting(mchid="1900000001 "), "settings.mchid", "账户中心 → 商户信息"),
    ("letters in mchid", setting(mchid="wx233544546545989"), "settings.mchid", "账户中心 → 商户信息"),
    ("base_url without scheme", setting(base_url="127.0.0.1:8460"), "settings.addresses", "correct base_url in quanma"),
    (
        "base_url with a path",
        setting(base_url="http://127.0.0.1/v3"),
        "settings.addresses",
        "correct base_url in quanma",
    ),
    ("a proxy without scheme", setting(proxy="127.0.0.1:3128"), "settings.addresses", "correct proxy in quanma.toml"),
    ("no key file", setting(private_key="absent.pem"), "keys.private_key", "商户API证书: apiclient_key.pem"),
    ("a folder as key", setting(private_key="."), "keys.private_key", "商户API证书: apiclient_key.pem"),
    ("the certificate as key", setting(private_key="apiclient_cert.pem"), "keys.private_key", "apiclient_key.pem"),
    ("the platform's key as key", setting(private_key="pub_key.pem"), "keys.private_key", "apiclient_key.pem"),
    ("an encrypted key", key_file(encrypted), "keys.private_key", "商户API证书: apiclient_key.pem"),
    ("a .p12 as key", key_file(p12), "keys.private_key", "商户API证书: apiclient_key.pem"),
    ("a key that is not RSA", key_file(elliptic), "keys.private_key", "商户API证书: apiclient_key.pem"),
    ("half a key", key_file(half), "keys.private_key", "商户API证书: apiclient_key.pem"),
    ("an empty key", key_file(lambda shop: b"\n"), "keys.private_key", "商户API证书: apiclient_key.pem"),
    ("a short key", key_file(short), "keys.private_key", "申请新证书"),
    ("another's key", key_file(of_other("apiclient_key.pem")), "keys.pair", "made with this certificate"),
    ("another's key, no certificate", bare(key_file(of_other("apiclient_key.pem"))), "sign.request", "管理证书"),
    ("colons in serial_no", setting(serial_no="57:7D:E2"), "keys.serial_no", "openssl x509 -noout -serial"),
    ("a decimal serial_no", setting(serial_no="4" * 48), "keys.serial_no", "openssl x509 -noout -serial"),
    ("the platform's serial", lambda shop: shop.set(serial_no=shop.names[1]), "keys.serial_no", "openssl x509 -noout"),
    ("another's serial", with_others("serial_no"), "keys.serial", 'serial_no = "'),
    ("a serial of nobody", bare(setting(serial_no="577DE2")), "sign.request", "管理证书"),
    ("another's mchid", setting(mchid=OTHER_MCHID), "keys.owner", 'mchid = "1900000001"'),
    ("another's mchid, no certificate", bare(setting(mchid=OTHER_MCHID)), "sign.request", "管理证书"),
    ("an expired certificate", merchants_certificate(-900, -1), "keys.expiry", "更换证书"),
    ("a certificate of tomorrow", merchants_certificate(1, 900), "keys.expiry", "timedatectl"),
    ("an APIv3 key with a blank", setting(apiv3_key=K32 + " "), "apiv3.form", "APIv3密钥"),
    ("an APIv3 key with a BOM", setting(apiv3_key=BOM + K32), "apiv3.form", "APIv3密钥"),
    ("an APIv3 key with what is not seen", setting(apiv3_key=K32 + ZERO_WIDTH), "apiv3.form", "APIv3密钥"),
    ("a short APIv3 key", setting(apiv3_key=K32[:31]), "apiv3.form", "APIv3密钥"),
    ("another's APIv3 key", with_others("apiv3_key"), "apiv3.opens", "set it anew"),
    (
        "APIv3 and V2 key swapped",
        lambda shop: shop.set(apiv3_key=shop.value("apiv2_key"), apiv2_key=shop.value("apiv3_key")),
        "apiv3.opens",
        "swap apiv3_key in quanma.toml and apiv2_key in quanma.toml",
    ),
    ("a V2 key with a line end", setting(apiv2_key=K32 + "\\n"), "apiv2.form", "APIv2密钥"),
    ("a certificate as public key", key_names(files=("platform_cert.pem",) * 2), "platform-keys.form", "微信支付公钥"),
    ("a certificate under another serial", key_names(certified="577DE2"), "platform-keys.form", '" = …'),
    ("colons in a key's name", key_names(certified="57:7D:E2"), "platform-keys.form", "平台证书"),
    (
        "one's own certificate",
        lambda shop: shop.platform_keys(**{shop.value("serial_no"): "apiclient_cert.pem"}),
        "platform-keys.form",
        "平台证书",
    ),
    ("no file of a public key", key_names(files=("absent.pem", "platform_cert.pem")), "platform-keys.form", "公钥"),
    ("an expired platform certificate", platforms_certificate(-900, -1), "platform-keys.dates", "微信支付公钥"),
    (
        "nothing to verify with",
        nothing_to_verify_with,
        "platform-keys.form",
        "[merchant.platform_keys]",
    ),
    ("another platform's public key", foreign_public_key, "sign.answer", "download it again"),
    ("another name for a public key", key_names(public="PUB_KEY_ID_0100"), "sign.answer", '" = "pub_key.pem"'),
    ("certificates at a public key", only_certificates_with_a_public_key, "sign.answer", '" = "pub_key.pem"'),
    ("nobody listens", setting(base_url="http://127.0.0.1:1"), "network.connect", "firewall"),
    ("a name that is none", setting(base_url="http://nothing.invalid"), "network.name", "getent hosts nothing.invalid"),
    ("a proxy that is away", setting(proxy="http://127.0.0.1:1"), "network.connect", "correct base_url or proxy"),
]


def test_a_whole_shop_passes(shop: Shop) -> None:
    found = look(shop.file)
    assert [*found.of(Status.FAIL), *found.of(Status.WARN)] == []
    assert [*found.of(Status.SKIP)] == ["network.tls"]


@pytest.mark.parametrize(("break_it", "check", "mend"), some_quick(BROKEN))
def test_the_right_check_fails_and_no_other(shop: Shop, break_it: Break, check: str, mend: str) -> None:
    before = secrets_of(shop)
    break_it(shop)
    found = look(shop.file)
    failed = found.of(Status.FAIL)
    assert [*failed] == [check], found.text
    assert mend in failed[check].fix
    assert [secret for secret in before | secrets_of(shop) if secret in found.text] == []


def secrets_of(shop: Shop) -> set[str]:
    """What no text may hold."""
    found = {
        shop.value(name)
        for name in ("apiv3_key", "apiv2_key")
        if f"\n{name} = " in shop.file.read_text("utf-8", "replace")
    }
    for file in (shop.folder / "apiclient_key.pem", shop.other / "apiclient_key.pem"):
        found |= {line for line in file.read_text("utf-8", "replace").splitlines() if len(line) == 64}
    return found


@every_row("ahead_seconds", [420, -420])
def test_a_clock_that_is_off_is_what_fails(shop: Shop, ahead_seconds: float) -> None:
    failed = look(shop.file, ahead_seconds=ahead_seconds).of(Status.FAIL)
    assert [*failed] == ["clock.offset"]
    assert failed["clock.offset"].detail.startswith("this machine's clock is 4")
    assert "ahead of" in failed["clock.offset"].detail or ahead_seconds < 0
    assert failed["clock.offset"].fix == "sudo timedatectl set-ntp true"


def test_a_clock_that_is_a_minute_off_is_warned_of(shop: Shop) -> None:
    found = look(shop.file, ahead_seconds=60)
    assert ([*found.of(Status.FAIL)], [*found.of(Status.WARN)]) == ([], ["clock.offset"])


@every_row("name", ["QUANMA_BASE_URI", "QUANMA_SERIALNO"])
def test_a_variable_that_is_nearly_a_setting_fails(shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    failed = look(shop.file).of(Status.FAIL)
    assert [(one, failed[one].fix) for one in failed] == [("settings.environment", f"unset {name}")]


def test_a_variable_that_means_nothing_is_warned_of(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_NOTHING_AT_ALL", "x")
    warned = look(shop.file).of(Status.WARN)
    assert [(one, warned[one].fix) for one in warned] == [("settings.environment", "unset QUANMA_NOTHING_AT_ALL")]


def test_what_the_environment_sets_is_corrected_there(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_BASE_URL", "127.0.0.1")
    failed = look(shop.file).of(Status.FAIL)
    assert [(one, failed[one].fix) for one in failed] == [("settings.addresses", "correct QUANMA_BASE_URL")]


def test_without_any_settings_there_is_one_failure() -> None:
    failed = look(None).of(Status.FAIL)
    assert [*failed] == ["settings.file"]
    assert failed["settings.file"].fix == "quanma init --live shop"


def test_a_certificate_that_ends_soon_is_warned_of(shop: Shop) -> None:
    merchants_certificate(-900, 10)(shop)
    warned = look(shop.file, "keys").of(Status.WARN)
    assert [(one, warned[one].fix) for one in warned] == [
        ("keys.expiry", "商户平台 → 账户中心 → API安全 → 商户API证书: 更换证书")
    ]


def test_a_certificate_that_is_not_in_use_is_no_fault(shop: Shop) -> None:
    (shop.folder / "apiclient_cert.pem").write_bytes((shop.other / "apiclient_cert.pem").read_bytes())
    found = look(shop.file)
    assert ([*found.of(Status.FAIL)], found.of(Status.SKIP)["keys.pair"].detail[-38:]) == (
        [],
        "is another certificate than the one in use"[-38:],
    )


def test_without_platform_keys_what_is_fetched_is_verified_with(shop: Shop) -> None:
    shop.platform_keys()
    found = look(shop.file)
    assert [*found.of(Status.FAIL)] == []
    assert found.of(Status.PASS)["sign.answer"].detail == f"signatures hold: {shop.names[1]}"


def test_one_group_tells_of_itself_and_of_what_keeps_it_from_running(shop: Shop) -> None:
    assert [one.id for one in look(shop.file, "clock").results] == ["clock.offset"]
    shop.set(private_key="absent.pem")
    assert [(one.id, one.status) for one in look(shop.file, "clock").results] == [
        ("keys.private_key", "fail"),
        ("clock.offset", "skip"),
    ]


# What stands between.


def reserialised(message: Message) -> Message:
    return message._replace(body=json.dumps(json.loads(message.body)).encode()) if message.body else message


def compacted(message: Message) -> Message:
    if not message.body:
        return message
    return message._replace(
        body=json.dumps(json.loads(message.body), separators=(",", ":"), ensure_ascii=False).encode()
    )


def without_authorization(message: Message) -> Message:
    return message._replace(headers={name: it for name, it in message.headers.items() if name != "Authorization"})


def plain_path(message: Message) -> Message:
    return message._replace(target=unquote(message.target).replace(" ", "%20"))


def respaced(answer: Answer) -> Answer:
    return answer._replace(body=json.dumps(json.loads(answer.body), indent=1).encode())


def page(status: int, **headers: str) -> Callable[[Answer], Answer]:
    return lambda answer: Answer(status, {"Content-Type": "text/html", **headers}, b"<html><title>Login</title></html>")


WAYS = [
    ("bodies are read and written again", reserialised, None, "sign.body", "docs/en/proxies.md"),
    ("bodies are made compact", compacted, None, "sign.body", "docs/en/proxies.md"),
    (
        "bodies lose their last line end",
        lambda one: one._replace(body=one.body.strip()),
        None,
        "sign.body",
        "proxies.md",
    ),
    ("paths are decoded", plain_path, None, "sign.path", "docs/en/proxies.md"),
    ("a query is added", lambda one: one._replace(target=one.target + "?a=1"), None, "sign.request", "proxies.md"),
    ("Authorization is taken away", without_authorization, None, "sign.request", "leaves Authorization alone"),
    ("answers are written again", unchanged, respaced, "sign.answer", "something in between rewrites answers"),
    ("a portal redirects", unchanged, page(302, Location="https://portal.example/x"), "network.platform", "proxies.md"),
    ("a page answers", unchanged, page(200), "network.platform", "docs/en/proxies.md"),
    ("a firewall refuses", unchanged, page(403), "network.platform", "docs/en/proxies.md"),
    ("a gateway is out of order", unchanged, page(502), "network.platform", "docs/en/proxies.md"),
]


@pytest.mark.parametrize(
    ("change", "change_answer", "check", "mend"), [row[1:] for row in WAYS], ids=[row[0] for row in WAYS]
)
def test_what_stands_between_is_found(
    shop: Shop,
    change: Callable[[Message], Message],
    change_answer: Callable[[Answer], Answer] | None,
    check: str,
    mend: str,
) -> None:
    with between(shop.url, change, change_answer or (lambda answer: answer)) as url:
        shop.set(base_url=url)
        failed = look(shop.file).of(Status.FAIL)
    assert [*failed] == [check]
    assert mend in failed[check].fix


@contextmanager
def intercepted(folder: Path) -> Generator[str]:
    """An address whose certificate this machine does not believe."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(PEM, PKCS8, NOTHING) + certificate(key, 7, (-1, 30), "api.mch.weixin.qq.com")
    (folder / "both.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    with answering(lambda message, verb: Answer(200, {}, b"{}"), context) as url:
        yield url


def test_TLS_that_something_opens_on_the_way_fails_and_its_issuer_is_shown(shop: Shop) -> None:
    with intercepted(shop.folder) as url:
        shop.set(base_url=url)
        failed = look(shop.file).of(Status.FAIL)
    assert [*failed] == ["network.tls"]
    assert "issued by Tenpay.com" in failed["network.tls"].detail
    assert "ca-certificates" in failed["network.tls"].fix


@pytest.mark.slow
def test_a_platform_that_is_silent_does_not_hold_the_doctor_up(shop: Shop, served: Served) -> None:
    with answering(lambda message, verb: Answer(200, {}, b"{}"), delay_seconds=8) as url:
        shop.set(base_url=url)
        found = look(shop.file)
    assert [*found.of(Status.FAIL)] == ["network.platform"]
    assert sum(one.ms for one in found.results) < 10_000
