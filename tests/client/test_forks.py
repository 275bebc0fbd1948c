"""A client in processes that fork: by hand, and in real servers that load the application before they do."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.platform import Served, create_stock, merchant_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.xdist_group("forks"),  # One platform for all.
]

ROOT = Path(__file__).parents[2]
UP_SECONDS = 60
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def platform(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    world = shutil.copytree(made_world, tmp_path_factory.mktemp("forks") / "world")
    running = Served(Path(world))
    yield running
    running.close()


@pytest.fixture(scope="module")
def stock_id(platform: Served) -> str:
    """A stock with 100 codes."""
    with platform.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "forks")
        wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes.post(
            coupon_code_list=[f"C{number:03}" for number in range(100)], upload_request_no="forks"
        )
    return stock_id


def environment(platform: Served, stock_id: str, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "QUANMA_CONFIG": str(merchant_config(platform.world)),
        "QUANMA_BASE_URL": platform.url,
        "STOCK_ID": stock_id,
        **more,
    }


PARENT = """
import asyncio, multiprocessing, os, signal, sys, threading, time
from quanma import AsyncWechatpay, Patience, Wechatpay

def calls(wxpay): return wxpay.v3.certificates.get.raw().status_code
async def acalls(wxpay): return (await wxpay.v3.certificates.get.raw()).status_code
async def several(wxpay): return await asyncio.gather(*[acalls(wxpay) for _ in range(4)])
async def anew():
    async with AsyncWechatpay.from_config() as wxpay:
        return await several(wxpay)

def threads(wxpay):
    found = []
    made = [threading.Thread(target=lambda: found.append(calls(wxpay))) for _ in range(4)]
    [one.start() for one in made], [one.join() for one in made]
    return found

def pooled(number): return calls(sync)

