"""examples/ under their real servers: issue, event, use, a platform that was away, and a stop that loses no event."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quanma.api.callbacks import Callbacks, SetCallback
from tests.support.platform import APPID, MCHID, Served, create_stock, merchant_config

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("examples"), pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
UP_SECONDS = 60
BIN = Path(sys.executable).parent


class Shop(NamedTuple):
    """How an example is run, from its folder."""

    folder: Path
    command: list[str]
    before: tuple[str, ...] = ()


GUNICORN = ["gunicorn", "--config", str(EXAMPLES / "gunicorn.conf.py"), "--bind=127.0.0.1:{port}"]
SHOPS = {
    "fastapi": Shop(EXAMPLES, ["uvicorn", "fastapi_shop:app", "--port={port}"]),
    "flask": Shop(EXAMPLES, [*GUNICORN, "flask_shop:app"]),
    "django": Shop(EXAMPLES / "django_shop", [*GUNICORN, "shop.wsgi"], ("manage.py", "migrate")),
}


@pytest.fixture(scope="module")
def platform(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    world = Path(shutil.copytree(made_world, tmp_path_factory.mktemp("examples") / "world"))
    settings = world / "platform.toml"
    settings.write_text(f"allow_private_callbacks = true\ncallback_retry_seconds = 1\n{settings.read_text()}")
    running = Served(world)
    yield running
    running.close()


def stock_of(platform: Served, name: str) -> str:
    with platform.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, name, notify_config={"notify_appid": APPID})
        codes = [f"{name.upper()}{number:03}" for number in range(40)]
        wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes.post(coupon_code_list=codes, upload_request_no="1")
    return stock_id


def environment(platform: Served, stock_id: str, folder: Path, **more: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("QUANMA_")},
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), str(ROOT / "tests/examples")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "QUANMA_CONFIG": str(merchant_config(platform.world)),
        "QUANMA_BASE_URL": platform.url,
        "QUANMA_DEADLINE_SECONDS": "2",
        "STOCK_ID": stock_id,
        "APPID": APPID,
        "KEPT_IN": str(folder / "coupons.db"),
        **more,
    }


@contextlib.contextmanager
def running(command: list[str], folder: Path, settings: dict[str, str], log: Path) -> Generator[None, None, None]:
    """A server, told to end with SIGTERM, and seen to end."""
    with log.open("ab") as said:
        process = subprocess.Popen(command, cwd=folder, env=settings, stdout=said, stderr=said)
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) in (0, -signal.SIGTERM), log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def post(port: int, path: str) -> tuple[int, Any]:
    """What the application answers, once it is up."""
    ends_at = time.monotonic() + UP_SECONDS
    while True:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=b"", method="POST")
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as problem:
            return problem.code, json.loads(problem.read())
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.1)


def until(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + UP_SECONDS
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.1)


def kept(file: Path) -> dict[str, str]:
    """Code: user, as the application wrote them down."""
    with contextlib.closing(sqlite3.connect(file, timeout=5)) as db:
        try:
            return dict(db.execute("SELECT code, openid FROM coupon").fetchall())
        except sqlite3.OperationalError:
            return {}


@pytest.mark.parametrize("name", SHOPS)
def test_a_shop_issues_uses_asks_again_and_loses_no_event(name: str, platform: Served, tmp_path: Path) -> None:
    shop, stock_id, port = SHOPS[name], stock_of(platform, name), free_port()
    settings, log = environment(platform, stock_id, tmp_path), tmp_path / "log"
    command = [part.format(port=port) for part in shop.command]
    command[0] = str(BIN / command[0])
    if shop.before:
        # Without any settings of quanma: whoever migrates has no keys.
        bare = {key: value for key, value in settings.items() if not key.startswith("QUANMA_")}
        subprocess.run([sys.executable, *shop.before], cwd=shop.folder, env=bare, check=True, capture_output=True)
    with platform.wechatpay() as wxpay:
        notify_url = f"http://127.0.0.1:{port}/events"
        wxpay.send(Callbacks.post, SetCallback(mchid=MCHID, notify_url=notify_url))
    given: dict[str, str] = {}

    def issue(number: str) -> str:
        status, answer = post(port, f"/coupons?openid=o{number}&number={number}")
        assert status == 200, (answer, log.read_text())
        code: str = answer["send_coupon_result"]["coupon_code"]
        given[code] = f"o{number}"
        return code

    with running(command, shop.folder, settings, log):
        first = issue(f"{name}1")
        assert issue(f"{name}1") == first
        until(lambda: kept(tmp_path / "coupons.db") == given)
        assert post(port, f"/coupons/{first}/use?number=till1")[1]["openid"] == f"o{name}1"
        assert post(port, f"/coupons/{first}/use?number=till2") == (409, {"code": "RESOURCE_ALREADY_EXISTS"})
        platform.kill()
        status, answer = post(port, f"/coupons?openid=o{name}2&number={name}2")
        assert (status, answer["code"]) in [(503, "NotSent"), (503, "NoAnswer")]
        platform.start()
        for number in range(2, 8):  # Asked again under its own number, the first of them.
            issue(f"{name}{number}")
    # It was told to end while the events were on their way.
    with running(command, shop.folder, settings, log):
        until(lambda: kept(tmp_path / "coupons.db") == given)


def test_a_task_is_tried_again_under_its_number_until_the_platform_is_back(platform: Served, tmp_path: Path) -> None:
    for folder in ("queue", "control", "results"):
        (tmp_path / folder).mkdir()
    stock_id = stock_of(platform, "celery")
    settings = environment(platform, stock_id, tmp_path, BROKER_FOLDER=str(tmp_path))
    worker = [sys.executable, "-m", "celery", "-A", "celery_on_files", "worker", "--pool=prefork", "-c2", "-lINFO"]
    ask = (
        "import sys\nimport celery_on_files, celery_shop\n"
        "asked = [celery_shop.issue.delay(f'o{number}', f'celery{number}') for number in (1, 1, 2, 3)]\n"
        "print('asked', flush=True)\n"
        "print(*[one.get(timeout=60)['send_coupon_result']['coupon_code'] for one in asked])\n"
    )
    log = tmp_path / "log"
    platform.kill()
    with running([*worker, "--without-gossip", "--without-mingle"], ROOT, settings, log):
        asking = subprocess.Popen([sys.executable, "-c", ask], env=settings, stdout=subprocess.PIPE, text=True)
        assert asking.stdout is not None
        assert asking.stdout.readline() == "asked\n"
        until(lambda: "Retry in" in log.read_text())
        platform.start()
        codes = asking.stdout.read().split()
        assert asking.wait(30) == 0, log.read_text()
        asking.stdout.close()
    assert codes[0] == codes[1]
    assert len(set(codes)) == 3


def test_two_merchants_in_one_process(platform: Served) -> None:
    settings = environment(platform, "1", platform.world, SHOPS=str(platform.world / "merchants"))
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / "two_merchants.py")], env=settings, capture_output=True, text=True
    )
    assert ran.stdout == "1900000001 200\n1900000002 200\n", ran.stderr


def test_django_collects_its_files_without_keys(tmp_path: Path) -> None:
    shop = Path(shutil.copytree(SHOPS["django"].folder, tmp_path / "shop"))
    bare = {name: value for name, value in os.environ.items() if not name.startswith("QUANMA_")}
    ran = subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput"], cwd=shop, env=bare, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
