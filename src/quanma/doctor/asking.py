"""What the doctor asks the platform: its certificates, and the echo (documented: 商户签名验签/加解密测试).

Neither changes anything there. Where the platform is not WeChat Pay itself, a code is looked up that does not exist.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ..api.certificates import Certificates
from ..api.couponcodes import CouponCodeNode
from ..api.security import Echo
from ..client.exchange import Identity, signed_request
from ..client.transport import Reply
from ..errors import QuanmaError
from ..wire.codec import Parts
from .subject import Subject

log = logging.getLogger("quanma.doctor")
log.addHandler(logging.NullHandler())

LIST_CERTIFICATES = Parts("GET", Certificates.path, b"")
ECHO = Parts("POST", Echo.path, b'{"echo_message":"quanma doctor"}')
ODD_ECHO = Parts("POST", Echo.path, '{ "echo_message" : "quanma \\u5238\\u7801 券码 \\/ 1.0" }\n'.encode())
"""JSON that nobody spells so who has read it and writes it again: blanks, escapes, a line end."""
ODD_CODE = Parts("GET", CouponCodeNode.path.format(stock_id="1", coupon_code="A%2FB%7CC%3DD%20E"), b"")
"""A code as codes may be: what tidies up paths spells it anew."""


def send(subject: Subject, parts: Parts, wanted: str | None, seconds: float) -> Reply:
    """Send a signed request once and return the answer, whatever it says. A line in the log tells of it.

    `wanted`: the key that is to sign the answer.

    Raises:
        NotSent, NoAnswer, Misconfigured: as `Transport.send`.
    """
    identity = Identity(subject.good("mchid"), subject.good("serial_no"), subject.private_key, subject.ring)
    request = signed_request(identity, subject.hosts[0], parts, subject.clocks.wall(), wanted)
    began = subject.clocks.steady()
    try:
        reply = subject.transport().send(request, seconds)
    except QuanmaError as problem:
        log.warning("%s %s: %s", parts.verb, parts.target, type(problem).__name__)
        raise
    took = (subject.clocks.steady() - began) * 1000
    request_id = headers_of(reply).get("request-id", "-")[:64]
    log.info("%s %s: %d in %.0f ms, Request-ID %s", parts.verb, parts.target, reply.status_code, took, request_id)
    return reply


def headers_of(reply: Reply) -> Mapping[str, str]:
    return {name.lower(): value for name, value in reply.headers}
