"""The platform's certificates, learned from the platform: at most once a minute, and never forgotten.

An answer or event may be signed with a certificate that the settings don't name, after a rotation. The list of
certificates is sealed with the APIv3 key, which only the platform and the merchant have; and the list's own signature
must hold with one of them, or with a key that was known before. If it is signed with neither, as a platform may that
has a public key too, it is asked for again, signed with one of them. A forged serial costs one fetch a minute and can't
push a key out: keys are only ever added.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..api import answers
from ..api.certificates import CertificateList, SealedCertificate
from ..errors import AnswerUntrusted, KeyUnknown, Misconfigured, SignatureInvalid
from ..wire import codec, sealed
from ..wire.keys import KeyRing, VerificationKey, load_dated_key
from .compressed import plain
from .transport import Reply

FETCH_SECONDS = 60.0
REFRESH_SECONDS = 12 * 3600.0


class Certificates:
    """Decides when to fetch, and takes what was fetched into the ring."""

    def __init__(self, ring: KeyRing, apiv3_key: str | None, steady: Callable[[], float]) -> None:
        self._ring = ring
        self._apiv3_key = apiv3_key
        self._steady = steady
        self._lock = threading.Lock()
        self._fetched_at: float | None = None
        self._fresh_at = steady()  # The settings' keys are as fresh as the settings.

    @property
    def can_fetch(self) -> bool:
        return self._apiv3_key is not None

    def claim_fetch(self, *, unknown_key: bool) -> bool:
        """Whether the caller is to fetch now. True at most once a minute, to one caller.

        `unknown_key`: an answer was signed with a key that is not in the ring. Otherwise it is the half-daily refresh
        of a ring that has certificates at all.
        """
        if self._apiv3_key is None or not (unknown_key or self._ring.has_certificates):
            return False
        with self._lock:
            now = self._steady()
            if unknown_key:
                due = self._fetched_at is None or now - self._fetched_at >= FETCH_SECONDS
            else:
                due = now - self._fresh_at >= REFRESH_SECONDS
            if due:
                self._fetched_at = self._fresh_at = now
            return due

    def learn(self, reply: Reply, now: float) -> str | None:
        """Add the certificates of a `GET /v3/certificates` answer to the ring.

        Returns None, or the certificate to ask for in Wechatpay-Serial: the list opened and is signed with a key that
        neither it nor the ring has. Nothing was added then.

        Raises:
            SignatureInvalid: none opens, or the answer's signature holds with none of the keys. Nothing was added.
        """
        if reply.status_code != 200 or self._apiv3_key is None:
            raise SignatureInvalid(f"the list of certificates was answered with HTTP {reply.status_code}")
        try:
            reply = plain(reply)
            listed = answers.read(codec.json_value(reply.body), CertificateList)
            newest_first = sorted(listed.data, key=lambda one: one.effective_time, reverse=True)
            found = {one.serial_no: _opened(self._apiv3_key, one) for one in newest_first}
        except (ValueError, RecursionError, Misconfigured, AnswerUntrusted) as problem:
            raise SignatureInvalid(f"the list of certificates can't be read: {problem}") from problem
        try:
            self._ring.with_more(found).verify(reply.headers, reply.body, now)
        except KeyUnknown:
            if not found:
                raise
            return newest_first[0].serial_no
        self._ring.add(found)
        return None


def _opened(apiv3_key: str, one: SealedCertificate) -> VerificationKey:
    envelope = one.encrypt_certificate
    pem = sealed.unseal(apiv3_key, envelope.nonce, envelope.associated_data, envelope.ciphertext)
    return load_dated_key(one.serial_no, pem)
