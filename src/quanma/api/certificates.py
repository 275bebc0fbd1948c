"""The platform's certificates, sealed with the merchant's APIv3 key. Source: 获取平台证书列表."""

from __future__ import annotations

from typing import Literal

from .operation import C, F, Node, Operation
from .record import Record


class ListCertificates(Record, frozen=True, kw_only=True):
    algorithm_type: Literal["RSA", "SM2", "ALL"] | None = None


class EncryptCertificate(Record, frozen=True, kw_only=True):
    algorithm: str
    nonce: str
    associated_data: str
    ciphertext: str


class SealedCertificate(Record, frozen=True, kw_only=True):
    serial_no: str
    effective_time: str
    expire_time: str
    encrypt_certificate: EncryptCertificate


class CertificateList(Record, frozen=True, kw_only=True):
    data: list[SealedCertificate] = []


class Certificates(Node[C, F]):
    path = "/v3/certificates"

    get = Operation(ListCertificates, CertificateList, summary="获取平台证书列表")
    """获取平台证书列表: List the platform's certificates, sealed."""
