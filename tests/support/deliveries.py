"""Events as the platform posts them, signed with the published key and sealed with the published APIv3 key."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from quanma.client.events import Receiver
from quanma.wire import keys, sealed, signature

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "wire" / "vectors.json").read_text("utf-8"))
DER = base64.b64decode(VECTORS["sha256_rsa2048_sign"]["private_key_pkcs8_der_base64"])
PEM = keys.private_pem(DER, "the published key").encode()
KEY = keys.load_private_key(PEM, "the published key")
SERIAL = "PUB_KEY_ID_0119000000012026112400000000000000"
APIV3_KEY: str = VECTORS["aead_aes_gcm"][0]["key"]
NOW = 1554208460
SENT: dict[str, Any] = {
    "event_type": "EVENT_TYPE_BUSICOUPON_SEND",
    "coupon_code": "AB/C 1",
    "stock_id": "98065001",
    "send_time": "2019-12-05T09:42:29+08:00",
    "send_channel": "BUSICOUPON_SEND_CHANNEL_PAYGIFT",
    "send_merchant": "1900000001",
    "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    "attach_info": {"transaction_id": "4200000462220200226114599"},
}


def receiver(*, apiv3_key: str = APIV3_KEY, now: float = NOW) -> Receiver:
    return Receiver(signature.KeyRing({SERIAL: KEY.public_key()}), apiv3_key, lambda: now)


def event_body(content: bytes | dict[str, Any] = SENT, apiv3_key: str = APIV3_KEY, **changes: Any) -> bytes:
    """The envelope. `changes` are fields of it, or of its resource."""
    plaintext = content if isinstance(content, bytes) else json.dumps(content).encode()
    resource = {
        "original_type": "coupon",
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": sealed.seal(apiv3_key, "3ed86f6a0c2f", "coupon", plaintext),
        "associated_data": "coupon",
        "nonce": "3ed86f6a0c2f",
    }
    envelope = {
        "id": "8b33f79f-8869-5ae5-b41b-3c0b59f957d0",
        "create_time": "2019-12-12T16:54:38+08:00",
        "event_type": "COUPON.SEND",
        "resource_type": "encrypt-resource",
        "summary": "商家券领券通知",
    }
    resource |= {name: value for name, value in changes.items() if name in resource}
    envelope |= {name: value for name, value in changes.items() if name not in resource}
    return json.dumps({**envelope, "resource": resource}).encode()


def signing_headers(body: bytes, *, timestamp: int = NOW, serial: str = SERIAL) -> dict[str, str]:
    nonce = "593BEC0C930BF1AFEB40B4A08C8FB242"
    return {
        "Content-Type": "application/json",
        "Wechatpay-Serial": serial,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Timestamp": str(timestamp),
        "Wechatpay-Signature": signature.sign(KEY, signature.answer_message(str(timestamp), nonce, body)),
    }
