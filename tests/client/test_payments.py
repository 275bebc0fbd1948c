"""Beside coupons, payments: signing for the front end, sensitive fields by their names, events of any type."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from quanma.client.paysign import Channel, pay_sign
from quanma.client.sensitivefields import encrypted
from quanma.errors import RequestInvalid
from tests.client.test_exchange import KEY
from tests.support.deliveries import event_body, receiver, signing_headers
from tests.support.every import every_row
from tests.support.platform import InProcess

# Signed with openssl and the published key of tests/wire/vectors.json; wechatpayv3 2.0.4 signs the same lines alike.
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "paysign.json").read_text("utf-8"))


@every_row("vector", VECTORS, ids=lambda vector: str(vector["channel"]))
def test_what_a_front_end_gets_is_signed_as_the_vectors_say(vector: dict[str, Any]) -> None:
    assert pay_sign(KEY, **vector["given"], channel=vector["channel"]) == vector["signed"]


@pytest.mark.parametrize(
    ("channel", "lines"),
    [
        ("jsapi", ["appId", "timeStamp", "nonceStr", "package"]),
        ("mini_program", ["appId", "timeStamp", "nonceStr", "package"]),
        ("app", ["appid", "timestamp", "noncestr", "prepayid"]),
    ],
)
def test_a_signature_is_over_four_lines_and_fresh_each_time(
    platform: InProcess, channel: Channel, lines: list[str]
) -> None:
    wxpay = platform.wechatpay()
    first = wxpay.pay_sign(
        appid="wx8888888888888888", prepay_id="wx201410272009395522657a690389285100", channel=channel
    )
    again = wxpay.pay_sign(
        appid="wx8888888888888888", prepay_id="wx201410272009395522657a690389285100", channel=channel
    )
    assert first != again
    message = "".join(f"{first[name]}\n" for name in lines).encode()
    key = wxpay._identity.private_key.public_key()
    key.verify(base64.b64decode(first.get("paySign") or first["sign"]), message, PKCS1v15(), SHA256())


@pytest.mark.parametrize("bad", ["", "a b", "a\nb", "券", "x" * 129])
def test_what_could_change_the_signed_lines_is_refused(platform: InProcess, bad: str) -> None:
    wxpay = platform.wechatpay()
    with pytest.raises(RequestInvalid, match=r"^prepay_id of a payment is 1 to 128 visible characters"):
        wxpay.pay_sign(appid="wx1", prepay_id=bad)
    with pytest.raises(RequestInvalid, match=r"^appid of a payment"):
        wxpay.pay_sign(appid=bad, prepay_id="wx1")


def test_a_channel_that_is_none_is_refused(platform: InProcess) -> None:
    with pytest.raises(RequestInvalid, match="channel is jsapi, mini_program or app, not 'h5'"):
        platform.wechatpay().pay_sign(appid="wx1", prepay_id="wx2", channel="h5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@every_row(
    ("body", "names", "sealed"),
    [
        ({"user_name": "张三", "n": 1}, ["user_name"], {"user_name": "<张三>", "n": 1}),
        ({"payee": {"name": "a", "id": "b"}}, ["payee.name"], {"payee": {"name": "<a>", "id": "b"}}),
        ({"rows": [{"name": "a"}, {"name": "b"}]}, ["rows.name"], {"rows": [{"name": "<a>"}, {"name": "<b>"}]}),
        ({"phones": ["1", "2"]}, ["phones"], {"phones": ["<1>", "<2>"]}),
        ({"a": "1", "b": {"c": "2"}}, ["a", "b.c"], {"a": "<1>", "b": {"c": "<2>"}}),
        ({"a": "1"}, [], {"a": "1"}),
    ],
)
def test_named_fields_are_encrypted_where_they_stand(body: Any, names: list[str], sealed: Any) -> None:
    before = json.dumps(body)
    assert encrypted(body, names, lambda text: f"<{text}>") == sealed
    assert json.dumps(body) == before


@every_row(
    ("body", "name", "reason"),
    [
        ({"user_name": "x"}, "username", "username is named as sensitive, and the body has no such field"),
        ({"payee": {}}, "payee.name", "payee.name is named as sensitive, and the body has no such field"),
        ({"rows": [{"name": "a"}, {}]}, "rows.name", "rows.name is named as sensitive, and the body has no such field"),
        ({"rows": []}, "rows.name", "has no such field"),
        (None, "a", "has no such field"),
        ({"a": 1}, "a", "a is named as sensitive, and is no text: its type is int"),
        ({"a": {"b": "x"}}, "a", "a is named as sensitive, and is no text: its type is dict"),
    ],
)
def test_a_name_that_leads_nowhere_sends_nothing(body: Any, name: str, reason: str) -> None:
    with pytest.raises(RequestInvalid, match=reason):
        encrypted(body, [name], str)


def test_a_sensitive_field_leaves_encrypted_for_the_key_that_the_request_names(platform: InProcess) -> None:
    wxpay = platform.wechatpay()
    sent: list[Any] = []
    bridge: Any = wxpay._transport

    class Seeing:
        def send(self, request: Any, timeout_seconds: float) -> Any:
            sent.append(request)
            return bridge.send(request, timeout_seconds)

        def close(self) -> None: ...

    wxpay._transport = Seeing()
    body = {"echo_message": "hello"}
    wxpay.chain("v3/security/echo", sensitive=["echo_message"]).post(body)
    (request,) = sent
    field = json.loads(request.body)["echo_message"]
    assert field != "hello"
    assert request.headers["Wechatpay-Serial"] == wxpay.encrypt("x")[1]


def test_one_text_for_a_list_of_names_is_refused(platform: InProcess) -> None:
    with pytest.raises(RequestInvalid, match="sensitive is a list of names"):
        platform.wechatpay().chain("v3/x", sensitive="user_name")


PAID = {"transaction_id": "1217752501201407033233368018", "trade_state": "SUCCESS", "amount": {"total": 100}}


@every_row(
    ("event_type", "original_type", "content"),
    [
        ("TRANSACTION.SUCCESS", "transaction", PAID),
        ("REFUND.SUCCESS", "refund", {"refund_id": "50200207182018070300011301001", "refund_status": "SUCCESS"}),
        ("REFUND.ABNORMAL", "refund", {"refund_status": "ABNORMAL"}),
        ("REFUND.CLOSED", "refund", {"refund_status": "CLOSED"}),
        ("PAYSCORE.USER_PAID", "payscore", {"state": "DONE"}),
        ("PROFITSHARING", "profitsharing", {"mchid": "1900000001"}),
        ("COMPLAINT.CREATE", "complaint", {"complaint_id": "1"}),
        ("SOMETHING.OF.TOMORROW", "tomorrow", {"list": [1, {"a": None}]}),
    ],
)
def test_an_event_of_any_other_type_is_a_mapping(event_type: str, original_type: str, content: dict[str, Any]) -> None:
    body = event_body(content, event_type=event_type, original_type=original_type)
    event = receiver().receive(signing_headers(body), body)
    assert (event.event_type, event.content) == (event_type, content)


def test_a_payments_event_that_lacks_a_coupons_fields_is_no_coupon() -> None:
    body = event_body(PAID, event_type="", original_type="transaction")
    event = receiver().receive(signing_headers(body), body)
    assert event.content == PAID
