"""`wechatpayv3`, unmodified, against `quanma serve`. Only the attribute that holds its gateway's address is set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from wechatpayv3 import WeChatPay, WeChatPayType

from tests.interop.merchant import CODES, OPENID, merchant_files, now_rfc3339
from tests.support.platform import APPID, MCHID, Served, create_stock, new_stock, served

pytestmark = [pytest.mark.interop, pytest.mark.slow]


@pytest.fixture
def certified_serving(world: Path) -> Iterator[Served]:
    """A platform that has no public key yet, and signs with its certificate whatever is asked for.

    In certificate mode wechatpayv3 names no key, and can't read an answer that a public key signed.
    """
    settings = world / "platform.toml"
    files = merchant_files(world)
    settings.write_text(
        settings.read_text()
        .replace(files.public_key_id, files.certificate_serial_no)
        .replace("platform/public_key_private.pem", "platform/certificate_private.pem")
    )
    with served(world) as running:
        yield running


def test_the_python_client_takes_its_codes_the_whole_way_with_the_public_key(serving: Served) -> None:
    files = merchant_files(serving.world)
    foreign = client(serving, public_key=files.public_key.read_text(), public_key_id=files.public_key_id)
    take_codes_the_whole_way(serving, foreign)


def test_the_python_client_takes_its_codes_the_whole_way_with_the_certificate(certified_serving: Served) -> None:
    files = merchant_files(certified_serving.world)
    folder = certified_serving.world / "known"
    folder.mkdir()
    (folder / "platform.pem").write_bytes(files.certificate.read_bytes())
    take_codes_the_whole_way(certified_serving, client(certified_serving, cert_dir=str(folder)))


def test_the_python_client_fetches_and_opens_our_certificate(certified_serving: Served) -> None:
    files = merchant_files(certified_serving.world)
    folder = certified_serving.world / "known"
    folder.mkdir()
    # Any certificate, so that it starts without asking; the first answer is signed with one that it has to fetch.
    (folder / "other.pem").write_bytes((files.private_key.parent / "apiclient_cert.pem").read_bytes())
    with certified_serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "a stock for Python")
    stock = answered(client(certified_serving, cert_dir=str(folder)).marketing_busifavor_stock_query(stock_id))
    assert stock["stock_id"] == stock_id
    assert (folder / f"{files.certificate_serial_no}.pem").read_bytes() == files.certificate.read_bytes()


def test_the_python_client_refuses_our_answer_with_another_platform_key(serving: Served) -> None:
    files = merchant_files(serving.world)
    other = merchant_files(serving.world, "1900000002").private_key.parent / "apiclient_cert.pem"
    wrong = client(serving, public_key=public_pem(other), public_key_id=files.public_key_id)
    with serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "a stock for Python")
        with pytest.raises(Exception, match="failed to verify the signature"):
            wrong.marketing_busifavor_couponcode_upload(stock_id, "python-upload-1", ["ABC9588200"])
        # The request itself was good: only the answer was not believed.
        couponcodes = wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes
        assert couponcodes.get(stock_id=stock_id).total_count == 1


def take_codes_the_whole_way(serving: Served, foreign: WeChatPay) -> None:
    """Every coupon function that wechatpayv3 has; it lists, deletes and gives out no codes, so our own client does."""
    stock_fields = msgspec.to_builtins(new_stock("a stock of Python's"))
    stock_id = answered(foreign.marketing_busifavor_stock_create(**stock_fields))["stock_id"]
    uploaded = answered(foreign.marketing_busifavor_couponcode_upload(stock_id, "python-upload-1", list(CODES)))
    assert uploaded["success_codes"] == list(CODES)
    again = answered(foreign.marketing_busifavor_couponcode_upload(stock_id, "python-upload-2", [*CODES, "NEW1"]))
    assert (again["success_codes"], again["exist_codes"]) == (["NEW1"], list(CODES))
    assert (
        answered(foreign.marketing_busifavor_stock_query(stock_id))["coupon_code_count"]["total_count"]
        == len(CODES) + 1
    )

    with serving.wechatpay() as wxpay:
        busifavor = wxpay.v3.marketing.busifavor
        couponcodes = busifavor.stocks._stock_id_.couponcodes
        assert [code.code for code in couponcodes.get(stock_id=stock_id).data] == [*CODES, "NEW1"]
        given: set[str] = set()
        for turn in range(len(CODES) + 1):
            send = busifavor.coupons.send(stock_id=stock_id, openid=OPENID, appid=APPID, out_request_no=f"send-{turn}")
            coupon_code = send.send_coupon_result.coupon_code
            given.add(coupon_code)
            assert coupon(foreign, coupon_code)["coupon_state"] == "SENDED"
            used = foreign.marketing_busifavor_coupon_use(coupon_code, now_rfc3339(), f"use-{turn}", stock_id)
            assert answered(used)["openid"] == OPENID
            assert coupon(foreign, coupon_code)["coupon_state"] == "USED"
        assert given == {*CODES, "NEW1"}
        status, refusal = foreign.marketing_busifavor_coupon_use("A 1", now_rfc3339(), "use-other", stock_id)
        assert (status, json.loads(refusal)["code"]) == (400, "RESOURCE_ALREADY_EXISTS")


def coupon(foreign: WeChatPay, coupon_code: str) -> Any:
    # It puts a path variable in as it stands, so a slash has to be escaped by its user.
    return answered(foreign.marketing_busifavor_coupon_detail(quote(coupon_code, safe=""), OPENID))


def client(serving: Served, **keys: Any) -> WeChatPay:
    files = merchant_files(serving.world)
    foreign = WeChatPay(
        WeChatPayType.MINIPROG,
        mchid=MCHID,
        private_key=files.private_key.read_text(),
        cert_serial_no=files.serial_no,
        appid=APPID,
        apiv3_key=files.apiv3_key,
        timeout=(5, 20),
        **keys,
    )
    foreign._core._gate_way = serving.url
    return foreign


def answered(answer: tuple[int, str]) -> Any:
    status, body = answer
    assert status == 200, body
    return json.loads(body)


def public_pem(certificate: Path) -> str:
    """The public key of a certificate, as PEM."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
