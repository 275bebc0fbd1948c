"""`quanma init`: a whole world, private, working, and never overwritten."""

from __future__ import annotations

import datetime
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from quanma.client import config
from quanma.errors import Misconfigured
from quanma.platform import config as platform_config
from quanma.platform.keys.environment import make_environment
from quanma.platform.keys.keystore import KeyStore
from tests.platform.caller import Caller
from tests.support.every import every_row
from tests.support.platform import MCHID, OTHER_MCHID, merchant_config, mode_of

FILES = {
    "platform.toml",
    "platform/public_key_private.pem",
    "platform/certificate_private.pem",
    "platform/pub_key.pem",
    "platform/platform_cert.pem",
    *(
        f"merchants/{mchid}/{name}"
        for mchid in (MCHID, OTHER_MCHID)
        for name in ("quanma.toml", "apiclient_key.pem", "apiclient_cert.pem", "pub_key.pem", "platform_cert.pem")
    ),
}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_world_has_its_files_and_each_is_private(made_world: Path) -> None:
    assert files(made_world) == FILES
    assert {mode_of(made_world / name) for name in FILES} == {0o600}


@pytest.mark.slow
def test_the_keys_of_a_world_fit_together(made_world: Path) -> None:
    keystore = KeyStore.load(platform_config.load(made_world / "platform.toml"), made_world)
    for mchid in (MCHID, OTHER_MCHID):
        merchant = config.load(merchant_config(made_world, mchid))
        assert merchant.mchid == mchid
        assert merchant.base_url == "http://127.0.0.1:8460"
        assert keystore.merchant(mchid).apiv3_key == merchant.apiv3_key
        caller = Caller(made_world, mchid)
        headers = [value for _, value in caller.headers("GET", "/v3/certificates", now=1_790_000_000)]
        assert keystore.verify("GET", "/v3/certificates", headers, b"", 1_790_000_000).mchid == mchid
        for name in caller.ring.names:
            caller.ring.verify(keystore.sign(name, "1790000000", b"{}"), b"{}", 1_790_000_000)


def test_no_two_secrets_of_a_world_are_alike(made_world: Path) -> None:
    merchants = [config.load(merchant_config(made_world, mchid)) for mchid in (MCHID, OTHER_MCHID)]
    keys = [key for merchant in merchants for key in (merchant.apiv3_key, merchant.apiv2_key)]
    assert len(set(keys)) == 4
    assert all(key is not None and len(key) == 32 and key.isalnum() and key.isascii() for key in keys)
    private = [path.read_bytes() for path in made_world.rglob("*.pem") if b"PRIVATE" in path.read_bytes()]
    assert len(set(private)) == len(private) == 4


@every_row("taken", ["platform.toml", "platform/x", "merchants/x"])
def test_a_world_is_never_overwritten(tmp_path: Path, taken: str) -> None:
    there = tmp_path / taken
    there.parent.mkdir(exist_ok=True)
    there.write_text("precious")
    with pytest.raises(Misconfigured, match="never overwritten"):
        make(tmp_path)
    assert files(tmp_path) == {taken}
    assert there.read_text() == "precious"


@pytest.mark.slow
def test_a_folder_with_other_files_is_taken_and_they_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    make(tmp_path)
    assert (tmp_path / "platform.toml").exists()
    assert (tmp_path / "notes.txt").read_text() == "precious"


@every_row(
    ("mchids", "port", "names"),
    [
        (("190000000x",), 8460, "190000000x"),
        (("1234567",), 8460, "8 to 15 digits"),
        (("1" * 16,), 8460, "8 to 15 digits"),
        (("../../etc",), 8460, "8 to 15 digits"),
        (("١٩٠٠٠٠٠٠٠١",), 8460, "8 to 15 digits"),
        ((MCHID, MCHID), 8460, "twice"),
        ((MCHID,), 65536, "65536"),
        ((MCHID,), -1, "-1"),
    ],
)
def test_a_wrong_argument_makes_no_world(tmp_path: Path, mchids: tuple[str, ...], port: int, names: str) -> None:
    with pytest.raises(Misconfigured, match=names):
        make(tmp_path / "world", mchids=mchids, port=port)
    assert not (tmp_path / "world").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Misconfigured, match="can't be written"):
        make(tmp_path / "world")


@pytest.mark.slow
def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "world").write_text("")
    with pytest.raises(Misconfigured, match="can't be written"):
        make(tmp_path / "world")


@pytest.mark.slow
def test_init_makes_a_world_that_is_private_whatever_the_umask_and_refuses_the_second_time(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "quanma", "init", str(tmp_path / "world"), "--port", "9000"]
    first = subprocess.run(command, capture_output=True, text=True, umask=0, check=False)
    assert (first.returncode, first.stdout) == (0, "")
    assert f"quanma serve --config {tmp_path}/world/platform.toml" in first.stderr
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "world").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert config.load(merchant_config(tmp_path / "world")).base_url == "http://127.0.0.1:9000"
    before = {path: path.read_bytes() for path in (tmp_path / "world").rglob("*") if path.is_file()}
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert second.stderr.startswith("quanma: ")
    assert "never overwritten" in second.stderr
    assert {path: path.read_bytes() for path in before} == before


def make(folder: Path, *, mchids: tuple[str, ...] = (MCHID,), port: int = 8460) -> None:
    make_environment(folder, port=port, mchids=mchids, now=datetime.datetime.now(datetime.UTC))


@pytest.mark.parametrize(
    "setting", ["allow_private_callbacks = true", "requests_per_second = 20", 'log_format = "json"']
)
def test_a_setting_below_the_merchants_is_told_to_be_moved(world: Path, setting: str) -> None:
    file = world / "platform.toml"
    file.write_text(f"{file.read_text()}\n{setting}\n")
    name = setting.partition(" ")[0]
    with pytest.raises(
        Misconfigured, match=rf"{name} is a setting of the platform, and stands below a \[\[merchants\]\]"
    ):
        platform_config.load(file)


def test_a_setting_that_is_none_is_not_told_to_be_moved(world: Path) -> None:
    file = world / "platform.toml"
    file.write_text(f"{file.read_text()}\nallow_public_callbacks = true\n")
    with pytest.raises(Misconfigured, match=r"unknown field `allow_public_callbacks` - at `\$\.merchants\[1\]`$"):
        platform_config.load(file)
