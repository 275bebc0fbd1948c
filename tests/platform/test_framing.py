"""`quanma serve` on real sockets (A8): one form of framing, bounds on size and time, no answer to what was smuggled."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
import uuid
from pathlib import Path

import pytest

from quanma.api.couponcodes import CouponCodes, UploadCodes
from quanma.serving import http1
from tests.platform.caller import Caller, couponcodes, upload_body
from tests.support.every import every_row
from tests.support.platform import Served, create_stock

CLOSED_WITHIN_SECONDS = 10
"""By our clock. A test that shares the machine with others sees it later."""
SEEN_WITHIN_SECONDS = 3 * CLOSED_WITHIN_SECONDS
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def running(served: Served) -> Served:
    return served


@pytest.fixture(scope="module")
def stock_id(running: Served) -> str:
    with running.wechatpay() as wxpay:
        return create_stock(wxpay, uuid.uuid4().hex)  # It may be made again, on the same file.


def raw(
    caller: Caller, method: str, target: str, body: bytes = b"", *, sent: str | None = None, more: str = ""
) -> bytes:
    """A signed request as bytes. `sent` is the target that is sent in place of the signed one."""
    value = caller.authorization(method, target, body, now=int(time.time()))
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {sent or target} HTTP/1.1\r\nHost: x\r\nAuthorization: {value}\r\n{length}{more}\r\n"
    return head.encode("latin-1") + body


def talk(running: Served, *pieces: bytes, pause_seconds: float = 0.0) -> bytes:
    """Send, and return everything that is answered until the server closes, or is silent for long."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=SEEN_WITHIN_SECONDS) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_seconds)
        return _until_closed(connection)


def _until_closed(connection: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            answer += piece
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


CLOSE = "Connection: close\r\n"
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@every_row(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\x0b: chunked",
        "X: y\r\n folded: z",
        "X\x00: y",
        "X: \x00",
        ": y",
        "nonsense",
    ],
)
def test_ambiguous_framing_is_refused_and_nothing_behind_it_is_answered(running: Served, head: str) -> None:
    request = f"POST /v3/certificates HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode("latin-1")
    for body in (b"0\r\n\r\n", b"hello", b""):
        answer = talk(running, request + body + SMUGGLED)
        assert statuses(answer) == [400]
        assert b"ok\n" not in answer


@every_row(
    "chunks",
    [b"zz\r\n", b"-1\r\nA", b"+1\r\nA\r\n", b"5\r\nhelloX", b"5;\x00\r\nhello\r\n", b"ffffffffffffffffff\r\nA"],
)
def test_a_bad_chunk_is_refused_and_nothing_behind_it_is_answered(running: Served, chunks: bytes) -> None:
    request = b"POST /v3/certificates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = talk(running, request + chunks + SMUGGLED)
    assert statuses(answer) == [400]
    assert b"ok\n" not in answer


@every_row(
    "start",
    [
        b"GET /healthz HTTP/9.9",
        b"GET /healthz",
        b"get /healthz HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT x:1 HTTP/1.1",
        b"GET http://x/healthz HTTP/1.1",
        b"GET /healthz#x HTTP/1.1",
        b"GET /healthz?a=\xe5 HTTP/1.1",
        b"GET /h\xc3\xa9 HTTP/1.1",
    ],
)
def test_a_request_line_in_another_form_is_refused(running: Served, start: bytes) -> None:
    answer = talk(running, start + b"\r\nHost: x\r\n\r\n")
    assert statuses(answer) == [400]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET /v3/certificates#x HTTP/1.1", "the target is not a path and a query of visible ASCII"),
        (b"GET http://x/v3/certificates HTTP/1.1", "send neither a fragment nor a scheme and host"),
        (b"get /v3/certificates HTTP/1.1", "the request line, the headers or the framing"),
    ],
)
def test_a_refused_request_says_what_was_wrong_in_the_platforms_form(running: Served, sent: bytes, said: str) -> None:
    answer = json.loads(talk(running, sent + b"\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")[2])
    assert answer["code"] == "PARAM_ERROR"
    assert answer["message"].startswith("Invalid HTTP request received: ")
    assert said in answer["message"]


