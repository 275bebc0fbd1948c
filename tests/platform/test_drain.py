"""SIGTERM: no request that came is answered half or not at all, and the platform ends by itself."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from quanma.serving import server
from tests.platform.caller import Caller, couponcodes, upload_body
from tests.platform.test_framing import raw
from tests.support.platform import Served, create_stock


def whole_answer(connection: socket.socket) -> bytes:
    """One answer, or what there was of it when the platform closed."""
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
        head, ended, body = answer.partition(b"\r\n\r\n")
        if ended and len(body) == int(re.findall(rb"Content-Length: (\d+)", head)[0]):
            break
    return answer


def sends_until_told_to_close(serving: Served, caller: Caller, stock_id: str, name: str, answers: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", serving.port), timeout=15) as connection:
        number, answer = 0, b"-"
        while answer and b"Connection: close" not in answer:
            number += 1
            code = f"{name}N{number}"
            connection.sendall(raw(caller, "POST", couponcodes(stock_id), upload_body([code], code)))
            answer = whole_answer(connection)
            answers.append(answer)


@pytest.mark.slow
def test_every_request_under_load_is_answered_whole_and_stays_done(serving: Served, world: Path) -> None:
    caller = Caller(world)
    with serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "c1")
    answers: list[list[bytes]] = [[] for _ in range(12)]
    threads = [
        threading.Thread(target=sends_until_told_to_close, args=(serving, caller, stock_id, f"T{number}", kept))
        for number, kept in enumerate(answers)
    ]
    for thread in threads:
        thread.start()
    while min(map(len, answers)) < 5:
        time.sleep(0.01)
    began = time.monotonic()
    assert serving.stop() == 0
    assert time.monotonic() - began < server.DRAIN_SECONDS
    for thread in threads:
        thread.join()
    stored: set[str] = set()
    for kept in answers:
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in kept)
        assert b"Connection: close" in kept[-1]
        stored |= {json.loads(answer.partition(b"\r\n\r\n")[2])["success_codes"][0] for answer in kept}
    assert len(stored) == sum(map(len, answers))
    serving.start()
    with serving.wechatpay() as wxpay:
        count = wxpay.v3.marketing.busifavor.stocks[stock_id].get().coupon_code_count
    assert count is not None
    assert count.total_count == len(stored)


@pytest.mark.slow
def test_what_is_on_its_way_is_finished_and_who_asks_is_told_that_it_ends(serving: Served, world: Path) -> None:
    caller = Caller(world)
    with serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "c1")
    upload = raw(caller, "POST", couponcodes(stock_id), upload_body(["LATE"]))
    ready = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
    at = ("127.0.0.1", serving.port)
    with (
        socket.create_connection(at, timeout=15) as sending,
        socket.create_connection(at, timeout=15) as asking,
        socket.create_connection(at, timeout=15) as idle,
    ):
        sending.sendall(upload[:-20])
        asking.sendall(ready)
        assert whole_answer(asking).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        serving.process.terminate()
        while b"ending" not in (world / "serve.log").read_bytes():
            time.sleep(0.01)
        asking.sendall(ready)
        answer = whole_answer(asking)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Connection: close" in answer
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(at, timeout=1)
        assert idle.recv(1) == b""
        assert server.DRAIN_IDLE_SECONDS - 0.1 < time.monotonic() - began < server.DRAIN_SECONDS
        sending.sendall(upload[-20:])
        answer = whole_answer(sending)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"success_codes":["LATE"]' in answer
    assert serving.stop() == 0


@pytest.mark.slow
def test_a_second_signal_does_not_wait(serving: Served) -> None:
    with socket.create_connection(("127.0.0.1", serving.port), timeout=15) as sending:
        sending.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
        began = time.monotonic()
        serving.process.terminate()
        time.sleep(0.3)
        assert serving.stop() == 0
        assert time.monotonic() - began < server.DRAIN_SECONDS - 1
