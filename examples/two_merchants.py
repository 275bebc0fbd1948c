"""Two merchants in one process: a client for each, and each event to the receiver that can verify and open it."""

import os
from pathlib import Path

from quanma import Wechatpay
from quanma.errors import SignatureInvalid
from quanma.events import Event, Receiver

SHOPS = Path(os.environ.get("SHOPS", "merchants"))
clients = {folder.name: Wechatpay.from_config(folder / "quanma.toml") for folder in sorted(SHOPS.iterdir())}
receivers = {folder.name: Receiver.from_config(folder / "quanma.toml") for folder in sorted(SHOPS.iterdir())}


def received(mchid: str, headers: dict[str, str], body: bytes) -> Event:
    """The event of a merchant whose callback address is /events/<mchid>. Raises SignatureInvalid: it is not his."""
    if mchid not in receivers:
        raise SignatureInvalid(f"no merchant {mchid} here")
    return receivers[mchid].receive(headers, body)


if __name__ == "__main__":
    for mchid, wxpay in clients.items():
        with wxpay:
            print(mchid, wxpay.v3.certificates.get.raw().status_code)