@pytest.mark.slow
def test_a_question_mark_with_nothing_behind_it_is_verified_as_it_was_sent(running: Served, caller: Caller) -> None:
    target = "/v3/certificates?"
    assert statuses(talk(running, raw(caller, "GET", target, more=CLOSE))) == [200]
    answer = talk(running, raw(caller, "GET", "/v3/certificates", sent=target, more=CLOSE))
    assert statuses(answer) == [401]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]["sign_information"]["url"] == target


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json"])
def test_a_page_that_is_asked_for_with_head_is_told_without_its_body(running: Served, path: str) -> None:
    got, told = (
        talk(running, f"{verb} {path} HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n".encode()) for verb in ("GET", "HEAD")
    )
    assert statuses(told) == statuses(got) == [200]
    head, _, body = told.partition(b"\r\n\r\n")
    assert body == b""
    assert {line.partition(b":")[0] for line in head.splitlines()} == {
        line.partition(b":")[0] for line in got.partition(b"\r\n\r\n")[0].splitlines()
    }


@pytest.mark.slow
def test_an_operation_that_is_asked_for_with_head_is_verified_as_head(running: Served, caller: Caller) -> None:
    answer = talk(running, raw(caller, "HEAD", "/v3/certificates", more=CLOSE))
    assert statuses(answer) == [200]
    assert answer.endswith(b"\r\n\r\n")
    assert re.search(rb"Content-Length: [1-9][0-9]{2,}\r\n", answer)
    as_get = raw(caller, "GET", "/v3/certificates", more=CLOSE).replace(b"GET ", b"HEAD ", 1)
    assert statuses(talk(running, as_get)) == [401]


def test_a_target_that_was_changed_on_the_way_is_refused_though_it_would_read_the_same(
    running: Served, caller: Caller
) -> None:
    target = "/v3/certificates"
    assert statuses(talk(running, raw(caller, "GET", target, more=CLOSE))) == [200]
    for sent in (target + "#x", target + "?", "http://x" + target, "//x" + target, "/%763/certificates"):
        (status,) = statuses(talk(running, raw(caller, "GET", target, sent=sent, more=CLOSE)))
        assert status in (400, 401)


def test_a_chunked_body_is_read_and_a_trailer_is_not_taken_for_a_header(
    running: Served, caller: Caller, stock_id: str
) -> None:
    target, body = couponcodes(stock_id), upload_body(["TRAILER"], "trailer")
    value = caller.authorization("POST", target, body, now=int(time.time()))
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\n{CLOSE}Transfer-Encoding: chunked\r\n"
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(body), body)
    trailer = f"Authorization: {value}\r\n".encode()
    answer = talk(running, head.encode() + b"\r\n" + chunks + trailer + b"\r\n")
    assert statuses(answer) == [400]
    answer = talk(running, head.encode() + trailer + b"\r\n" + chunks + b"\r\n")
    assert statuses(answer) == [200]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["success_codes"] == ["TRAILER"]


def test_pipelined_requests_are_answered_each_and_in_order(running: Served, caller: Caller, stock_id: str) -> None:
    uploads = [raw(caller, "POST", couponcodes(stock_id), upload_body([f"P{n}"], f"p{n}")) for n in range(30)]
    last = raw(caller, "GET", "/v3/certificates", more=CLOSE)
    answer = talk(running, b"".join(uploads) + last)
    assert statuses(answer) == [200] * 31
    assert re.findall(rb'"success_codes":\["(P\d+)"\]', answer) == [f"P{n}".encode() for n in range(30)]


