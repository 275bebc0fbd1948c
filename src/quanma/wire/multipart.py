"""A picture and its description in one body: the parts `meta`, which is signed, and `file`. Source: documented.

A body is read before its signature is known to hold, and what was signed must be what is read: so there is one form of
it, parts are bytes as they stand, and anything else (a part twice, an encoding, a missing end) is no body at all.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath
from typing import NamedTuple

import msgspec

from ..errors import ParamError

_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".bmp": "image/bmp"}
_VALUE = re.compile(r'([\w/-]+)((?:\s*;\s*[\w*-]+=(?:"(?:[^"\\]|\\.)*"|[^\s";]*))*)\s*;?')
_PARAMETER = re.compile(r';\s*([\w*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";]*))')
_HEAD_BYTES_MAX = 4096
_HEAD_LINES_MAX = 16
_VALUE_CHARACTERS_MAX = 1024
_PARTS_MAX = 2
"""`meta` and `file`. A body is looked into before its signature is known to hold: no more of it than that."""


class Meta(msgspec.Struct):
    filename: str
    sha256: str


class Multipart(NamedTuple):
    content_type: str
    body: bytes
    meta: bytes
    """What the signature covers in place of the body."""


def encode(filename: str, file: bytes) -> Multipart:
    digest = hashlib.sha256(file).hexdigest()
    meta = msgspec.json.encode(Meta(filename, digest))
    boundary = f"quanma-{digest[:32]}"
    kind = _TYPES.get(PurePath(filename).suffix.lower(), "application/octet-stream")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="meta"\r\n'.encode()
        + b"Content-Type: application/json\r\n\r\n"
        + meta
        + f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'.encode()
        + f"Content-Type: {kind}\r\n\r\n".encode()
    )
    body = head + file + f"\r\n--{boundary}--\r\n".encode()
    return Multipart(f"multipart/form-data; boundary={boundary}", body, meta)


def signed_part(content_type: str, body: bytes) -> bytes:
    """Return the bytes of `meta`, or nothing where the body can't be read: `decode` refuses it, signed or not."""
    return _parts(content_type, body).get("meta", b"")


def decode(content_type: str, body: bytes) -> tuple[str, bytes]:
    """Return the file's name and its bytes, which are those that `meta` describes.

    Raises:
        ParamError: a part is missing, or the file is not the one whose hash was signed.
    """
    parts = _parts(content_type, body)
    if set(parts) != {"meta", "file"}:
        raise ParamError("a picture is uploaded as multipart/form-data with the parts meta and file")
    try:
        meta = msgspec.json.decode(parts["meta"], type=Meta)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as problem:
        raise ParamError(f"meta: {problem}") from None
    if hashlib.sha256(parts["file"]).hexdigest() != meta.sha256.lower():
        raise ParamError("the file's SHA-256 is not the one in meta")
    return meta.filename, parts["file"]


def _parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """The parts by name; none at all where the body is not wholly of its one form."""
    kind, parameters = _read(content_type)
    boundary = parameters.get("boundary", "")
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")
    # A third part is seen, and nothing is looked for behind it. What stands before the first and behind the last is no
    # part.
    _, *pieces = (b"\r\n" + body).split(mark, _PARTS_MAX + 2)
    if kind != "multipart/form-data" or not boundary or not pieces or pieces.pop()[:4] not in (b"--", b"--\r\n"):
        return {}
    if len(pieces) > _PARTS_MAX:
        return {}
    found: dict[str, bytes] = {}
    for piece in pieces:
        head, _, content = piece.partition(b"\r\n\r\n")
        name = _name(head)
        if name is None or name in found:
            return {}
        found[name] = content
    return found


def _name(head: bytes) -> str | None:
    """The name in a part's Content-Disposition, if the head has one, and no encoding."""
    if len(head) > _HEAD_BYTES_MAX or head.count(b"\r\n") > _HEAD_LINES_MAX:
        return None
    line_end, *lines = head.decode("latin-1").split("\r\n")
    headers = [line.partition(":") for line in lines]
    values = {name.lower(): value.strip() for name, _, value in headers}
    if line_end or len(values) != len(headers):
        return None
    kind, parameters = _read(values.get("content-disposition", ""))
    return parameters.get("name") if kind == "form-data" and "content-transfer-encoding" not in values else None


def _read(value: str) -> tuple[str, dict[str, str]]:
    """A header's value and its parameters, each once; nothing where it is not written so."""
    match = _VALUE.fullmatch(value) if len(value) <= _VALUE_CHARACTERS_MAX else None
    parameters = _PARAMETER.findall(match[2]) if match else []
    by_name = {name.lower(): quoted or plain for name, quoted, plain in parameters}
    return (match[1].lower(), by_name) if match and len(by_name) == len(parameters) else ("", {})
