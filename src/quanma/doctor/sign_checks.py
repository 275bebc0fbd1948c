"""Checks of the clock and of signatures, both ways: what the platform thinks of ours, and whether its own hold."""

from __future__ import annotations

import contextlib
from email.utils import parsedate_to_datetime

from ..client import between
from ..client.certificates import Certificates, ListUnreadable
from ..client.compressed import plain
from ..client.transport import Reply
from ..errors import ClockSkewed, KeyUnknown, PlatformError, QuanmaError, SignatureInvalid
from ..wire import codec, signature
from .asking import ECHO, LIST_CERTIFICATES, ODD_CODE, ODD_ECHO, headers_of, send
from .check import Check, LeftOut, Outcome, failed, passed, skipped, warned
from .subject import Subject

CLOCK_WARN_SECONDS = 30
"""Our choice: a tenth of what is allowed."""
ASK_SECONDS = 4.0
_MERCHANT_CERTIFICATES = "商户平台 → 账户中心 → API安全 → 商户API证书 → 管理证书"
_PUBLIC_KEY = "商户平台 → 账户中心 → API安全 → 微信支付公钥"
_SET_CLOCK = "sudo timedatectl set-ntp true"


def _clock(subject: Subject) -> Outcome:
    off = _ahead_seconds(subject)
    if off is None:
        return skipped("the answer has no Date")
    told = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the platform's"
    if abs(off) > signature.WINDOW_SECONDS:
        return failed(f"this machine's clock is {told}: {signature.WINDOW_SECONDS} s are allowed", _SET_CLOCK)
    if abs(off) > CLOCK_WARN_SECONDS:
        return warned(f"this machine's clock is {told}: {signature.WINDOW_SECONDS} s are allowed", _SET_CLOCK)
    return passed("as the platform's" if abs(off) < 2 else told)


def _ahead_seconds(subject: Subject) -> float | None:
    """How far this machine's clock is ahead of the one that answers, by its Date."""
    date = headers_of(_listed(subject)).get("date")
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    return subject.sent_at + subject.took / 2 - theirs


def _listed(subject: Subject) -> Reply:
    if subject.listed is None:
        raise LeftOut("the platform has not answered")
    return subject.listed


def _refusal(subject: Subject, parts: codec.Parts, reply: Reply, path: str) -> str | None:
    """What the platform, or who stands between, has against the request's signature. None: nothing."""
    if reply.status_code != 401:
        return None
    error = codec.decode_error(401, headers_of(reply), reply.body, verified=False, now=subject.sent_at)
    assert isinstance(error, PlatformError)
    error.hint = between.what_changed(parts, path, error.detail)
    return str(error).partition(f"; {between.WAY_OUT}")[0]


def _request(subject: Subject) -> Outcome:
    refused = _refusal(subject, LIST_CERTIFICATES, _listed(subject), LIST_CERTIFICATES.target)
    if refused is None:
        return passed("the platform takes this merchant's signature")
    if "changed on the way" in refused:
        return failed(refused, between.WAY_OUT)
    return failed(
        refused,
        f"{_MERCHANT_CERTIFICATES}: the serial there is to be serial_no, the certificate not 作废, and private_key "
        "the key that was made with it; before a platform of one's own, see that its proxy leaves Authorization alone",
    )


def _apiv3(subject: Subject) -> Outcome:
    """The list of certificates is sealed with the APIv3 key: nothing else proves it without an event."""
    apiv3_key, reply = subject.good("apiv3_key"), _listed(subject)
    if reply.status_code != 200:
        return skipped("the platform has no certificates for this merchant, and only they prove the key")
    try:
        wanted = _learn(subject, apiv3_key, reply)
    except ListUnreadable as problem:
        return _does_not_open(subject, reply, problem)
    except SignatureInvalid:
        return passed("it opens the platform's certificates")  # Whether they hold is another check's.
    if wanted is not None:
        with contextlib.suppress(QuanmaError):
            _learn(subject, apiv3_key, plain(send(subject, LIST_CERTIFICATES, wanted, ASK_SECONDS / 2)))
    if b'"data":[]' in reply.body.replace(b" ", b""):
        return skipped("the platform has no certificates for this merchant, and only they prove the key")
    return passed("it opens the platform's certificates")


def _learn(subject: Subject, apiv3_key: str, reply: Reply) -> str | None:
    """As `Certificates.learn`. Where no key of the platform is set, what is learned is used from then on."""
    ring = subject.ring.with_more({}) if subject.platform_names else subject.ring
    return Certificates(ring, apiv3_key, subject.clocks.steady).learn(reply, subject.clocks.wall())


def _does_not_open(subject: Subject, reply: Reply, problem: ListUnreadable) -> Outcome:
    mend = "商户平台 → 账户中心 → API安全 → APIv3密钥: it can't be looked up, so set it anew, here and there"
    try:
        _learn(subject, subject.good("apiv2_key"), reply)
    except (LeftOut, ListUnreadable):
        return failed(f"the platform's certificates do not open with apiv3_key: {problem}", mend)
    except SignatureInvalid:
        pass
    return failed(
        "the platform's certificates open with apiv2_key, and not with apiv3_key: the two stand in each other's place",
        f"swap {subject.where('apiv3_key')} and {subject.where('apiv2_key')}",
    )


