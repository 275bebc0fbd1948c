"""`wechatpay-axios-plugin`, unmodified, against `quanma serve`: it signs what we take, and takes what we sign."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quanma import Wechatpay, errors
from tests.interop.merchant import CODES, OPENID, merchant_files, now_rfc3339
from tests.support.platform import APPID, MCHID, Served, create_stock

NODE = Path(__file__).parent / "node"
WITHOUT_NODE = os.environ.get("QUANMA_WITHOUT_NODE", "")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.slow,
    pytest.mark.skipif(bool(WITHOUT_NODE), reason=f"no Node client: {WITHOUT_NODE}"),
]


@pytest.mark.parametrize("kind", ["public key", "certificate"])
def test_the_node_client_takes_its_codes_the_whole_way(serving: Served, kind: str) -> None:
    with serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "a stock for Node")
        story = run("story.mjs", config(serving, kind), stock_id=stock_id, deleted=["B/2", " "], use_time=now_rfc3339())

        (uploaded,) = story["uploaded"]
        assert uploaded["success_codes"] == list(CODES)
        assert (uploaded["success_count"], uploaded["fail_count"]) == (len(CODES), 0)
        (stock,) = story["stock"]
        assert stock["coupon_code_count"] == {"total_count": len(CODES), "available_count": len(CODES)}
        (page,) = story["page"]
        assert [code["code"] for code in page["data"]] == list(CODES)
        assert [shown["code_information"]["code"] for shown in story["shown"]] == list(CODES)
        assert [deleted["stock_id"] for deleted in story["deleted"]] == [stock_id, stock_id]
        sent = story["sent"][0]["send_coupon_result"]["coupon_code"]
        assert sent in set(CODES) - {"B/2", " "}
        assert [coupon["coupon_state"] for coupon in story["coupon"]] == ["SENDED", "USED"]
        assert story["used"][0]["openid"] == OPENID

        # What the platform holds now, in the words of our own client.
        couponcodes = wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes
        listed = couponcodes.get(stock_id=stock_id, limit=100)
        assert {code.code for code in listed.data} == set(CODES) - {"B/2", " "}
        assert [code.code for code in listed.data if code.code_status == "DISPATCHED"] == [sent]
        coupon = couponcodes._coupon_code_.get(stock_id=stock_id, coupon_code=sent).coupon_information
        assert coupon is not None
        assert coupon.coupon_state == "USED"


def test_the_node_client_opens_our_certificates(serving: Served) -> None:
    told = run("certificates.mjs", config(serving, "public key"))
    files = merchant_files(serving.world)
    assert told["certificate"] == [{"serial_no": files.certificate_serial_no, "pem": files.certificate.read_text()}]


def test_the_node_client_refuses_our_answer_with_another_platform_key(serving: Served) -> None:
    with serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "a stock for Node")
        wrong = config(serving, "public key")
        files = merchant_files(serving.world)
        wrong["platform_keys"] = {files.public_key_id: str(files.certificate)}
        (refused,) = run("refused.mjs", wrong, stock_id=stock_id)["refused"]
        assert refused["code"] == "EV3_RES_HEADER_SIGNATURE_DIGEST"
        # The request itself was good: only the answer was not believed.
        assert count_codes(wxpay, stock_id) == len(CODES)


def test_the_node_client_shows_our_refusal_of_a_foreign_signature(serving: Served) -> None:
    with serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "a stock for Node")
        other = merchant_files(serving.world, "1900000002")
        told = run(
            "refused.mjs", config(serving, "public key") | {"private_key": str(other.private_key)}, stock_id=stock_id
        )
        (refused,) = told["refused"]
        assert (refused["status"], refused["body"]["code"]) == (401, errors.SignError.error_code)
        assert count_codes(wxpay, stock_id) == 0


def count_codes(wxpay: Wechatpay, stock_id: str) -> int:
    return wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes.get(stock_id=stock_id).total_count


def config(serving: Served, kind: str) -> dict[str, Any]:
    files = merchant_files(serving.world)
    keys = {
        "public key": {files.public_key_id: str(files.public_key)},
        "certificate": {files.certificate_serial_no: str(files.certificate)},
    }[kind]
    return {
        "base_url": serving.url,
        "mchid": MCHID,
        "serial_no": files.serial_no,
        "private_key": str(files.private_key),
        "apiv3_key": files.apiv3_key,
        "platform_keys": keys,
        "ask_for": files.certificate_serial_no if kind == "certificate" else None,
        "codes": CODES,
        "openid": OPENID,
        "appid": APPID,
    }


def run(script: str, settings: dict[str, Any], **more: Any) -> dict[str, list[Any]]:
    """Run a script of tests/interop/node and return what it told, by step."""
    ended = subprocess.run(
        ["node", script],
        cwd=NODE,
        env=os.environ | {"INTEROP": json.dumps(settings | more)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, list[Any]] = {}
    for line in ended.stdout.splitlines():
        one = json.loads(line)
        told.setdefault(one["step"], []).append(one["data"])
    return told
