"""A callback address, as the platform would meet it: each way to be wrong, and receivers that are right."""

from __future__ import annotations

import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from quanma.client.events import Receiver
from quanma.client.receiving import WsgiReceiver
from quanma.doctor.check import Status
from tests.doctor.conftest import Shop, look
from tests.support.every import every_row
from tests.support.way import Answer, Message, answering

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
REFUSED = Answer(401, JSON, b'{"code":"FAIL","message":"x"}')


@every_row(
    ("url", "status", "said"),
    [
        ("shop.example.com/events", "fail", "the callback address is none"),
        ("https://", "fail", "the callback address is none"),
        ("ftp://shop.example.com/", "fail", "the callback address is none"),
        ("https://shop.example.com:x/", "fail", "the callback address is none"),
        ("https://127.0.0.1/events?shop=1", "fail", "it has a ? or a #"),
        ("https://user:secret-word@127.0.0.1/", "fail", "it has a user or a password"),
        ("https://127.0.0.1/" + "a" * 260, "fail", "longer than 256 characters"),
        ("http://127.0.0.1/events", "fail", "begins with http://"),
        ("https://127.0.0.1:9/events", "fail", "127.0.0.1 is not public"),
        ("https://10.1.2.3/events", "fail", "10.1.2.3 is not public"),
        ("https://[fd00::1]/events", "fail", "fd00::1 is not public"),
    ],
)
def test_an_address_that_WeChat_Pay_cannot_post_to_fails(url: str, status: str, said: str) -> None:
    result = look(None, "callback.address", callback=url).results[-1]
    assert (result.id, result.status) == ("callback.address", status)
    assert said in result.detail
    assert "https://" in result.fix
    assert "secret-word" not in result.detail + result.fix


def test_a_platform_of_ones_own_may_post_to_this_machine(shop: Shop) -> None:
    with answering(lambda message, verb: REFUSED) as url:
        found = look(shop.file, "callback", callback=url + "/events")
    assert [(one.id, one.status) for one in found.results] == [
        ("callback.address", "warn"),
        ("callback.answer", "pass"),
    ]


ANSWERS: list[tuple[str, Answer, str, str, str]] = [
    ("refused", REFUSED, "pass", "it refuses what is not signed", ""),
    ("refused with 500", Answer(500, JSON, b'{"code":"FAIL"}'), "pass", "it refuses what is not signed", ""),
    ("refused with 400", Answer(400, {}, b""), "pass", "it refuses what is not signed", ""),
    ("moved", Answer(301, {"Location": "https://a/"}, b""), "fail", "it redirects", "the address that it leads to"),
    ("to a login", Answer(302, {"Location": "/login"}, b""), "fail", "it redirects", "the address that it leads to"),
    ("taken", Answer(200, JSON, b'{"code":"SUCCESS"}'), "fail", "signature is wrong on purpose", "verify the raw body"),
    ("taken silently", Answer(204, {}, b""), "fail", "signature is wrong on purpose", "verify the raw body"),
    ("a page", Answer(200, HTML, b"<!doctype html>"), "fail", "a page answers", "correct the path"),
    ("no such path", Answer(404, JSON, b"{}"), "fail", "nothing takes a POST", "correct the path"),
    ("only GET", Answer(405, JSON, b"{}"), "fail", "nothing takes a POST", "correct the path"),
    ("a login page", Answer(403, HTML, b"<html>login</html>"), "fail", "wants a login", "take the login away"),
    ("a password", Answer(401, {"WWW-Authenticate": "Basic"}, b""), "fail", "wants a login", "take the login away"),
    ("a gateway", Answer(502, HTML, b"<html>nginx</html>"), "warn", "something before the receiver", "look at its log"),
    ("a broken framework", Answer(500, HTML, b"<html>Error</html>"), "warn", "its framework", "look at its log"),
]


@every_row(("answer", "status", "said", "mend"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_what_answers_there_is_told(answer: Answer, status: str, said: str, mend: str, shop: Shop) -> None:
    with answering(lambda message, verb: answer) as url:
        result = look(shop.file, "callback.answer", callback=url + "/events").results[-1]
    assert (result.id, result.status) == ("callback.answer", status)
    assert said in result.detail
    assert mend in result.fix


@pytest.mark.slow
def test_an_answer_after_five_seconds_fails(shop: Shop) -> None:
    with answering(lambda message, verb: REFUSED, delay_seconds=5.2) as url:
        result = look(shop.file, "callback.answer", callback=url).results[-1]
    assert result.status == Status.FAIL
    assert "and the platform waits 5 s" in result.detail


def test_nobody_there_fails(shop: Shop) -> None:
    result = look(shop.file, "callback.answer", callback="http://127.0.0.1:1/").results[-1]
    assert result.status == Status.FAIL
    assert "no connection to 127.0.0.1:1" in result.detail


def test_our_own_receiver_passes(shop: Shop) -> None:
    class Silent(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
            pass

    events: list[object] = []
    application = WsgiReceiver(Receiver.from_config(shop.file), events.append)
    with make_server("127.0.0.1", 0, application, handler_class=Silent) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        result = look(shop.file, "callback.answer", callback=f"http://127.0.0.1:{server.server_port}/").results[-1]
    assert (result.status, result.detail) == ("pass", "HTTP 401: it refuses what is not signed")
    assert events == []


def test_the_probe_is_what_the_platform_sends_but_for_its_signature(shop: Shop) -> None:
    came: list[Message] = []

    def taken(message: Message, verb: str) -> Answer:
        came.append(message)
        return REFUSED

    with answering(taken) as url:
        look(shop.file, "callback.answer", callback=url + "/events")
    (message,) = came
    assert message.target == "/events"
    assert message.headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")
    assert message.headers["Wechatpay-Serial"] == shop.names[0]