def test_thousands_of_requests_sent_ahead_are_answered_each(running: Served) -> None:
    answer = talk(running, SMUGGLED * 5000 + SMUGGLED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert statuses(answer) == [200] * 5001


def test_what_was_sent_before_nonsense_is_answered_before_it_is_refused(running: Served, caller: Caller) -> None:
    answer = talk(running, raw(caller, "GET", "/v3/certificates") * 2 + b"nonsense\r\n\r\n" + SMUGGLED)
    assert statuses(answer) == [200, 200, 400]
    assert b"ok\n" not in answer


def test_nothing_is_answered_behind_the_request_that_was_to_be_the_last(running: Served, caller: Caller) -> None:
    answer = talk(running, raw(caller, "GET", "/v3/certificates", more=CLOSE) + SMUGGLED)
    assert statuses(answer) == [200]
    assert b"ok\n" not in answer


@pytest.mark.slow
def test_whoever_offers_http_2_is_answered_in_http_1(running: Served, caller: Caller, stock_id: str) -> None:
    """As the HTTP client of Java does on every new connection."""
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAA\r\n"
    answer = talk(running, raw(caller, "GET", "/v3/certificates", more=offer))
    assert statuses(answer) == [200]
    upload = raw(caller, "POST", couponcodes(stock_id), upload_body(["H2C"], "h2c"), more=offer)
    head, _, body = upload.partition(b"\r\n\r\n")
    chunked = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head) + b"\r\n\r\n"
    chunks = b"5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (body[:5], len(body) - 5, body[5:])
    last = raw(caller, "GET", "/v3/certificates", more=CLOSE)
    for sent in (upload + last, chunked + chunks + last):
        assert statuses(talk(running, sent)) == [200, 200]
        assert statuses(talk(running, *(sent[at : at + 50] for at in range(0, len(sent), 50)))) == [200, 200]
        assert statuses(talk(running, sent[: len(head)], sent[len(head) :], pause_seconds=0.1)) == [200, 200]
    assert statuses(talk(running, upload[:-1])) == [400]
    assert statuses(talk(running, chunked + b"zz\r\n" + SMUGGLED)) == [400]


def test_a_body_is_asked_for_where_the_sender_waits_to_be_asked(running: Served, caller: Caller, stock_id: str) -> None:
    whole = raw(
        caller, "POST", couponcodes(stock_id), upload_body(["ASKED"], "asked"), more=f"{CLOSE}Expect: 100-continue\r\n"
    )
    head, _, body = whole.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert statuses(_until_closed(connection)) == [200]


def test_whoever_has_said_all_still_gets_the_answer(running: Served, caller: Caller) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as connection:
        connection.sendall(raw(caller, "GET", "/v3/certificates"))
        connection.shutdown(socket.SHUT_WR)
        assert statuses(_until_closed(connection)) == [200]


def _is_closed(connection: socket.socket) -> bool:
    """Find out without reading, in so many seconds."""
    for _ in range(2 * SEEN_WITHIN_SECONDS):
        try:
            connection.send(b"G")
        except TimeoutError:
            continue
        except ConnectionError:
            return True
        time.sleep(0.5)
    return False


@pytest.mark.slow
def test_whoever_does_not_read_is_closed_and_memory_stays_flat(running: Served) -> None:
    before = _resident_bytes(running)
    with socket.create_connection(("127.0.0.1", running.port), timeout=1) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        assert _resident_bytes(running) - before < 50 * MEBIBYTE
        assert _is_closed(connection)


def test_an_upgrade_is_not_taken_and_what_is_behind_it_is_not_answered(running: Served) -> None:
    upgrade = b"GET /v3/certificates HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    answer = talk(running, upgrade + SMUGGLED)
    assert statuses(answer)[0] in (400, 401, 426)
    assert b"ok\n" not in answer


@pytest.mark.slow
def test_a_body_that_is_too_long_is_refused_before_it_has_arrived(running: Served) -> None:
    head = b"POST /v3/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    before = _resident_bytes(running)
    answer = talk(running, head, *([b"x" * 65536] * 40))
    # The server closes on a sender that goes on: its answer may be lost on the way.
    assert statuses(answer) in ([400], [])
    assert _resident_bytes(running) - before < 20 * MEBIBYTE


def test_a_head_a_body_and_an_answer_each_have_a_time_within_which_all_is_closed() -> None:
    for seconds in (http1.HEAD_SECONDS, http1.BODY_SECONDS, http1.WRITE_SECONDS):
        assert seconds + http1.LINGER_SECONDS <= CLOSED_WITHIN_SECONDS


