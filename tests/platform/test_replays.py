"""A request that comes a second time, byte for byte (A2): it changes nothing, and `refuse_replays` refuses it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from quanma.errors import RateLimited
from quanma.platform.app import App
from quanma.platform.pool import nonces
from quanma.platform.pool.nonces import NONCE_SECONDS, MemoryNonces, Nonces, Noted
from quanma.platform.replays import Replays
from tests.contract.driver import NOW
from tests.platform.caller import BUSIFAVOR, Caller, Headers, couponcodes, upload_body
from tests.platform.conftest import fresh, stock_of
from tests.platform.test_framing import CLOSE, raw, statuses, talk
from tests.support.platform import MCHID, InProcess, served

CALLBACKS = f"{BUSIFAVOR}/callbacks"


def callback(caller: Caller, host: str, **options: str) -> tuple[str, str, Headers, bytes]:
    body = json.dumps({"mchid": MCHID, "notify_url": f"https://{host}/"}).encode()
    return "POST", CALLBACKS, caller.headers("POST", CALLBACKS, body, **options), body


def address(platform: InProcess, caller: Caller) -> str:
    target = f"{CALLBACKS}?mchid={MCHID}"
    content = caller.check(platform.ask("GET", target, caller.headers("GET", target)))
    return str(content["notify_url"])


def test_an_address_for_events_that_is_set_again_by_a_recording_stays_as_it_is(each: InProcess, caller: Caller) -> None:
    first = callback(caller, "one.example")
    answer = each.ask(*first)
    assert answer.status_code == 200
    assert each.ask(*callback(caller, "two.example")).status_code == 200
    again = each.ask(*first)
    assert (again.status_code, again.body) == (200, answer.body)
    assert address(each, caller) == "https://two.example/"


def test_a_nonce_that_came_with_another_request_is_no_number_for_this_one(each: InProcess, caller: Caller) -> None:
    nonce = fresh("nonce")
    assert each.ask(*callback(caller, "one.example", nonce_str=nonce)).status_code == 200
    refused = each.ask(*callback(caller, "two.example", nonce_str=nonce))
    assert caller.check(refused)["code"] == "INVALID_REQUEST"
    assert address(each, caller) == "https://one.example/"


def test_a_nonce_is_its_merchants_own(each: InProcess, caller: Caller, other: Caller) -> None:
    nonce = fresh("nonce")
    assert each.ask(*callback(caller, "one.example", nonce_str=nonce)).status_code == 200
    body = b'{"notify_url":"https://other.example/"}'
    headers = other.headers("POST", CALLBACKS, body, nonce_str=nonce)
    assert each.ask("POST", CALLBACKS, headers, body).status_code == 200


def test_a_call_that_was_refused_may_come_again(each: InProcess, caller: Caller) -> None:
    target = "/v3/quanma/events/absent/resend"
    headers = caller.headers("POST", target, b"{}")
    assert [each.ask("POST", target, headers, b"{}").status_code for _ in range(2)] == [404, 404]


@pytest.fixture
def refusing(each: InProcess) -> Iterator[App]:
    """`each`'s application, told to refuse replays."""
    before = each.app._replays
    each.app._replays = Replays(each.pool.nonces, refuse=True, began_at=NOW)
    yield each.app
    each.app._replays = before


@pytest.mark.usefixtures("refusing")
def test_where_replays_are_refused_no_request_is_taken_twice(each: InProcess, caller: Caller) -> None:
    stock_id = stock_of(each)
    body = upload_body(["A1"])
    target = couponcodes(stock_id)
    requests = [
        ("POST", target, caller.headers("POST", target, body), body),
        ("GET", target, caller.headers("GET", target), b""),
        callback(caller, "one.example"),
        ("GET", "/v3/nowhere", caller.headers("GET", "/v3/nowhere"), b""),
    ]
    firsts = [each.ask(*request).status_code for request in requests]
    assert firsts == [200, 200, 200, 404]
    for request in requests:
        again = each.ask(*request)
        assert again.status_code == 401
        assert caller.check(again)["code"] == "SIGN_ERROR"


@pytest.mark.usefixtures("refusing")
def test_a_refused_request_takes_no_nonce(each: InProcess, caller: Caller, other: Caller) -> None:
    nonce = fresh("refused")
    headers = caller.headers("GET", "/v3/certificates", nonce_str=nonce)
    wrong = [("Authorization", caller.authorization("GET", "/v3/certificates", nonce_str=nonce, signature="AAAA"))]
    assert each.ask("GET", "/v3/certificates", wrong).status_code == 401
    assert each.ask("GET", "/v3/certificates", headers).status_code == 200


@pytest.mark.usefixtures("refusing")
def test_without_a_durable_memory_what_was_signed_before_the_start_is_refused(each: InProcess, caller: Caller) -> None:
    headers = caller.headers("GET", "/v3/certificates", now=NOW - 5)
    assert each.ask("GET", "/v3/certificates", headers).status_code == (200 if each.pool.nonces.durable else 401)


def noted(store: Nonces, nonce: str, now: int, what: bytes = b"w") -> Noted | None:
    return asyncio.run(store.note(MCHID, nonce, what, now))


@pytest.mark.slow
def test_a_nonce_is_remembered_for_as_long_as_a_signature_may_hold() -> None:
    store = MemoryNonces()
    for second in range(0, 3 * NONCE_SECONDS, 30):
        assert noted(store, f"n{second}", NOW + second) is None
        for before in range(max(0, second - 600), second, 30):
            assert noted(store, f"n{before}", NOW + second) == Noted(b"w", None)
    assert sum(len(keys) for _, keys in store._generations) < 30
    assert len(store._details) < 30
    assert noted(store, "n0", NOW + 3 * NONCE_SECONDS) is None


def test_a_clock_that_goes_back_forgets_nothing() -> None:
    store = MemoryNonces()
    assert noted(store, "a", NOW) is None
    assert noted(store, "b", NOW - 1000) is None
    assert noted(store, "a", NOW - 1000) is not None
    assert noted(store, "b", NOW) is not None


def test_more_than_can_be_remembered_is_refused_and_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonces, "_KEPT_MAX", 3)
    monkeypatch.setattr(nonces, "_ANSWERS_MAX", 2)
    store = MemoryNonces()
    for nonce in "abc":
        assert noted(store, nonce, NOW) is None
    with pytest.raises(RateLimited):
        noted(store, "d", NOW)
    assert noted(store, "a", NOW) == Noted(b"", None)
    assert noted(store, "c", NOW) == Noted(b"w", None)


@pytest.mark.slow
def test_what_one_worker_took_another_one_refuses(world: Path, postgres_url: str) -> None:
    settings = world / "platform.toml"
    settings.write_text("refuse_replays = true\n" + settings.read_text())
    caller = Caller(world)
    with served(world, "--database", postgres_url, "--workers", "2") as platform:
        for _ in range(10):
            request = raw(caller, "GET", "/v3/certificates", more=CLOSE)
            assert [statuses(talk(platform, request)) for _ in range(4)] == [[200], [401], [401], [401]]
        assert platform.stop() == 0