def in_child(what):
    sys.stdout.flush()
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(15)  # Whoever hangs ends with -14.
    try:
        print(what(), end=" ", flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    sys.exit(0)  # As programs end, with all that runs at their end.
"""

BEFORE = {
    "unused": "sync, aio = Wechatpay.from_config(), AsyncWechatpay.from_config()",
    "used": "sync, aio = Wechatpay.from_config(), AsyncWechatpay.from_config()\n"
    "calls(sync), asyncio.run(acalls(aio)), threads(sync)",
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_a_client_works_in_a_child_of_the_process_that_made_it(platform: Served, stock_id: str, before: str) -> None:
    story = """
print(in_child(lambda: calls(sync)))
print(in_child(lambda: threads(sync)))
print(in_child(lambda: asyncio.run(several(aio))))
print(in_child(lambda: calls(Wechatpay.from_config())))
print(in_child(lambda: asyncio.run(anew())))
print(in_child(lambda: (calls(sync), in_child(lambda: calls(sync)))))
print(in_child(lambda: (sync.close(), asyncio.run(aio.close()))))
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(pooled, range(4)))
print(calls(sync), asyncio.run(acalls(aio)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", PARENT + before + story],
        env=environment(platform, stock_id),
        capture_output=True,
        text=True,
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "200 0",
        "[200, 200, 200, 200] 0",
        "[200, 200, 200, 200] 0",
        "200 0",
        "[200, 200, 200, 200] 0",
        "200 (200, 0) 0",
        "(None, None) 0",
        "[200, 200, 200, 200]",
        "200 200",
    ]


def test_a_child_does_not_wait_for_what_a_thread_of_its_parent_was_doing(platform: Served, stock_id: str) -> None:
    # The parent's thread is fetching certificates, in a lock and for a while, as the child is made.
    story = """
from quanma.client.transport import Reply
sync = Wechatpay.from_config(platform_keys={})
real, held, go_on = sync._transport, threading.Event(), threading.Event()
class Slow:
    def send(self, request, timeout_seconds):
        if os.getpid() == PARENT_PID:
            held.set(), go_on.wait(60)
        return real.send(request, timeout_seconds)
    def close(self): real.close()
sync._transport, PARENT_PID = Slow(), os.getpid()
at_it = threading.Thread(target=lambda: calls(sync))
at_it.start(), held.wait()
began = time.monotonic()
with sync._certificates._here.get().lock:
    print(in_child(lambda: calls(sync)))
print(time.monotonic() - began < 30)
go_on.set(), at_it.join()
"""
    ran = subprocess.run(
        [sys.executable, "-c", PARENT + story],
        env=environment(platform, stock_id),
        capture_output=True,
        text=True,
    )
    assert (ran.stdout.splitlines(), ran.stderr) == (["200 0", "True"], "")


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Generator[None, None, None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def asked(port: int, number: str) -> str:
    """What the application answers, once it is up."""
    ends_at = time.monotonic() + UP_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/?{number}", timeout=20) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as problem:
            return f"HTTP {problem.code}"
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.1)


APP = "tests.client.forking.wsgi_app:app"
SERVERS = {
    "gunicorn sync": ["gunicorn", "--preload", "--workers=2", "--worker-class=sync", "--bind=127.0.0.1:{port}", APP],
    "gunicorn gthread": [
        *("gunicorn", "--preload", "--workers=2", "--worker-class=gthread", "--threads=4"),
        *("--bind=127.0.0.1:{port}", APP),
    ],
    "uwsgi": [
        *("uwsgi", "--master", "--processes=2", "--need-app", "--die-on-term"),
        *("--http-socket=127.0.0.1:{port}", f"--module={APP}", "--pyhome={prefix}"),
    ],
    "uwsgi with threads": [
        *("uwsgi", "--master", "--processes=2", "--threads=4", "--need-app", "--die-on-term"),
        *("--http-socket=127.0.0.1:{port}", f"--module={APP}", "--pyhome={prefix}"),
    ],
}


@pytest.mark.parametrize("before", ["", "yes"], ids=["no call before", "a call before"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_forks_after_loading_issues_coupons(
    platform: Served, stock_id: str, tmp_path: Path, server: str, before: str
) -> None:
    port = free_port()
    command = [part.format(port=port, prefix=sys.prefix) for part in SERVERS[server]]
    command[0] = str(BIN / command[0])
    if not Path(command[0]).exists():
        pytest.skip(f"{command[0]} is not installed")
    run = secrets.token_hex(4)
    with running(command, environment(platform, stock_id, CALL_BEFORE_FORK=before), tmp_path / "log"):
        answers = [asked(port, f"{run}-{number}") for number in range(6)]
        again = asked(port, f"{run}-0")
    assert all(answer.endswith(" forked") for answer in answers), (answers, (tmp_path / "log").read_text())
    assert len(set(answers)) == 6
    assert again == answers[0]


@pytest.mark.parametrize("before", ["", "yes"], ids=["no call before", "a call before"])
def test_celery_s_pool_of_processes_issues_coupons(
    platform: Served, stock_id: str, tmp_path: Path, before: str
) -> None:
    for name in ("queue", "control", "results"):
        (tmp_path / name).mkdir()
    settings = environment(platform, stock_id, CALL_BEFORE_FORK=before, BROKER_FOLDER=str(tmp_path))
    tasks = "tests.client.forking.celery_tasks"
    worker = [sys.executable, "-m", "celery", "-A", tasks, "worker", "--pool=prefork", "--concurrency=2"]
    send = (
        f"from {tasks} import issue\n"
        f"sent = [issue.delay('{secrets.token_hex(4)}-%d' % number) for number in range(6)]\n"
        "print(*[one.get(timeout=60) for one in sent], sep='\\n')"
    )
    with running([*worker, "--without-gossip", "--without-mingle"], settings, tmp_path / "log"):
        ran = subprocess.run(
            [sys.executable, "-c", send], env={**settings, "CALL_BEFORE_FORK": ""}, capture_output=True, text=True
        )
    answers = ran.stdout.splitlines()
    assert all(answer.endswith(" forked") for answer in answers), (ran.stderr, (tmp_path / "log").read_text())
    assert len(set(answers)) == 6
