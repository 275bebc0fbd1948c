"""Faults, seen from outside by our client and by plain HTTP."""

from __future__ import annotations

import http.client
from typing import Any

import pytest

from quanma import Wechatpay
from quanma.client.exchange import Patience
from quanma.errors import NoAnswer, OutcomeUnknown, PlatformError, RequestInvalid
from quanma.testing import Sandbox
from tests.support.platform import create_stock

HASTY = Patience(deadline_seconds=20.0, attempt_seconds=5.0, attempts_max=1)
SEND = {"appid": "wx233544546545989", "openid": "oUser-0001-of-the-tests"}


def issued(wxpay: Wechatpay, stock_id: str, number: str) -> str:
    sent = wxpay.v3.marketing.busifavor.coupons.send.post(stock_id=stock_id, out_request_no=number, **SEND)
    return sent.send_coupon_result.coupon_code


def stocked(wxpay: Wechatpay, *codes: str) -> str:
    stock_id = create_stock(wxpay, "stock-1")
    wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes.post(
        coupon_code_list=list(codes), upload_request_no="upload-1"
    )
    return stock_id


def test_a_lost_answer_after_commit_gives_one_coupon(sandbox: Sandbox, wxpay: Wechatpay) -> None:
    stock_id = stocked(wxpay, "A1", "B2")
    sandbox.faults.add("coupons.send.post", first=1, cut="after_commit", rule_id="lost")
    code = issued(wxpay, stock_id, "order-1")
    sent = sandbox.requests.find("coupons.send.post")
    assert [(one.status, one.fault) for one in sent] == [(0, "lost"), (200, "")]
    assert sent[0].request["out_request_no"] == sent[1].request["out_request_no"] == "order-1"
    stock = wxpay.v3.marketing.busifavor.stocks[stock_id].get()
    assert stock.send_count_information is not None
    assert stock.send_count_information.total_send_num == 1
    assert code in ("A1", "B2")


def test_what_is_cut_before_execution_was_not_done(sandbox: Sandbox) -> None:
    with sandbox.wechatpay(patience=HASTY) as wxpay:
        stock_id = stocked(wxpay, "A1")
        sandbox.faults.add("coupons.send.post", cut="before")
        with pytest.raises(OutcomeUnknown):
            issued(wxpay, stock_id, "order-1")
        stock = wxpay.v3.marketing.busifavor.stocks[stock_id].get()
        assert stock.coupon_code_count is not None
        assert stock.coupon_code_count.available_count == 1


@pytest.mark.parametrize(
    ("do", "problem"),
    [
        ({"cut": "after_head"}, "NoAnswer"),
        ({"truncate": 3}, "NoAnswer"),
        ({"content_length": 5}, "NoAnswer"),
        ({"non_json": True}, "NotThePlatform"),
        ({"signature": "wrong"}, "AnswerUntrusted"),
        ({"signature": "stale"}, "ClockWrong"),
        ({"signature": "unknown_serial"}, "AnswerUntrusted"),
        ({"signature": "probe"}, "AnswerUntrusted"),
        ({"signature": "absent"}, "AnswerUntrusted"),
        ({"status": 503}, "PlatformUnavailable"),
        ({"status": 500, "executed": True}, "PlatformFailed"),
        ({"error": "STATEMENT_CREATING"}, "StockNotReady"),
        ({"error": "NOT_ENOUGH"}, "NotEnough"),
        ({"status": 429, "retry_after": "absent"}, "RateLimited"),
        ({"status": 429, "retry_after": 7}, "RateLimited"),
        ({"status": 429, "retry_after": "date"}, "RateLimited"),
        ({"status": 429, "retry_after": "absurd"}, "RateLimited"),
    ],
    ids=str,
)
def test_each_fault_reaches_the_client_as_what_it_is(sandbox: Sandbox, do: dict[str, Any], problem: str) -> None:
    sandbox.faults.add("v3.certificates.get", **do)
    with sandbox.wechatpay(patience=HASTY) as wxpay, pytest.raises((OutcomeUnknown, PlatformError)) as raised:
        wxpay.v3.certificates.get()
    assert type(raised.value).__name__ == problem


def test_a_delay_and_a_dribble_are_answered_in_the_end(sandbox: Sandbox, wxpay: Wechatpay) -> None:
    stock_id = stocked(wxpay, "A1")
    sandbox.faults.add("busifavor.stocks._stock_id_.get", nth=1, delay_seconds=0.05)
    sandbox.faults.add("busifavor.stocks._stock_id_.get", nth=2, dribble_seconds=0.2)
    for _ in range(2):
        assert wxpay.v3.marketing.busifavor.stocks[stock_id].get().stock_id == stock_id
    assert [one.fault for one in sandbox.requests.find("busifavor.stocks._stock_id_.get")] == ["fault-1", "fault-2"]


@pytest.mark.parametrize(
    ("when", "hit"),
    [
        ({"first": 2}, [True, True, False, False, False, False]),
        ({"nth": 3}, [False, False, True, False, False, False]),
        ({"every": 2}, [False, True, False, True, False, True]),
        ({"times": 1}, [True, False, False, False, False, False]),
        ({"body": {"openid": "nobody"}}, [False] * 6),
    ],
    ids=str,
)
def test_a_rule_hits_the_requests_that_it_counts(sandbox: Sandbox, when: dict[str, Any], hit: list[bool]) -> None:
    sandbox.faults.add("busifavor.callbacks.get", rule_id="one", error="SYSTEM_ERROR", **when)
    answers = [sandbox.ask_as("1900000001", "GET", "/v3/marketing/busifavor/callbacks") for _ in range(6)]
    assert [one.code == "SYSTEM_ERROR" for one in answers] == hit
    assert [one.headers.get("sandbox-fault") == "one" for one in answers] == hit


