"""Ctrl-C, and calls on a closed client: both end at once, and what they say is true."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from quanma import AsyncWechatpay, Wechatpay
from quanma.client import config
from quanma.client.network import HttpTransport
from quanma.client.transport import Reply, Request
from quanma.errors import ClientClosed, NoAnswer, NotSent
from tests.support.platform import merchant_config

pytestmark = pytest.mark.slow

AFTER_SECONDS = 0.3
AT_ONCE_SECONDS = 5.0
"""More is not at once even on a busy machine: an attempt has 15 s, and the waits of a call last 7 s in all."""


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        return f"http://127.0.0.1:{closing.getsockname()[1]}"


def client(world: Path, base_url: str, **settings: Any) -> Wechatpay:
    return Wechatpay(config.load(merchant_config(world), base_url=base_url, **settings))


def interrupted_after_seconds(call: Callable[[], object]) -> float:
    """Press Ctrl-C while it is called, and return how long it went on."""
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(AFTER_SECONDS, press)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
        return time.monotonic() - pressed[0]
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_call_that_gets_no_answer(made_world: Path, silent: str) -> None:
    with client(made_world, silent) as wxpay:
        assert interrupted_after_seconds(wxpay.v3.certificates.get) < AT_ONCE_SECONDS


def test_ctrl_c_ends_the_wait_before_a_repeat(made_world: Path, closed_port: str) -> None:
    with client(made_world, closed_port) as wxpay:
        assert interrupted_after_seconds(wxpay.v3.certificates.get) < AT_ONCE_SECONDS


def test_ctrl_c_ends_a_call_that_fetches_certificates_and_the_next_one_fetches_them(
    made_world: Path, silent: str
) -> None:
    with client(made_world, silent, platform_keys={}) as wxpay:
        for _ in range(2):
            assert interrupted_after_seconds(wxpay.v3.certificates.get) < AT_ONCE_SECONDS


def test_ctrl_c_ends_the_wait_for_certificates_that_another_thread_fetches(made_world: Path, silent: str) -> None:
    with client(made_world, silent, platform_keys={}) as wxpay:

        def fetch() -> None:
            with pytest.raises(NotSent):
                wxpay.v3.certificates.get()

        other = threading.Thread(target=fetch)
        other.start()
        assert interrupted_after_seconds(wxpay.v3.certificates.get) < AT_ONCE_SECONDS
        wxpay.close()
        other.join()


def test_after_ctrl_c_the_client_goes_on_and_the_program_ends_at_once(made_world: Path) -> None:
    program = (
        "import time\n"
        "from quanma import Wechatpay\n"
        "wxpay = Wechatpay.from_config()\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        wxpay.v3.certificates.get()\n"
        "    except KeyboardInterrupt:\n"
        "        print(time.monotonic(), flush=True)\n"
    )
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        listening.settimeout(60)
        environment = {
            **os.environ,
            "QUANMA_CONFIG": str(merchant_config(made_world)),
            "QUANMA_BASE_URL": f"http://127.0.0.1:{listening.getsockname()[1]}",
        }
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = opened.enter_context(subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes))
        opened.callback(process.kill)
        for _ in range(2):
            connection = opened.enter_context(listening.accept()[0])
            assert connection.recv(1)  # The request is here, and gets no answer.
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        ended_at = time.monotonic()
        assert (process.returncode, err) == (0, "")
    assert ended_at - float(out.splitlines()[1]) < 2 * AT_ONCE_SECONDS


def test_a_transport_that_does_not_end_is_left_at_the_end_of_its_time() -> None:
    # No library is trusted with it alone: whoever waits stops waiting.
    class Stuck:
        def __init__(self) -> None:
            self.end: Future[Reply] = Future()

        def send(self, request: Request, timeout_seconds: float) -> Reply:
            return self.end.result()

        def close(self) -> None:  # When the program ends.
            self.end.set_result(Reply(200, [], b""))

    transport = HttpTransport()
    transport._here.get().close()
    transport._here = type(transport._here)(Stuck)
    with pytest.raises(NoAnswer, match=r"no complete answer within 0\.2 s"):
        transport.send(Request("GET", "http://127.0.0.1:1/", {}, b""), 0.2)


def test_a_call_on_a_closed_client_sends_nothing_and_says_so(made_world: Path, silent: str) -> None:
    wxpay = client(made_world, silent)
    wxpay.close()
    for call in (wxpay.v3.certificates.get, lambda: wxpay.chain("v3/x/y").post({"a": 1})):
        with pytest.raises(ClientClosed, match="is closed, so nothing was sent: make a new client") as refused:
            call()
        assert refused.value.may_have_executed is False


def test_a_call_on_a_closed_async_client_sends_nothing_and_says_so(made_world: Path, silent: str) -> None:
    async def story() -> None:
        wxpay = AsyncWechatpay(config.load(merchant_config(made_world), base_url=silent))
        await wxpay.close()
        await wxpay.close()
        await wxpay.v3.certificates.get()

    with pytest.raises(ClientClosed) as refused:
        asyncio.run(story())
    assert refused.value.may_have_executed is False


def test_a_client_that_is_closed_before_a_repeat_does_not_repeat(made_world: Path, closed_port: str) -> None:
    wxpay = client(made_world, closed_port)
    timer = threading.Timer(AFTER_SECONDS, wxpay.close)
    timer.start()
    with pytest.raises(ClientClosed):
        wxpay.v3.certificates.get()
    timer.join()


@pytest.mark.parametrize("platform_keys", [None, {}], ids=["keys", "no keys"])
def test_a_client_without_keys_that_is_closed_says_that_it_is_closed(
    made_world: Path, silent: str, platform_keys: dict[str, str] | None
) -> None:
    wxpay = client(made_world, silent, platform_keys=platform_keys)
    wxpay.close()
    with pytest.raises(ClientClosed):
        wxpay.v3.certificates.get()
