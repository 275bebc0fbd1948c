"""Events sent again as a receiver must live with them: twice, late, forged, in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from ..client.network import AsyncHttpTransport
from ..client.transport import Request
from ..errors import OutcomeUnknown, QuanmaError, RequestInvalid
from ..wire import signature
from .journal import Delivery

if TYPE_CHECKING:
    from .app import SandboxApp

SECONDS = 5.0
"""As the platform waits."""
LATE_SECONDS = 360
Kind = Literal["duplicate", "late", "forged", "unknown_serial", "probe"]


class Redeliver(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    deliveries: list[str]
    """Ids of the journal, in the order in which they are sent."""
    kind: Kind = "duplicate"
    """The same body under a new signature; one that is 6 minutes old; of other bytes; of no known key; a probe."""


async def send(sandbox: SandboxApp, number: str, kind: Kind) -> Delivery:
    """Send one again, and note it. Raises RequestInvalid: there is none."""
    first = sandbox.deliveries.get(number)
    if first is None:
        raise RequestInvalid(f"there is no delivery {number!r}: GET /_sandbox/deliveries lists them")
    headers = dict(first.headers) | _signed(sandbox, first.body.encode(), kind)
    status, problem = 0, ""
    transport = AsyncHttpTransport()
    try:
        reply = await transport.send(Request("POST", first.url, headers, first.body.encode()), SECONDS)
        status = reply.status_code
    except (OutcomeUnknown, QuanmaError) as failed:
        problem = str(failed)
    finally:
        await transport.close()
    sent = Delivery(
        id=sandbox.deliveries.next_id(),
        at=sandbox.clock(),
        event=first.event,
        merchant=first.merchant,
        url=first.url,
        kind=kind,
        status=status,
        problem=problem,
        headers=list(headers.items()),
        body=first.body,
    )
    sandbox.deliveries.add(sent)
    return sent


def _signed(sandbox: SandboxApp, body: bytes, kind: Kind) -> dict[str, str]:
    now = int(sandbox.clock()) - (LATE_SECONDS if kind == "late" else 0)
    over = body + b" " if kind in ("forged", "probe") else body
    signed = dict(sandbox.world.keystore.sign(None, str(now), over))
    if kind == "unknown_serial":
        signed["Wechatpay-Serial"] = "PUB_KEY_ID_" + "9" * 34
    if kind == "probe":
        signed["Wechatpay-Signature"] = signature.PROBE + signed["Wechatpay-Signature"]
    return signed