@pytest.mark.slow
def test_whoever_stops_or_drips_in_the_middle_is_closed_within_ten_seconds(
    running: Served, caller: Caller, stock_id: str
) -> None:
    target = couponcodes(stock_id)
    whole = raw(caller, "POST", target, upload_body(["SILENT"], "silent" * 20))  # Longer than its drips.
    head, _, body = whole.partition(b"\r\n\r\n")
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"
    first = raw(caller, "GET", "/v3/certificates")
    drip = [b"x"] * 3 * SEEN_WITHIN_SECONDS  # Two a second: it would go on for longer.
    silent: dict[str, tuple[list[bytes], list[int]]] = {
        "nothing": ([], []),
        "half a head": ([head[:100]], []),
        "half a body": ([whole[:-5]], [400]),
        "half a chunk": ([chunked], [400]),
        "a dripping head": ([head[:100], *drip], []),
        "a dripping body": ([head + b"\r\n\r\n", *(bytes([byte]) for byte in body[: len(drip)])], [400]),
        "a dripping chunk": ([chunked, *drip], [400]),
        "half a second head": ([first + head[:100]], [200]),
        "a dripping second head": ([first, head[:100], *drip], [200]),
        "a dripping second head behind a first": ([first + head[:100], *drip], [200]),
        "nothing more": ([first], [200]),
    }
    results: dict[str, tuple[list[int], float]] = {}

    def ask(name: str) -> None:
        began = time.monotonic()
        answer = b""
        with socket.create_connection(("127.0.0.1", running.port), timeout=2 * SEEN_WITHIN_SECONDS) as connection:
            reader = threading.Thread(
                target=lambda: results.update({name: (statuses(_until_closed(connection)), time.monotonic() - began)})
            )
            reader.start()
            with contextlib.suppress(OSError):
                for piece in silent[name][0]:
                    connection.sendall(piece)
                    reader.join(0.5)
                    if not reader.is_alive():
                        break
            reader.join(2 * SEEN_WITHIN_SECONDS)
        assert answer == b""

    threads = [threading.Thread(target=ask, args=(name,)) for name in silent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: found for name, (found, _) in results.items()} == {
        name: wanted for name, (_, wanted) in silent.items()
    }
    assert {name: seconds for name, (_, seconds) in results.items() if seconds > SEEN_WITHIN_SECONDS} == {}
    with running.wechatpay() as wxpay:
        answer = wxpay.send(
            CouponCodes.post, UploadCodes(stock_id=stock_id, coupon_code_list=["SILENT"], upload_request_no="s2")
        )
    assert answer.data.success_codes == ["SILENT"]  # The half request stored nothing.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"GET / HTTP/1.1\r\n", b"X: " + b"y" * 1000 + b"\r\n"),
        (b"GET / HTTP/1.1\r\n", b"X: \r\n" * 200),
        (b"GET / HTTP/1.1\r\nX: ", b"y" * 1000),
        (b"GET /", b"y" * 1000),
        (b"GET / HTTP/1.1\r\n", b"y" * 1000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"y" * 1000 + b"\r\n"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"y" * 1000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"y" * 1000),
        (b"\r\n", b"\r\n" * 500),
    ],
)
def test_an_endless_head_is_refused_and_memory_stays_flat(running: Served, head: bytes, piece: bytes) -> None:
    before = _resident_bytes(running)
    sent = 0
    with socket.create_connection(("127.0.0.1", running.port), timeout=SEEN_WITHIN_SECONDS) as connection:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError, TimeoutError):
            connection.sendall(head)
            while time.monotonic() - began < SEEN_WITHIN_SECONDS:
                connection.sendall(piece * 64)
                sent += len(piece) * 64
        seconds = time.monotonic() - began
    assert seconds < SEEN_WITHIN_SECONDS
    assert _resident_bytes(running) - before < 20 * MEBIBYTE


def _resident_bytes(running: Served) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_after_all_that_the_log_holds_no_traceback_and_no_content(running: Served) -> None:
    log = (running.world / "serve.log").read_text()
    assert "Traceback" not in log
    assert "WECHATPAY2-SHA256" not in log
    with running.wechatpay() as wxpay:
        assert wxpay.v3.certificates.get().data
