"""`quanma serve`: what stops the start, and a clean end."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quanma.api.couponcodes import CouponCodes, UploadCodes
from quanma.errors import Misconfigured, QuanmaError
from quanma.platform import server
from quanma.platform.pool import open_pool
from tests.support.every import every_row
from tests.support.platform import MCHID, Served, create_stock, served


@pytest.mark.slow
def test_sigterm_under_load_ends_cleanly_and_everything_acknowledged_is_there(serving: Served) -> None:
    with serving.wechatpay() as wxpay:
        stock = create_stock(wxpay, "c1")
    acknowledged: list[str] = []
    stopping = threading.Event()

    def upload(thread: int) -> None:
        with serving.wechatpay() as wxpay:
            number = 0
            while not stopping.is_set():
                number += 1
                code = f"T{thread}N{number}"
                request = UploadCodes(stock_id=stock, coupon_code_list=[code], upload_request_no=code)
                try:
                    wxpay.send(CouponCodes.post, request)
                except QuanmaError:
                    continue
                acknowledged.append(code)

    threads = [threading.Thread(target=upload, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 200:
        time.sleep(0.01)
    status = serving.stop()
    stopping.set()
    serving.start()
    for thread in threads:
        thread.join()
    assert status == 0
    with serving.wechatpay() as wxpay:
        total = wxpay.v3.marketing.busifavor.stocks._stock_id_.get(stock_id=stock).coupon_code_count
        assert total is not None
        listed: set[str] = set()
        while len(listed) < total.total_count:
            page = wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes.get(
                stock_id=stock, limit=1000, offset=len(listed)
            )
            listed |= {code.code for code in page.data}
    assert set(acknowledged) <= listed


def _serve(world: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "quanma", "serve", "--config", str(world / "platform.toml"), "--port", "0"]
    ended = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


@pytest.mark.slow
def test_a_second_server_on_the_same_database_ends_with_1_and_says_why(serving: Served) -> None:
    status, message = _serve(serving.world)
    assert status == 1
    assert re.fullmatch(r"quanma: .*quanma\.db is served by another process \(pid \d+\): .*\n", message)
    assert str(serving.process.pid) in message


@pytest.mark.slow
def test_a_key_that_others_can_read_ends_the_start_with_1_and_no_traceback(world: Path) -> None:
    (world / "platform" / "certificate_private.pem").chmod(0o640)
    status, message = _serve(world)
    assert status == 1
    assert re.fullmatch(r"quanma: .*certificate_private\.pem has mode 0640.*chmod 600.*\n", message)


@pytest.mark.slow
def test_hashes_that_can_be_foreseen_end_the_start_with_1(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merchant could choose texts that all fall into one place of a table."""
    for seed in ("0", "4242"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        status, message = _serve(world)
        assert status == 1
        assert re.fullmatch(r"quanma: PYTHONHASHSEED is set, .*: unset it, or set it to random\n", message)
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    with served(world):
        pass


@pytest.fixture
def taken_port() -> Iterator[int]:
    """So that a start which should be refused ends here all the same."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@every_row("name", ["platform.toml", "platform/public_key_private.pem", "platform/certificate_private.pem"])
@every_row("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_wrong_mode_stops_the_start(world: Path, taken_port: int, name: str, mode: int) -> None:
    (world / name).chmod(mode)
    with pytest.raises(Misconfigured, match=rf"{name}.*{mode:04o}.*chmod 600"):
        server.serve(world / "platform.toml", port=taken_port)
    (world / name).chmod(0o600)


def test_several_workers_on_sqlite_are_refused(world: Path, taken_port: int) -> None:
    with pytest.raises(Misconfigured, match="--workers 2: a SQLite pool is served by one process"):
        server.serve(world / "platform.toml", port=taken_port, workers=2)


def test_a_port_that_is_taken_is_told_with_what_else_names_it(world: Path, taken_port: int) -> None:
    with pytest.raises(Misconfigured, match=r"--port, and as base_url in each merchant's quanma\.toml"):
        server.serve(world / "platform.toml", port=taken_port)


@every_row("url", ["mysql://x/y", "sqlite:", "sqlite://", "sqlite:///", "quanma.db", "sqlite://host/x"])
def test_a_database_url_of_another_kind_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Misconfigured):
        open_pool(url, tmp_path)


def test_a_taken_port_is_named(world: Path, taken_port: int) -> None:
    with pytest.raises(Misconfigured, match=f"127.0.0.1:{taken_port}.*--port"):
        server.serve(world / "platform.toml", port=taken_port)


@every_row(
    ("change", "names"),
    [
        (("port = 8460", 'port = "x"'), "port"),
        (("port = 8460", "port = 8460\nsurprise = 1"), "surprise"),
        (("port = 8460", "port = 8460 ="), "can't be read"),
        (('apiv3_key = "', 'apiv3_key = "x'), f"apiv3_key of merchant {MCHID} is not 32 letters and digits: it is 33"),
        (
            ("port = 8460", 'port = 8460\nrefused_callback_networks = ["168.63.129.16/32", "10.0.0.1/8"]'),
            "refused_callback_networks[1]",
        ),
        (("platform/platform_cert.pem", "platform/gone.pem"), "gone.pem"),
        (("platform/platform_cert.pem", "platform/pub_key.pem"), "pub_key.pem"),
        (
            (
                'certificate_private = "platform/certificate_private',
                'certificate_private = "platform/public_key_private',
            ),
            "is not the key of",
        ),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(
    world: Path, taken_port: int, change: tuple[str, str], names: str
) -> None:
    text = (world / "platform.toml").read_text()
    assert change[0] in text
    changed = world / "changed.toml"
    changed.touch(mode=0o600)
    changed.write_text(text.replace(change[0], change[1], 1))
    with pytest.raises(Misconfigured, match=re.escape(names)):
        server.serve(changed, port=taken_port)


HANGING = """
import asyncio, socket
from quanma.serving import server

class Hanging:
    metrics = None
    verbs = frozenset()
    async def start(self): ...
    def drain(self): ...
    async def stop(self): await asyncio.sleep(600)
    def note(self, **figures): ...

server.DRAIN_SECONDS, server.FORCE_SECONDS = 0.2, 0.2
server.run(Hanging(), server.bind("127.0.0.1", 0))
"""


@pytest.mark.slow
def test_what_does_not_end_by_itself_is_ended_by_force() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGING], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("listening on")
        process.terminate()
        assert process.wait(20) == 0
        assert "ended by force" in process.stderr.read()
