"""The platform's certificates, learned from the platform: one fetch at a time, and never forgotten.

An answer or event may be signed with a certificate that the settings don't name, after a rotation. The list of
certificates is sealed with the APIv3 key, which only the platform and the merchant have; and the list's own signature
must hold with one of them, or with a key that was known before. If it is signed with neither, as a platform may that
has a public key too, it is asked for again, signed with one of them.

Calls that need the list at one moment share one fetch. A list that came counts for a minute, so a forged serial costs
one fetch a minute; keys are only ever added, so it can't push one out. A fetch that failed or was cancelled counts for
nothing, but the next one waits as long as a repeat would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from ..api.certificates import CertificateList, SealedCertificate
from ..errors import AnswerUntrusted, KeyUnknown, Misconfigured, QuanmaError, SignatureInvalid
from ..wire import codec, sealed
from ..wire.keys import load_dated_key
from ..wire.signature import KeyRing, VerificationKey
from .compressed import plain
from .process import PerProcess
from .transport import Reply

FETCH_SECONDS = 60.0
REFRESH_SECONDS = 12 * 3600.0
REFRESH_AGAIN_SECONDS = 60.0
"""After a refresh that failed: it is asked for while calls go on with the keys that are there."""


class ListUnreadable(SignatureInvalid):
    """The list does not open with the APIv3 key, or holds no certificates. It will not in a second either."""


class Fetch:
    """A fetch of the list that is under way. `over` is done when it has ended, however it did."""

    def __init__(self, fetches: _Fetches, ends_at: float) -> None:
        self.fetches = fetches
        self.ends_at = ends_at
        self.problem: QuanmaError | None = None
        """Why there is no list, for all who waited for it. None: it came, or the fetch was left before its end."""
        self.over: Future[None] = Future()
        self.over.set_running_or_notify_cancel()  # So that nobody who waits for it can cancel it.


class Yours(NamedTuple):
    """The caller is to fetch, and to call `end` whatever happens."""

    fetch: Fetch


class Theirs(NamedTuple):
    """Somebody is fetching: the caller is to wait for its end."""

    fetch: Fetch


class NotBefore(NamedTuple):
    """The last fetch failed: the caller is to wait so long, and to ask again."""

    seconds: float
    problem: QuanmaError


class Certificates:
    """Decides who fetches and when, and takes what was fetched into the ring. Threads and event loops share it."""

    def __init__(self, ring: KeyRing, apiv3_key: str | None, steady: Callable[[], float]) -> None:
        self._ring = ring
        self._apiv3_key = apiv3_key
        self._steady = steady
        # In a child of a fork, no fetch of the parent's is under way.
        self._here = PerProcess(lambda: _Fetches(steady()))
        self._here.get()
        self.refresh_at = steady() + REFRESH_SECONDS
        """Before then nobody need ask for a turn to refresh. The settings' keys are as fresh as the settings."""

    @property
    def can_fetch(self) -> bool:
        return self._apiv3_key is not None

    def turn(self, ends_at: float, *, waited: bool = False) -> Yours | Theirs | NotBefore | None:
        """Whose turn it is to fetch, asked by a call that needs a key which the ring has not.

        None: nobody's. There is no APIv3 key, or the list came within the last minute and says no more than it did. A
        ring without any key is worth a fetch for every call, which could not be made otherwise. `ends_at`: the call's.
        `waited`: it was told NotBefore, and did as it was told.
        """
        if self._apiv3_key is None:
            return None
        here = self._here.get()
        with here.lock:
            now = self._steady()
            if (fetch := here.running(now)) is not None:
                return Theirs(fetch)
            if self._ring and here.listed_at is not None and now - here.listed_at < FETCH_SECONDS:
                return None
            if here.problem is not None and now < here.not_before and not waited:
                return NotBefore(here.not_before - now, here.problem)
            here.under_way = Fetch(here, ends_at)
            return Yours(here.under_way)

    def turn_to_refresh(self, ends_at: float) -> Fetch | None:
        """Return a fetch that the caller is to do, twice a day, for a ring that has certificates at all."""
        if self._apiv3_key is None or not self._ring.has_certificates:
            return None
        here = self._here.get()
        with here.lock:
            now = self._steady()
            if here.running(now) is not None or now < max(self.refresh_at, here.not_before):
                return None
            self.refresh_at = now + REFRESH_AGAIN_SECONDS
            here.under_way = Fetch(here, ends_at)
            return here.under_way

    def came(self) -> None:
        """The platform answered with its list."""
        here = self._here.get()
        with here.lock:
            now = self._steady()
            here.listed_at, self.refresh_at, here.problem = now, now + REFRESH_SECONDS, None

    def refused(self, fetch: Fetch, problem: QuanmaError) -> None:
        """The platform's answer is final, and there is no list in it."""
        here = self._here.get()
        with here.lock:
            fetch.problem, here.problem, here.listed_at = problem, None, self._steady()

    def failed(self, fetch: Fetch, problem: QuanmaError, wait_seconds: float, *, shared: bool) -> None:
        """There was no answer, repeats included. `wait_seconds`: as before another repeat.

        `shared`: those who wait for it have failed too. Else one of them goes on where this one stopped.
        """
        here = self._here.get()
        with here.lock:
            fetch.problem, here.problem = problem if shared else None, problem
            here.not_before = self._steady() + wait_seconds

    def end(self, fetch: Fetch) -> None:
        """Whoever waits may go on. Without a word before, the fetch was left, and counts for nothing."""
        here = self._here.get()
        if fetch.fetches is not here:
            return  # It is the parent's: a child drops what the parent's threads were doing.
        with here.lock:
            if here.under_way is fetch:
                here.under_way = None
        fetch.over.set_result(None)

    def learn(self, reply: Reply, now: float) -> str | None:
        """Add the certificates of a `GET /v3/certificates` answer to the ring.

        Returns None, or the certificate to ask for in Wechatpay-Serial: the list opened and is signed with a key that
        neither it nor the ring has. Nothing was added then.

        Raises:
            ListUnreadable: it does not open. Nothing was added.
            SignatureInvalid: the answer's signature holds with none of the keys. Nothing was added.
        """
        assert self._apiv3_key is not None  # Else there was no turn.
        try:
            reply = plain(reply)
            listed = codec.read_answer(codec.json_value(reply.body), CertificateList)
            newest_first = sorted(listed.data, key=lambda one: one.effective_time, reverse=True)
            found = {one.serial_no: _opened(self._apiv3_key, one) for one in newest_first}
        except (ValueError, RecursionError, Misconfigured, SignatureInvalid, AnswerUntrusted) as problem:
            raise ListUnreadable(f"the list of certificates can't be read: {problem}") from problem
        try:
            self._ring.with_more(found).verify(reply.headers, reply.body, now)
        except KeyUnknown:
            if not found:
                raise
            return newest_first[0].serial_no
        self._ring.add(found)
        return None


class _Fetches:
    """What one process knows of its fetches."""

    def __init__(self, now: float) -> None:
        self.lock = threading.Lock()
        self.under_way: Fetch | None = None
        self.listed_at: float | None = None
        self.not_before = now
        self.problem: QuanmaError | None = None

    def running(self, now: float) -> Fetch | None:
        """The fetch under way. One that is late is none: its task may be of a loop that was stopped."""
        return self.under_way if self.under_way is not None and now < self.under_way.ends_at else None


def _opened(apiv3_key: str, one: SealedCertificate) -> VerificationKey:
    envelope = one.encrypt_certificate
    pem = sealed.unseal(apiv3_key, envelope.nonce, envelope.associated_data, envelope.ciphertext)
    return load_dated_key(one.serial_no, pem)
