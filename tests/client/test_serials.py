"""A fetched certificate whose serial begins with 0, however the list and the answers spell it; and an expired one."""

from __future__ import annotations

import json

import msgspec
import pytest

from quanma import Patience, Wechatpay
from quanma.client.certificates import Certificates
from quanma.client.transport import Reply
from quanma.wire import sealed, signature
from tests.client.test_client import MERCHANT, Unplugged
from tests.support.every import every_row
from tests.wire.test_keys import NOW, answer
from tests.wire.test_serials import SPELT, ZERO, certificate

APIV3_KEY = "k" * 32


def listed(name: str) -> bytes:
    envelope = {"algorithm": sealed.ALGORITHM, "nonce": "000000000001", "associated_data": "certificate"}
    text = sealed.seal(APIV3_KEY, "000000000001", "certificate", certificate(ZERO))
    dates = {"effective_time": "2019-01-01T00:00:00+08:00", "expire_time": "2024-01-01T00:00:00+08:00"}
    one = {"serial_no": name, **dates, "encrypt_certificate": {**envelope, "ciphertext": text}}
    return json.dumps({"data": [one]}).encode()


@every_row("signed_as", SPELT)
@every_row("name", SPELT)
def test_a_fetched_certificate_is_known_by_its_number(name: str, signed_as: str) -> None:
    ring = signature.KeyRing({})
    body = listed(name)
    certificates = Certificates(ring, APIV3_KEY, lambda: 0.0)
    assert certificates.learn(Reply(200, answer(signed_as, body), body), NOW) is None
    assert (ring.names, ring.preferred(NOW)) == ([name], name)


def test_a_client_asks_for_the_valid_certificate_and_encrypts_with_it() -> None:
    now = 1554208460
    pems = {"A1": certificate("A1", -2000, -100).decode(), "B2": certificate("B2").decode()}
    network = Unplugged()
    merchant = msgspec.structs.replace(MERCHANT, platform_keys=pems)
    clocks = Wechatpay(merchant, transport=network)._clocks._replace(wall=lambda: float(now))
    wxpay = Wechatpay(merchant, transport=network, clocks=clocks, patience=Patience(attempts_max=1))
    with pytest.raises(Exception, match="unplugged"):
        wxpay.chain("v3/x/y").get()
    assert network.sent[0].headers["Wechatpay-Serial"] == "B2"
    assert wxpay.encrypt("张三")[1] == "B2"