def test_a_rule_shows_what_it_hit_and_has_left(sandbox: Sandbox) -> None:
    sandbox.faults.add("busifavor.callbacks.get", rule_id="one", first=3, status=500)
    sandbox.ask_as("1900000001", "GET", "/v3/marketing/busifavor/callbacks")
    (shown,) = sandbox.faults.all()
    assert (shown["matched"], shown["hits"], shown["left"]) == (1, 1, 2)


def test_a_rule_ends_by_the_sandboxs_clock(sandbox: Sandbox) -> None:
    sandbox.clock.freeze("2026-11-24T00:00:00+08:00")
    sandbox.faults.add("busifavor.callbacks.get", for_seconds=60, status=500)
    before = sandbox.ask_as("1900000001", "GET", "/v3/marketing/busifavor/callbacks").status
    sandbox.clock.shift(60)
    after = sandbox.ask_as("1900000001", "GET", "/v3/marketing/busifavor/callbacks").status
    assert (before, after) == (500, 404)


def test_the_dice_of_a_rule_are_its_own(sandbox: Sandbox) -> None:
    def thrown() -> list[int]:
        return [sandbox.ask_as("1900000001", "GET", "/v3/marketing/busifavor/callbacks").status for _ in range(12)]

    sandbox.faults.add("busifavor.callbacks.get", rule_id="half", probability=0.5, status=500)
    alone = thrown()
    sandbox.reset()
    sandbox.faults.add("certificates.get", rule_id="other", probability=0.5, status=500)
    sandbox.faults.add("busifavor.callbacks.get", rule_id="half", probability=0.5, status=500)
    sandbox.ask_as("1900000001", "GET", "/v3/certificates")
    assert thrown() == alone
    assert set(alone) == {500, 404}


@pytest.mark.parametrize(
    "rule",
    [
        {"do": {}},
        {"do": {"status": 500}, "when": {"operation": "no.such.post"}},
        {"do": {"status": 500}, "when": {"operation": "post"}},
        {"do": {"status": 500}, "whenever": {}},
        {"do": {"status": 500}, "when": {"first": 1, "nth": 2}},
        {"do": {"status": 500}, "when": {"first": 0}},
        {"do": {"cut": "sometimes"}},
        {"do": {"cut": "before", "status": 500}},
        {"do": {"retry_after": 3}},
        {"do": {"status": 500}, "probability": 2},
    ],
    ids=str,
)
def test_a_bad_rule_changes_nothing(sandbox: Sandbox, rule: dict[str, Any]) -> None:
    sandbox.faults.add(rule_id="good", status=500)
    with pytest.raises(RequestInvalid):
        sandbox.faults.replace([{"id": "other", "do": {"status": 503}}, rule])
    with pytest.raises(RequestInvalid):
        sandbox.faults.add_rule(rule)
    assert [one["id"] for one in sandbox.faults.all()] == ["good"]


def test_a_repeated_number_is_answered_again_or_read_again_or_refused(sandbox: Sandbox, wxpay: Wechatpay) -> None:
    stock_id = stocked(wxpay, "A1")

    def again() -> Any:
        return wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes.post(
            coupon_code_list=["A1"], upload_request_no="upload-1"
        )

    assert again().success_codes == ["A1"]
    sandbox.faults.replace([{"do": {"repeat": "reread"}}])
    assert again().exist_codes == ["A1"]
    sandbox.faults.replace([{"do": {"repeat": "refuse"}}])
    with pytest.raises(PlatformError, match="used before"):
        again()


def test_a_key_that_is_rotated_in_mid_run_signs_from_then_on(sandbox: Sandbox) -> None:
    sandbox.faults.add("busifavor.callbacks.get", nth=2, rotate_key=True)
    serials = []
    for _ in range(3):
        answer = sandbox._control.ask("GET", "/as/1900000001/v3/certificates?explain=1")
        serials.append(answer["answer_headers"]["Wechatpay-Serial"])
        sandbox.ask_as("1900000001", "GET", "/v3/marketing/busifavor/callbacks")
    assert serials[0] == serials[1] != serials[2]


def test_a_request_asks_for_its_own_fault_only_where_that_is_switched_on(sandbox: Sandbox) -> None:
    def asked() -> int:
        port = int(sandbox.url.rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Sandbox-Fault": "error=SYSTEM_ERROR"}
        connection.request("GET", "/_sandbox/as/1900000001/v3/certificates", headers=headers)
        status = connection.getresponse().status
        connection.close()
        return status

    before = asked()
    sandbox._control.ask("PUT", "/settings", {"fault_header": True})
    assert (before, asked()) == (200, 500)


def test_no_answer_names_the_cut(sandbox: Sandbox) -> None:
    sandbox.faults.add("busifavor.callbacks.get", cut="after_commit")
    with sandbox.wechatpay(patience=HASTY) as wxpay, pytest.raises(NoAnswer):
        wxpay.v3.marketing.busifavor.callbacks.get()
