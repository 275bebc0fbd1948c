"""A certificate's serial is a number: leading zeros and case make no other key. And which certificate is preferred."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from quanma.errors import Misconfigured
from quanma.platform.keys.keystore import KeyStore, Merchant
from quanma.wire import keys, signature
from quanma.wire.signature import KeyRing, VerificationKey
from tests.support.every import every_row
from tests.wire.test_keys import BODY, KEY, NOW, answer

ZERO = "0ECDC18480F1971C9C89BFED499A998D6F71BA5C"
"""As openssl prints it."""
SPELT = [ZERO, ZERO.lower(), ZERO[1:], f"00{ZERO}", ZERO[1:].lower()]
DAY = datetime.timedelta(days=1)
TODAY = datetime.datetime.fromtimestamp(NOW, datetime.UTC)


def certificate(serial: str, begins: int = -100, ends: int = 1700) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "platform")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    made = made.serial_number(int(serial, 16)).not_valid_before(TODAY + begins * DAY)
    return made.not_valid_after(TODAY + ends * DAY).sign(KEY, SHA256()).public_bytes(Encoding.PEM)


@every_row("on_the_wire", SPELT)
@every_row("given", SPELT)
def test_a_serial_is_equal_as_its_number_is(given: str, on_the_wire: str) -> None:
    ring = keys.load_ring({given: certificate(ZERO)})
    ring.verify(answer(on_the_wire), BODY, NOW)
    assert (ring.names, ring.preferred(NOW), ring.knows(on_the_wire)) == ([given], given, True)
    assert ring.key(on_the_wire) == KEY.public_key()


@every_row("name", [ZERO[:-1], f"{ZERO}0", f"1{ZERO}", ":".join([ZERO[:2], ZERO[2:]]), str(int(ZERO, 16))])
def test_another_number_is_another_serial(name: str) -> None:
    with pytest.raises(Misconfigured, match=f"has serial {ZERO}: name it so"):
        keys.load_ring({name: certificate(ZERO)})


@every_row("name", ["pub_key_id_01", "PUB_KEY_ID_001", "PUB_KEY_ID_0A"])
def test_a_public_keys_name_is_compared_to_the_letter(name: str) -> None:
    assert not KeyRing({"PUB_KEY_ID_01": KEY.public_key(), "PUB_KEY_ID_0a": KEY.public_key()}).knows(name)


def test_a_key_that_is_learned_under_another_spelling_is_the_same_key_and_keeps_its_first_name() -> None:
    ring = keys.load_ring({ZERO[1:]: certificate(ZERO)})
    ring.add({ZERO: KEY.public_key()})
    assert ring.names == [ZERO[1:]]
    more = ring.with_more({ZERO.lower(): KEY.public_key(), "AB": KEY.public_key()})
    assert sorted(more.names) == ["AB", ZERO[1:]]


@every_row(("number", "named"), [("ECD", "0ECD"), ("1", "01"), ("F5765756002FDD77", "F5765756002FDD77"), ("80", "80")])
def test_a_certificate_is_named_as_openssl_names_it(number: str, named: str) -> None:
    facts = keys.certificate_facts(certificate(number), "platform_cert.pem")
    assert facts.serial_no == named


@every_row("spelt", SPELT)
def test_the_platform_believes_a_merchant_however_its_serial_is_spelt(spelt: str) -> None:
    merchant = Merchant("1900000001", "k" * 32, {signature.same_key(ZERO): KEY.public_key()})
    keystore = KeyStore({}, [], [], {"1900000001": merchant})
    message = signature.request_message("GET", "/v3/x", "1554208460", "N" * 32, b"")
    fields = signature.Authorization("1900000001", spelt, "N" * 32, "1554208460", signature.sign(KEY, message))
    assert keystore.verify("GET", "/v3/x", [signature.authorization(fields)], b"", NOW) is merchant


@every_row("asked", SPELT)
def test_the_platform_signs_with_the_certificate_that_is_asked_for_and_names_it_its_own_way(asked: str) -> None:
    keystore = KeyStore({"PUB_KEY_ID_01": KEY, ZERO: KEY}, [], [], {})
    assert keystore.signer(asked, int(NOW)) == ZERO


A, B, C = "A1", "B2", "C3"


@every_row(
    ("certificates", "preferred"),
    [
        ({A: (-2000, -100), B: (-100, 1700)}, B),
        ({B: (-100, 1700), A: (-2000, -100)}, B),
        ({A: (10, 1700), B: (-100, 1700)}, B),
        ({A: (-1000, 800), B: (-10, 1800), C: (5, 1900)}, B),
        ({B: (-10, 1800), A: (-1000, 800)}, B),
        ({A: (-2000, -100), B: (-2000, -50)}, B),
        ({A: (-2000, 0), B: (-2000, 1)}, B),
    ],
)
def test_the_latest_certificate_that_is_valid_is_asked_for(
    certificates: dict[str, tuple[int, int]], preferred: str
) -> None:
    ring = keys.load_ring({name: certificate(name, *dates) for name, dates in certificates.items()})
    assert ring.preferred(NOW) == preferred


def test_a_public_key_comes_before_any_certificate_and_the_first_of_several_before_the_others() -> None:
    ring = KeyRing(
        {A: VerificationKey(KEY.public_key()), "PUB_KEY_ID_2": KEY.public_key(), "PUB_KEY_ID_1": KEY.public_key()}
    )
    assert ring.preferred(NOW) == "PUB_KEY_ID_2"


def test_an_expired_certificate_still_verifies_what_it_signed() -> None:
    keys.load_ring({A: certificate(A, -2000, -100)}).verify(answer(A), BODY, NOW)


@every_row("what", ["public key", "certificate"])
def test_a_key_of_the_platform_is_read_in_every_form_that_is_plain(what: str) -> None:
    pem = (certificate(A) if what == "certificate" else keys.public_pem(KEY)).decode()
    body = "".join(pem.strip().splitlines()[1:-1])
    name = A if what == "certificate" else "PUB_KEY_ID_01"
    for form in (
        pem,
        body,
        f'"{pem}"',
        "\ufeff" + pem,
        pem.replace("\n", "\\n"),
        pem.replace("-----", "—"),
        f"x\n{pem}",
    ):
        assert keys.load_verification_key(name, form.encode()) == KEY.public_key()
        assert keys.load_ring({name: keys.verification_pem(name, form.encode()).encode()}).names == [name]


def test_a_world_is_made_with_names_that_openssl_prints(made_world: Path) -> None:
    for path in made_world.rglob("*cert*.pem"):
        if b"CERTIFICATE" in path.read_bytes():
            assert len(keys.certificate_facts(path.read_bytes(), path.name).serial_no) % 2 == 0
