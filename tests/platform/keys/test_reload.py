"""The keys' files while the platform serves: each change counts within seconds, and no damage ends the looks (A5)."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from quanma.errors import Misconfigured, SignError
from quanma.platform import config
from quanma.platform.keys.keystore import KeyStore
from quanma.platform.keys.reload import AGAIN_SECONDS, LOOK_SECONDS, WARN_SECONDS, Reload
from quanma.wire.keys import Certified, make_certified
from tests.support.every import every_row
from tests.support.platform import MCHID, OTHER_MCHID, InProcess, Served, merchant_config

NOW = datetime.datetime.now(datetime.UTC)
YEAR = datetime.timedelta(days=365)
CERTIFICATE = f"merchants/{MCHID}/apiclient_cert.pem"


class Clock:
    def __init__(self) -> None:
        self.now = NOW.timestamp() + 100  # The world's files were not just written.

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(platform: InProcess, clock: Clock) -> Reload:
    return Reload(platform.world / "platform.toml", platform.keystore, clock=clock)


@pytest.fixture(scope="module")
def second() -> Certified:
    return make_certified(f"merchant {MCHID}", NOW)


def certificate(
    *, bits: int = 2048, begins: datetime.datetime = NOW - YEAR, ends: datetime.datetime = NOW + YEAR, serial: int = 77
) -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "of a test")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = made.serial_number(serial).not_valid_before(begins).not_valid_after(ends)
    return dated.sign(key, SHA256()).public_bytes(Encoding.PEM)


def put_in_place(path: Path, content: bytes, how: str) -> None:
    """As an operator's copy, an editor, and a copy that keeps the times do it."""
    before = path.stat()
    if how == "renamed":
        path.with_name("new.pem").write_bytes(content)
        path.with_name("new.pem").rename(path)
    else:
        path.write_bytes(content)
    if how == "of the same time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def load(world: Path) -> KeyStore:
    return KeyStore.load(config.load(world / "platform.toml"), world)


def echo(platform: InProcess, key: Certified | None = None) -> str:
    own = {} if key is None else {"serial_no": key.serial_no, "private_key": key.private_key.decode()}
    return platform.wechatpay(**own).v3.security.echo.post(echo_message="hi").echo_message


@every_row("how", ["written", "renamed", "of the same time"])
def test_a_certificate_replaced_in_its_place_counts_at_the_next_look(
    platform: InProcess, watch: Reload, second: Certified, how: str
) -> None:
    first = (platform.world / CERTIFICATE).read_bytes()
    put_in_place(platform.world / CERTIFICATE, second.certificate, how)
    watch.look()
    assert echo(platform, second) == "hi"
    with pytest.raises(SignError):
        echo(platform)
    put_in_place(platform.world / CERTIFICATE, first, how)
    watch.look()
    assert echo(platform) == "hi"


def test_looks_are_so_many_that_a_revoked_key_is_refused_within_a_minute() -> None:
    assert LOOK_SECONDS + AGAIN_SECONDS <= 60


def test_a_file_that_comes_later_is_waited_for(platform: InProcess, watch: Reload, second: Certified) -> None:
    settings = platform.world / "platform.toml"
    settings.write_text(settings.read_text().replace(f'["{CERTIFICATE}"]', '["later.pem"]'))
    watch.look()
    assert watch.as_of.newer
    (platform.world / "later.pem").write_bytes(second.certificate)
    watch.look()
    assert not watch.as_of.newer
    assert echo(platform, second) == "hi"


class Panic(BaseException):
    """As a library in another language raises it."""


@every_row("raised", [RecursionError(), ValueError("embedded null byte"), MemoryError(), Panic()])
def test_nothing_that_a_file_makes_a_library_raise_ends_the_looks(
    platform: InProcess,
    watch: Reload,
    second: Certified,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    raised: BaseException,
) -> None:
    def damaged(*_: object) -> None:
        raise raised

    with monkeypatch.context() as patched:
        patched.setattr(KeyStore, "load", damaged)
        (platform.world / "platform.toml").touch()
        watch.look()
    assert "can't be used, so the keys stay as they were" in caplog.text
    assert echo(platform) == "hi"
    first = (platform.world / CERTIFICATE).read_bytes()
    (platform.world / CERTIFICATE).write_bytes(second.certificate)
    watch.look()
    with pytest.raises(SignError):
        echo(platform)
    (platform.world / CERTIFICATE).write_bytes(first)
    watch.look()


