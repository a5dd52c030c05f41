"""When a certificate is valid: read from its bytes, because the standard library tells nothing about one's own."""

import re
import ssl
from datetime import UTC, datetime
from typing import Final, NamedTuple

_FIRST: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18


class Validity(NamedTuple):
    """Epoch seconds."""

    begins: float
    ends: float


class _Value(NamedTuple):
    tag: int
    content: bytes
    rest: bytes


def validity(pem: str) -> Validity:
    """Of the first certificate in a PEM file, which is the server's own. Raises ValueError where there is none.

    RFC 5280, 4.1: Certificate ::= { TBSCertificate ::= { [0] version, serialNumber, signature, issuer, validity ::= {
    notBefore, notAfter }, ... }, ... }
    """
    found = _FIRST.search(pem)
    if found is None:
        raise ValueError("there is no certificate in it")
    certificate = _value(ssl.PEM_cert_to_DER_cert(found[0]), _SEQUENCE)
    rest = _value(certificate.content, _SEQUENCE).content
    if rest[:1] == bytes([_VERSION]):
        rest = _value(rest).rest
    for _ in ("serialNumber", "signature", "issuer"):
        rest = _value(rest).rest
    begins = _value(_value(rest, _SEQUENCE).content)
    return Validity(_instant(begins), _instant(_value(begins.rest)))


def _value(der: bytes, tag: int | None = None) -> _Value:
    """The first value in DER bytes (X.690, 8.1): its tag, its content, and what follows it."""
    if len(der) < 2 or (tag is not None and der[0] != tag):
        raise ValueError("it is not a certificate")
    size, start = der[1], 2
    if size & 0x80:  # the length does not fit seven bits, so they say how many bytes it has
        start += size & 0x7F
        size = int.from_bytes(der[2:start], "big")
    return _Value(der[0], der[start : start + size], der[start + size :])


def _instant(value: _Value) -> float:
    """`YYMMDDHHMMSSZ`, 1950 to 2049, or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5)."""
    text = value.content.decode("ascii")
    if value.tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif value.tag != _GENERALIZED_TIME:
        raise ValueError("its times cannot be read")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
