"""A few calls of payments, signed with the keys of a local environment: as much as docs/en/payments.md needs.

python payments_stub.py FOLDER PORT, where FOLDER was made by `quanma init`. An order is paid at once.
"""

import json
import secrets
import sys
import time
import tomllib
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from quanma.wire import sealed, signature
from quanma.wire.keys import load_private_key

FOLDER, PORT = Path(sys.argv[1]), int(sys.argv[2])
WORLD = tomllib.loads((FOLDER / "platform.toml").read_text("utf-8"))
KEY = load_private_key((FOLDER / WORLD["public_key_private"]).read_bytes(), "key")
APIV3_KEY = WORLD["merchants"][0]["apiv3_key"]


class Stub(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v3/pay/transactions/jsapi":
            paid = {
                "out_trade_no": asked["out_trade_no"],
                "transaction_id": "4200000913202101152566792388",
                "trade_state": "SUCCESS",
                "amount": {"total": asked["amount"]["total"]},
            }
            self.answer({"prepay_id": "wx201410272009395522657a690389285100"})
            tell(asked["notify_url"], "TRANSACTION.SUCCESS", paid)
        elif self.path == "/v3/refund/domestic/refunds":
            self.answer({"refund_id": "50200207182018070300011301001", "status": "PROCESSING"})
        elif self.path == "/v3/profitsharing/receivers/add":
            self.answer({"type": asked["type"], "account": asked["account"]})

    def do_GET(self) -> None:
        self.answer({"trade_state": "SUCCESS", "amount": {"total": 100}})

    def answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        for name, value in {**signing(body), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said: object) -> None: ...


def tell(url: str, event_type: str, content: dict[str, Any]) -> None:
    nonce = secrets.token_hex(6)
    resource = {
        "original_type": "transaction",
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": sealed.seal(APIV3_KEY, nonce, "transaction", json.dumps(content).encode()),
        "associated_data": "transaction",
        "nonce": nonce,
    }
    event = {
        "id": secrets.token_hex(16),
        "create_time": "2026-11-30T18:00:00+08:00",
        "event_type": event_type,
        "resource_type": "encrypt-resource",
        "summary": "支付成功",
        "resource": resource,
    }
    body = json.dumps(event).encode()
    urllib.request.urlopen(urllib.request.Request(url, body, signing(body), method="POST"), timeout=10).close()


def signing(body: bytes) -> dict[str, str]:
    now, nonce = str(int(time.time())), secrets.token_hex(16)
    made = signature.sign(KEY, signature.answer_message(now, nonce, body))
    return {
        "Wechatpay-Serial": WORLD["public_key_id"],
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Timestamp": now,
        "Wechatpay-Signature": made,
    }


with ThreadingHTTPServer(("127.0.0.1", PORT), Stub) as server:
    print(f"listening on http://127.0.0.1:{PORT}", flush=True)
    server.serve_forever()