@every_row("name", ["platform.toml", CERTIFICATE, "platform/certificate_private.pem"])
@every_row("damage", ["nothing", "a folder", "a pipe", "zeros", "half of it"])
def test_a_damaged_file_is_told_and_the_keys_stay(
    platform: InProcess, watch: Reload, caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:
    path = platform.world / name
    kept = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage == "a pipe":
        os.mkfifo(path, 0o600)
    elif damage != "nothing":
        path.touch(mode=0o600)
        # Of platform.toml, the half breaks off inside a line.
        path.write_bytes(bytes(2000) if damage == "zeros" else kept[: len(kept) // 2 - 3])
    watch.look()
    assert "so the keys stay as they were" in caplog.text
    assert echo(platform) == "hi"
    assert watch.as_of.newer
    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(kept)
    watch.look()
    assert not watch.as_of.newer


def test_what_failed_for_a_moment_is_tried_again_unchanged(
    platform: InProcess,
    watch: Reload,
    clock: Clock,
    second: Certified,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def unreadable(*_: object) -> None:
        raise OSError(24, "Too many open files")

    (platform.world / CERTIFICATE).write_bytes(second.certificate)
    with monkeypatch.context() as patched:
        patched.setattr(KeyStore, "load", unreadable)
        watch.look()
        clock.now += AGAIN_SECONDS
        watch.look()
    assert caplog.text.count("so the keys stay as they were") == 1  # One line, and not one a look.
    clock.now += AGAIN_SECONDS
    watch.look()
    with pytest.raises(SignError):
        echo(platform)


def test_a_file_that_was_just_written_is_read_once_more(platform: InProcess, second: Certified, clock: Clock) -> None:
    """Written twice within one tick of the file system's clock, it would look the same."""
    clock.now = (platform.world / CERTIFICATE).stat().st_ctime + 0.5
    watch = Reload(platform.world / "platform.toml", platform.keystore, clock=clock)
    assert not watch._settled
    clock.now += 5
    watch.look()
    assert watch._settled


def test_since_when_the_settings_are_those_of_the_files_is_shown(
    platform: InProcess, watch: Reload, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown() -> tuple[str, str]:
        platform.app.note(under_way=0, connections=0)
        figures, ready = (platform.ask("GET", page, []).body.decode() for page in ("/metrics", "/readyz"))
        name = "quanma_settings_as_of_timestamp_seconds "
        return next(line for line in figures.splitlines() if line.startswith(name)).removeprefix(name), ready

    monkeypatch.setattr(platform.app, "_settings_as_of", lambda: watch.as_of)
    clock.now = 1_764_480_000.0
    watch.look()
    assert shown() == ("1.76448e+09", "ready\nsettings as of 2025-11-30T13:20:00+08:00\n")
    (platform.world / "platform.toml").write_text("[[merchants")
    clock.now += 600
    watch.look()
    figure, ready = shown()
    assert figure == "1.76448e+09"
    assert ready == (
        "ready\nsettings as of 2025-11-30T13:20:00+08:00; there are newer ones, which can't be used: the log says why\n"
    )


@pytest.mark.parametrize(
    ("lay", "told"),
    [
        (
            lambda world: (world / CERTIFICATE).write_bytes(certificate(bits=1024)),
            f"certificates of merchant {MCHID}: the key of {CERTIFICATE} has 1024 bits, and fewer than 2048",
        ),
        (
            lambda world: shutil.copy(world / CERTIFICATE, world / f"merchants/{OTHER_MCHID}/apiclient_cert.pem"),
            f"merchants/{OTHER_MCHID}/apiclient_cert.pem has the same key as a certificate of merchant {MCHID}",
        ),
        (
            lambda world: shutil.copy(world / "platform/platform_cert.pem", world / CERTIFICATE),
            f"{CERTIFICATE} has the same key as a certificate of the platform",
        ),
    ],
    ids=["weak", "of two merchants", "the platform's own"],
)
def test_a_certificate_that_proves_nothing_is_refused_by_name(
    world: Path, lay: Callable[[Path], object], told: str
) -> None:
    lay(world)
    with pytest.raises(Misconfigured, match=told.replace("(", r"\(")):
        load(world)


def test_two_certificates_of_one_serial_and_different_keys_are_refused(world: Path) -> None:
    for name in ("one.pem", "two.pem"):
        (world / name).write_bytes(certificate(serial=7))
    settings = world / "platform.toml"
    settings.write_text(settings.read_text().replace(f'["{CERTIFICATE}"]', '["one.pem", "two.pem"]'))
    with pytest.raises(Misconfigured, match=r"two of them have the serial 07 and different keys: take out two\.pem"):
        load(world)


def test_a_renewed_certificate_of_the_same_key_is_taken(world: Path) -> None:
    shutil.copy(world / CERTIFICATE, world / "again.pem")
    settings = world / "platform.toml"
    settings.write_text(settings.read_text().replace(f'["{CERTIFICATE}"]', f'["{CERTIFICATE}", "again.pem"]'))
    assert load(world).merchant(MCHID)


@pytest.mark.parametrize(
    ("dates", "told"),
    [
        ({"ends": NOW - datetime.timedelta(days=1)}, r"expired on \d{4}-\d\d-\d\d: have it renewed"),
        ({"ends": NOW + datetime.timedelta(days=9, hours=1)}, r"expires on \d{4}-\d\d-\d\d, in 9 days"),
        ({"begins": NOW + datetime.timedelta(days=1)}, r"is valid from \d{4}-\d\d-\d\d on only"),
    ],
)
def test_a_certificate_out_of_its_time_is_warned_of_by_name(
    world: Path, dates: dict[str, datetime.datetime], told: str
) -> None:
    (world / CERTIFICATE).write_bytes(certificate(**dates))  # type: ignore[arg-type]
    (warning,) = load(world).warnings(NOW.timestamp())
    assert re.search(f"the certificate of merchant {MCHID} 4D {told}", warning)


def test_the_warning_comes_again_each_day(
    platform: InProcess, watch: Reload, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (platform.world / CERTIFICATE).write_bytes(certificate(ends=NOW + datetime.timedelta(days=9)))
    with caplog.at_level(logging.WARNING):
        for seconds in (0.0, 60.0, WARN_SECONDS):
            clock.now += seconds
            watch.look()
    assert caplog.text.count(f"the certificate of merchant {MCHID} 4D expires") == 2


def test_the_merchants_settings_are_not_part_of_it(platform: InProcess, watch: Reload) -> None:
    before = watch._marks()
    merchant_config(platform.world).touch()
    assert watch._marks() == before


@pytest.mark.slow
def test_served_a_revoked_key_is_refused_and_it_is_shown_since_when(serving: Served, second: Certified) -> None:
    old = serving.wechatpay()
    assert old.v3.security.echo.post(echo_message="hi").echo_message == "hi"
    (serving.world / CERTIFICATE).write_bytes(second.certificate)
    revoked_at, until = time.time(), time.monotonic() + 60
    with contextlib.suppress(SignError):
        while time.monotonic() < until:
            old.v3.security.echo.post(echo_message="hi")
            time.sleep(0.5)
    assert time.monotonic() < until
    time.sleep(0.5)  # Figures are a quarter of a second old at most.
    figures, ready = (urlopen(f"{serving.url}/{page}").read().decode() for page in ("metrics", "readyz"))
    shown = re.search(r"^quanma_settings_as_of_timestamp_seconds (\S+)$", figures, re.MULTILINE)
    assert shown is not None
    assert float(shown[1]) >= revoked_at
    assert re.fullmatch(r"ready\nsettings as of \S+\n", ready)