def _answer(subject: Subject) -> Outcome:
    """Each of the platform's keys is asked for by name."""
    names = subject.ring.names
    if not names:
        raise LeftOut("there is no key of the platform to verify with")
    held: list[str] = []
    for name in names:
        try:
            reply = plain(send(subject, ECHO, name, ASK_SECONDS / 2))
        except QuanmaError as problem:
            return failed(str(problem), "quanma doctor network")
        if (told := _verified(subject, name, reply)) is not None:
            return told
        if headers_of(reply).get("wechatpay-signature"):
            held.append(name)
    if not held:
        return skipped("the platform signs no refusals, so there was nothing to verify")
    return passed(f"signatures hold: {', '.join(held)}")


def _verified(subject: Subject, name: str, reply: Reply) -> Outcome | None:
    """What is wrong with the signature of an answer that was to be signed with this key. None: nothing."""
    headers = headers_of(reply)
    if "wechatpay-signature" not in headers and reply.status_code >= 400:
        return None
    signer = headers.get("wechatpay-serial", "")[:64]
    place = _PUBLIC_KEY if name.startswith("PUB_KEY_ID_") else f"{_PUBLIC_KEY}, or take {name} out: it is fetched"
    try:
        subject.ring.verify(reply.headers, reply.body, subject.clocks.wall())
    except KeyUnknown:
        if signer.startswith("PUB_KEY_ID_"):
            return failed(
                f"the platform signs with {signer}, which is not in platform_keys: this merchant uses a public key",
                f'{_PUBLIC_KEY}: pub_key.pem, and in [merchant.platform_keys] "{signer}" = "pub_key.pem"',
            )
        return failed(
            f"asked for {name}, the platform signs with {signer}, which is not in platform_keys",
            f"{place}; with apiv3_key, certificates are fetched",
        )
    except ClockSkewed as problem:
        return failed(str(problem), _SET_CLOCK)
    except SignatureInvalid as problem:
        if "SIGNTEST" in str(problem):
            return None  # Wrong on purpose.
        return failed(
            f"the answer signed with {signer} does not verify: {problem}",
            f"{place}: download it again; if it is the same, something in between rewrites answers: {between.WAY_OUT}",
        )
    if signature.same_key(signer) != signature.same_key(name):
        return warned(f"the platform does not know {name}: asked for it, it signs with {signer}", place)
    return None


def _body(subject: Subject) -> Outcome:
    """The echo, in a spelling that does not survive being read and written again."""
    try:
        reply = send(subject, ODD_ECHO, subject.ring.preferred(subject.clocks.wall()), ASK_SECONDS - 0.5)
    except QuanmaError as problem:
        return failed(str(problem), "quanma doctor network")
    refused = _refusal(subject, ODD_ECHO, reply, ODD_ECHO.target)
    if refused is None:
        return passed("a body arrives as it was sent")
    return failed(
        f"a request without a body is taken, and one with a body is not: it was changed on the way: {refused}",
        between.WAY_OUT,
    )


def _path(subject: Subject) -> Outcome:
    if subject.is_wechat_pays:
        return skipped("WeChat Pay itself is called, and nothing of one's own stands before it")
    try:
        reply = send(subject, ODD_CODE, subject.ring.preferred(subject.clocks.wall()), ASK_SECONDS - 0.5)
    except QuanmaError as problem:
        return failed(str(problem), "quanma doctor network")
    refused = _refusal(subject, ODD_CODE, reply, "/v3/marketing/busifavor/stocks/{stock_id}/couponcodes/{coupon_code}")
    if refused is not None:
        return failed(refused, between.WAY_OUT)
    foreign = between.from_in_between(reply, headers_of(reply), ODD_CODE.target, subject.sent_at)
    if foreign is not None:
        return failed(str(foreign).partition("; correct what")[0], between.WAY_OUT)
    return passed("a path with escapes arrives as it was sent")


_KEYS = ("keys.pair", "keys.serial", "keys.owner", "keys.expiry", "clock.offset")
CHECKS = (
    Check("clock.offset", "this machine's clock", _clock, ("network.platform",)),
    Check("sign.request", "the platform takes our signature", _request, ("network.platform", *_KEYS)),
    Check(
        "apiv3.opens",
        "the APIv3 key opens what the platform seals",
        _apiv3,
        ("apiv3.form", "sign.request"),
        seconds=5.0,
    ),
    Check(
        "sign.answer",
        "the platform's signatures hold",
        _answer,
        ("platform-keys.form", "platform-keys.dates", "sign.request"),
        ("apiv3.opens",),
        seconds=ASK_SECONDS,
    ),
    Check("sign.body", "bodies arrive as they were sent", _body, ("sign.request",), seconds=ASK_SECONDS),
    Check("sign.path", "paths arrive as they were sent", _path, ("sign.request",), seconds=ASK_SECONDS),
)
