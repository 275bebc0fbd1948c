"""A picture and its description in one body: any bytes arrive as they left, and what is signed is what is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quanma.errors import ParamError
from quanma.wire import multipart
from tests.support.every import every_row

PICTURE = b"\x89PNG\r\n\x1a\n"
SHA256 = hashlib.sha256(PICTURE).hexdigest()
META = b'{"filename":"a.png","sha256":"%s"}' % SHA256.encode()
CONTENT_TYPE = "multipart/form-data; boundary=b1"


def part(name: str, content: bytes, *headers: str) -> bytes:
    lines = [f'Content-Disposition: form-data; name="{name}"', *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def body(*parts: bytes, boundary: bytes = b"b1") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in parts) + b"--" + boundary + b"--\r\n"


@given(st.binary() | st.lists(st.sampled_from([b"\r", b"\n", b"--", b"b1", b"\0", b"\x1a", b"\xff"])).map(b"".join))
@example(b"")
@example(b"\r\n")
@example(b"\r")
@example(b"--b1--\r\n")
@example(b"\r\n--quanma-e3b0c44298fc1c149afbf4c8996fb924--\r\n")  # The boundary of another file, the empty one.
@settings(deadline=None, max_examples=200)
@pytest.mark.slow
def test_any_bytes_arrive_as_they_left(file: bytes) -> None:
    made = multipart.encode("a.png", file)
    assert multipart.decode(made.content_type, made.body) == ("a.png", file)
    assert multipart.signed_part(made.content_type, made.body) == made.meta


@every_row("filename", ["a.png", "券.jpg", "a b;c=d,e.bmp", "a'%22.jpeg"])
def test_a_name_arrives_as_it_left(filename: str) -> None:
    made = multipart.encode(filename, PICTURE)
    assert multipart.decode(made.content_type, made.body) == (filename, PICTURE)


def test_a_body_has_its_documented_form() -> None:
    boundary = f"quanma-{SHA256[:32]}"
    assert multipart.encode("a.png", PICTURE) == (
        f"multipart/form-data; boundary={boundary}",
        body(
            part("meta", META, "Content-Type: application/json"),
            b'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
            + PICTURE,
            boundary=boundary.encode(),
        ),
        META,
    )


@every_row(
    ("content_type", "sent"),
    [
        (CONTENT_TYPE, body(part("file", PICTURE), part("meta", META))),
        ('multipart/form-data; boundary="b1"', body(part("meta", META), part("file", PICTURE))),
        ("Multipart/Form-Data;charset=utf-8;Boundary=b1", body(part("meta", META), part("file", PICTURE))),
        (CONTENT_TYPE, b"preamble\r\n" + body(part("meta", META), part("file", PICTURE))),
        (CONTENT_TYPE, body(part("meta", META), part("file", PICTURE)).removesuffix(b"\r\n")),
        (CONTENT_TYPE, body(part("meta", META, "X-A: 1"), part("file", PICTURE, "Content-Type: image/png"))),
        (
            CONTENT_TYPE,
            body(
                b"content-type: application/json\r\ncontent-disposition: form-data;name=meta\r\n\r\n" + META,
                b'CONTENT-DISPOSITION: form-data; filename="a.png"; name=file\r\n\r\n' + PICTURE,
            ),
        ),
    ],
    ids=["file first", "quoted boundary", "parameters", "preamble", "no last line end", "more headers", "spelling"],
)
def test_other_clients_spell_a_body_otherwise(content_type: str, sent: bytes) -> None:
    assert multipart.decode(content_type, sent) == ("a.png", PICTURE)
    assert multipart.signed_part(content_type, sent) == META


@every_row(
    ("content_type", "sent", "reason"),
    [
        (CONTENT_TYPE, body(part("meta", META), part("file", PICTURE + b"!")), "SHA-256 is not the one in meta"),
        (CONTENT_TYPE, body(part("meta", META), part("file", PICTURE.rstrip(b"\n"))), "SHA-256 is not the one in meta"),
        (CONTENT_TYPE, body(part("meta", META)), "with the parts meta and file"),
        (CONTENT_TYPE, body(part("file", PICTURE)), "with the parts meta and file"),
        (CONTENT_TYPE, body(part("meta", META), part("meta", META), part("file", PICTURE)), "the parts meta and file"),
        (CONTENT_TYPE, body(part("meta", META), part("file", PICTURE), part("file", PICTURE)), "the parts meta and"),
        (CONTENT_TYPE, body(part("meta", META), part("file", PICTURE), part("x", b"")), "with the parts meta and file"),
        (CONTENT_TYPE, body(part("Meta", META), part("file", PICTURE)), "with the parts meta and file"),
        (CONTENT_TYPE, body(part("meta", META), part("file", PICTURE), boundary=b"b2"), "with the parts meta and file"),
        (CONTENT_TYPE, body(part("meta", META), part("file", PICTURE)).removesuffix(b"--\r\n"), "the parts meta and"),
        (CONTENT_TYPE, b"", "with the parts meta and file"),
        ("application/json", body(part("meta", META), part("file", PICTURE)), "with the parts meta and file"),
        ("multipart/mixed; boundary=b1", body(part("meta", META), part("file", PICTURE)), "the parts meta and file"),
        ("multipart/form-data", body(part("meta", META), part("file", PICTURE)), "with the parts meta and file"),
        ("", b"", "with the parts meta and file"),
        (CONTENT_TYPE, body(part("meta", b"{}"), part("file", PICTURE)), "meta: Object missing required field"),
        (CONTENT_TYPE, body(part("meta", b"\xff"), part("file", PICTURE)), "meta: "),
        (CONTENT_TYPE, body(part("meta", b'{"filename":"\xff"}'), part("file", PICTURE)), "meta: "),
    ],
    ids=lambda value: repr(value)[-50:],
)
def test_a_body_that_is_not_what_it_should_be_is_refused(content_type: str, sent: bytes, reason: str) -> None:
    with pytest.raises(ParamError, match=re.escape(reason)):
        multipart.decode(content_type, sent)


MANY: dict[str, Callable[[], bytes]] = {
    "parts": lambda: body(*[part(f"p{number}", b"") for number in range(43_000)]),
    "parts behind": lambda: body(
        part("meta", META), part("file", PICTURE), *[part(f"p{number}", b"") for number in range(43_000)]
    ),
    "empty parts": lambda: body(part("meta", META), part("file", PICTURE), *[b""] * 300_000),
    "header lines": lambda: body(*[part("meta", META, *[f"X{n}-{m}: 1" for m in range(300)]) for n in range(500)]),
    "parameters": lambda: body(part("meta", META, "X: " + "; a=b" * 800), part("file", PICTURE)),
}
"""Made where they are tried: it takes longer than to read all other tests of this module."""


@every_row("many", MANY)
def test_of_more_than_two_parts_nothing_is_looked_at(many: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = MANY[many]()
    read: list[str] = []
    plain = multipart._read

    def counting(value: str) -> tuple[str, dict[str, str]]:
        read.append(value)
        return plain(value)

    monkeypatch.setattr(multipart, "_read", counting)
    multipart.signed_part(CONTENT_TYPE, sent)
    assert len(read) <= 3  # The body's own type, and each part's.


@every_row("lines", [14, 200])
def test_a_part_has_few_header_lines(lines: int) -> None:
    sent = body(part("meta", META, *[f"X{number}: 1" for number in range(lines)]), part("file", PICTURE))
    assert multipart.signed_part(CONTENT_TYPE, sent) == (META if lines == 14 else b"")


def test_a_value_with_very_many_parameters_is_not_read() -> None:
    many = "form-data" + "".join(f"; a{number}=b" for number in range(400)) + '; name="meta"'
    sent = body(b"Content-Disposition: " + many.encode() + b"\r\n\r\n" + META, part("file", PICTURE))
    assert multipart.signed_part(CONTENT_TYPE, sent) == b""
    assert multipart.signed_part(CONTENT_TYPE + many, body(part("meta", META), part("file", PICTURE))) == b""


def test_a_part_in_another_encoding_is_not_read() -> None:
    sent = body(part("meta", b"e30=", "Content-Transfer-Encoding: base64"), part("file", PICTURE))
    assert multipart.signed_part(CONTENT_TYPE, sent) == b""


def test_the_signature_covers_the_description_alone_and_the_description_covers_the_file() -> None:
    changed = body(part("meta", META), part("file", b"\x89GIF"))
    assert multipart.signed_part(CONTENT_TYPE, changed) == META
    with pytest.raises(ParamError, match="SHA-256"):
        multipart.decode(CONTENT_TYPE, changed)


def test_where_the_description_stands_twice_nothing_is_signed() -> None:
    sent = body(part("meta", META), part("meta", b"{}"), part("file", PICTURE))
    assert multipart.signed_part(CONTENT_TYPE, sent) == b""


PIECES = [
    b"--b1",
    b"--b1--",
    b"\r\n",
    b"\n",
    b": ",
    b";",
    b'"',
    b"\\",
    b"=",
    b"=?utf-8?q?",
    b"Content-Disposition",
    b"form-data",
    b"name",
    b"meta",
    b"Content-Type",
    b"message/rfc822",
    b"multipart/mixed",
    b"\xff",
    b"(",
]


@given(st.lists(st.sampled_from(PIECES)).map(b"".join), st.lists(st.sampled_from(PIECES)).map(b"".join))
@settings(deadline=None, max_examples=200)
@pytest.mark.slow
def test_no_stranger_makes_it_fail_in_another_way(content_type: bytes, sent: bytes) -> None:
    # A request is looked into before its signature is known to hold.
    for kind in (CONTENT_TYPE, CONTENT_TYPE + ";" + content_type.decode("latin-1"), content_type.decode("latin-1")):
        with pytest.raises(ParamError):
            multipart.decode(kind, sent)
        multipart.signed_part(kind, sent)
