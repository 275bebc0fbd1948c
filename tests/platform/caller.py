"""A merchant that signs raw bytes, well or wrongly on purpose, and checks the answers' signatures."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

from quanma.client import config
from quanma.client.transport import Reply
from quanma.reasons import Reason
from quanma.wire import signature
from quanma.wire.keys import load_private_key, load_ring
from quanma.wire.signature import Authorization
from tests.contract.driver import NOW
from tests.support.platform import MCHID, merchant_config

BUSIFAVOR = "/v3/marketing/busifavor"
Headers = list[tuple[str, str]]

_nonces = itertools.count(1)


class Caller:
    def __init__(self, world: Path, mchid: str = MCHID) -> None:
        self.merchant = config.load(merchant_config(world, mchid))
        self._key = load_private_key(self.merchant.private_key.encode(), "private_key")
        self.ring = load_ring({name: pem.encode() for name, pem in self.merchant.platform_keys.items()})

    def authorization(self, method: str, target: str, body: bytes = b"", *, now: int = NOW, **fields: str) -> str:
        """The header's value. `fields` replace what is signed and sent; `signature` replaces the signature itself."""
        nonce = fields.get("nonce_str", f"{next(_nonces):032}")
        timestamp = fields.get("timestamp", str(now))
        message = signature.request_message(method, target, timestamp, nonce, body)
        signed = {
            "mchid": self.merchant.mchid,
            "serial_no": self.merchant.serial_no,
            "nonce_str": nonce,
            "timestamp": timestamp,
            "signature": signature.sign(self._key, message),
        }
        return signature.authorization(Authorization(**{**signed, **fields}))

    def headers(self, method: str, target: str, body: bytes = b"", **options: Any) -> Headers:
        return [("Authorization", self.authorization(method, target, body, **options))]

    def check(self, reply: Reply, *, now: int = NOW) -> Any:
        """Return the answer's JSON. It must be signed, and an error must be one of the documented form."""
        self.ring.verify(reply.headers, reply.body, now)
        headers = {name.lower(): value for name, value in reply.headers}
        # Of 商品券, the number says why: see quanma.reasons.
        endings = [0] if reply.status_code < 300 else [reply.status_code, *map(int, Reason)]
        assert re.fullmatch(rf"[0-9A-F]{{32}}-({'|'.join(map(str, endings))})", headers["request-id"])
        if reply.status_code == 204:
            assert reply.body == b""
            return None
        content = json.loads(reply.body)
        if reply.status_code >= 300:
            assert {"code", "message"} <= content.keys() <= {"code", "message", "detail"}
            assert all(isinstance(content[name], str) and content[name] for name in ("code", "message"))
        return content


def upload_body(codes: list[str], no: str = "u1") -> bytes:
    return json.dumps({"coupon_code_list": codes, "upload_request_no": no}).encode()


def couponcodes(stock_id: str) -> str:
    return f"{BUSIFAVOR}/stocks/{stock_id}/couponcodes"
