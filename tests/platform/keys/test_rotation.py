"""Keys change while the platform runs: no call fails, and a revoked one is refused within seconds (A5)."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path

import pytest

from quanma.client import config as client_config
from quanma.client.exchange import Patience
from quanma.errors import AnswerUntrusted, SignError
from quanma.platform.keys import reload, rotation
from quanma.wire.keys import certificate_facts, make_certified
from tests.support.platform import MCHID, InProcess, merchant_config, mode_of

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def watched(platform: InProcess) -> reload.Reload:
    return reload.Reload(platform.world / "platform.toml", platform.keystore)


def serial_of_answer(platform: InProcess, asked: str | None = None) -> str:
    """The key that signs an answer: to whoever asks for one, or for none."""
    headers = [("Wechatpay-Serial", asked)] if asked else []
    answered = dict(platform.ask("GET", "/v3/certificates", headers).headers)
    return answered["Wechatpay-Serial"]


@pytest.mark.slow
def test_a_new_certificate_signs_for_whoever_asks_and_is_in_the_list(platform: InProcess) -> None:
    watch = watched(platform)
    rotated = rotation.rotate_certificate(platform.world / "platform.toml", NOW)
    watch.look()
    assert serial_of_answer(platform, rotated.name) == rotated.name
    listed = platform.wechatpay().v3.certificates.get().data
    assert [one.serial_no for one in listed][1:] == [rotated.name]


@pytest.mark.slow
def test_a_client_that_knows_the_old_certificate_only_learns_the_new_one_and_no_call_fails(platform: InProcess) -> None:
    settings = client_config.load(merchant_config(platform.world))
    old = next(name for name in settings.platform_keys if not name.startswith("PUB_KEY_ID_"))
    wxpay = platform.wechatpay(platform_keys={old: settings.platform_keys[old]})
    watch = watched(platform)
    new = rotation.rotate_certificate(platform.world / "platform.toml", NOW).name
    watch.look()
    # As a platform does that answers with its newest key, whatever was asked for.
    platform.keystore._signing = {new: platform.keystore._signing[new]}
    platform.keystore._default_keys = [type(platform.keystore._default_keys[0])(new, 0)]
    assert wxpay.v3.security.echo.post(echo_message="hi").echo_message == "hi"


@pytest.mark.slow
def test_a_new_public_key_waits_until_merchants_have_it(platform: InProcess) -> None:
    watch = watched(platform)
    before = serial_of_answer(platform)
    new = rotation.rotate_public_key(platform.world / "platform.toml", NOW, DAY).name
    watch.look()
    assert serial_of_answer(platform) == before
    assert serial_of_answer(platform, new) == new


@pytest.mark.slow
def test_a_new_public_key_signs_what_nobody_asked_for_from_its_time_on(platform: InProcess) -> None:
    watch = watched(platform)
    new = rotation.rotate_public_key(platform.world / "platform.toml", NOW - DAY, DAY).name
    watch.look()
    assert serial_of_answer(platform) == new


@pytest.mark.slow
def test_the_merchants_of_this_world_have_the_new_key_and_its_files_are_private(platform: InProcess) -> None:
    rotated = rotation.rotate_public_key(platform.world / "platform.toml", NOW, DAY)
    assert len(rotated.told) == 2
    settings = tomllib.loads(merchant_config(platform.world).read_text("utf-8"))["merchant"]
    assert settings["platform_keys"][rotated.name] == rotated.verifying.name
    made = [path for path in platform.world.rglob("*.pem") if rotated.name[-12:] in path.name]
    assert len(made) == 4
    assert {mode_of(path) for path in [*made, platform.world / "platform.toml"]} == {0o600}


@pytest.mark.slow
def test_a_rotated_world_is_served_from_its_file(platform: InProcess, world: Path) -> None:
    new = rotation.rotate_certificate(world / "platform.toml", NOW).name
    again = InProcess(world, "sqlite:///other.db")
    assert serial_of_answer(again, new) == new
    again.close()


@pytest.mark.slow
def test_a_merchants_second_certificate_is_believed_and_its_revoked_first_is_not(platform: InProcess) -> None:
    watch = watched(platform)
    second = make_certified(f"merchant {MCHID}", NOW)
    (platform.world / "second.pem").write_bytes(second.certificate)
    settings = platform.world / "platform.toml"
    first = f'certificates = ["merchants/{MCHID}/apiclient_cert.pem"]'
    settings.write_text(settings.read_text().replace(first, f'certificates = ["{first[17:-2]}", "second.pem"]'))
    watch.look()
    old = platform.wechatpay()
    new = platform.wechatpay(serial_no=second.serial_no, private_key=second.private_key.decode())
    assert {wxpay.v3.security.echo.post(echo_message="hi").echo_message for wxpay in (old, new)} == {"hi"}
    settings.write_text(settings.read_text().replace(f'"merchants/{MCHID}/apiclient_cert.pem", ', ""))
    watch.look()
    assert new.v3.security.echo.post(echo_message="hi").echo_message == "hi"
    with pytest.raises(SignError):
        old.v3.security.echo.post(echo_message="hi")


@pytest.mark.slow
def test_settings_that_cannot_be_used_leave_the_keys_as_they_were(platform: InProcess) -> None:
    watch = watched(platform)
    before = serial_of_answer(platform)
    (platform.world / "platform.toml").write_text("[[merchants")
    watch.look()
    assert serial_of_answer(platform) == before
    assert platform.wechatpay().v3.security.echo.post(echo_message="hi").echo_message == "hi"


@pytest.mark.slow
def test_without_the_new_key_its_answers_are_not_believed(platform: InProcess) -> None:
    watch = watched(platform)
    settings = client_config.load(merchant_config(platform.world), apiv3_key=None)
    wxpay = platform.wechatpay(platform_keys=settings.platform_keys, patience=Patience(attempts_max=1))
    new = rotation.rotate_public_key(platform.world / "platform.toml", NOW, DAY).name
    watch.look()
    platform.keystore._signing = {new: platform.keystore._signing[new]}
    platform.keystore._default_keys = [type(platform.keystore._default_keys[0])(new, 0)]
    with pytest.raises(AnswerUntrusted, match="not in platform_keys"):
        wxpay.v3.certificates.get()


@pytest.mark.slow
def test_a_certificates_file_tells_its_serial(platform: InProcess) -> None:
    rotated = rotation.rotate_certificate(platform.world / "platform.toml", NOW)
    assert certificate_facts(rotated.verifying.read_bytes(), "new").serial_no == rotated.name
