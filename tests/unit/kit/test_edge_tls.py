"""Certificates: what can be used, until when, and what happens when the files are replaced."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from surplus.kit.edge.tls import BadCertificate, Tls
from surplus.kit.edge.validity import validity

AUTHORITY = trustme.CA()


def write(folder: Path, issued: trustme.LeafCert, *, key: trustme.LeafCert | None = None) -> tuple[str, str]:
    certificate, private = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    private.write_bytes((key or issued).private_key_pem.bytes())
    return str(certificate), str(private)


def tls(*files: str) -> Tls:
    made = Tls.of(*files)
    assert made is not None
    return made


def shown(made: Tls) -> bytes:
    """The certificate that somebody who connects is shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    believing = ssl.create_default_context()
    AUTHORITY.configure_trust(believing)
    client = believing.wrap_bio(to_client, to_server, server_hostname="models.example.com")
    server = made.context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    found = client.getpeercert(binary_form=True)
    assert found is not None
    assert client.selected_alpn_protocol() is None
    assert client.version() in ("TLSv1.2", "TLSv1.3")
    return found


def test_without_files_there_is_no_tls() -> None:
    assert Tls.of("", "") is None


def test_new_files_are_taken_when_they_fit_together(tmp_path: Path) -> None:
    first, second = (AUTHORITY.issue_cert("models.example.com") for _ in range(2))
    made = tls(*write(tmp_path, first))
    before = shown(made)
    assert not made.reload()
    write(tmp_path, second, key=first)
    assert not made.reload()
    assert shown(made) == before
    write(tmp_path, second)
    assert made.reload()
    assert shown(made) != before
    assert not made.reload()


def test_files_that_go_away_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = write(tmp_path, AUTHORITY.issue_cert("models.example.com"))
    made = tls(*files)
    before = shown(made)
    Path(files[1]).unlink()
    for _ in range(2):
        assert not made.reload()
    assert [record.message for record in caplog.records] == ["the new certificate is not used"]
    assert shown(made) == before
    write(tmp_path, AUTHORITY.issue_cert("models.example.com"))
    assert made.reload()
    assert shown(made) != before


def test_files_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    one, other = (AUTHORITY.issue_cert("models.example.com") for _ in range(2))
    certificate, key = write(tmp_path, one, key=other)
    with pytest.raises(BadCertificate, match="is not that of the certificate"):
        Tls.of(certificate, key)
    write(tmp_path, one)
    with pytest.raises(BadCertificate, match=r"missing\.key cannot be read \(No such file"):
        Tls.of(certificate, str(tmp_path / "missing.key"))
    with pytest.raises(BadCertificate, match="do not hold a certificate and its key"):
        Tls.of(key, certificate)
    with pytest.raises(BadCertificate, match="cannot be read"):
        Tls.of(str(tmp_path), key)
    Path(certificate).write_bytes(b"\x30\x82\xff")
    with pytest.raises(BadCertificate, match="not in the PEM format"):
        Tls.of(certificate, key)


def test_a_key_with_a_password_is_refused_rather_than_asked_for(tmp_path: Path) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    issued = AUTHORITY.issue_cert("models.example.com")
    certificate, key = write(tmp_path, issued)
    loaded = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    Path(key).write_bytes(loaded.private_bytes(pem, pkcs8, encryption))
    with pytest.raises(BadCertificate, match="is encrypted; store it without a password"):
        Tls.of(certificate, key)


@pytest.mark.parametrize(
    "until", [datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(2055, 1, 1, tzinfo=UTC)], ids=["utc", "generalized"]
)
def test_the_end_of_a_certificate_is_read_from_it(until: datetime) -> None:
    begins = datetime(2020, 2, 3, tzinfo=UTC)
    issued = AUTHORITY.issue_cert("models.example.com", not_before=begins, not_after=until)
    pem = "".join(blob.bytes().decode() for blob in (*issued.cert_chain_pems, AUTHORITY.cert_pem))
    assert validity(f"a note before it\n{pem}") == (begins.timestamp(), until.timestamp())


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x03\x02\x01\x05", b"\x04\x01\x00"])
def test_what_is_no_certificate_has_no_end(der: bytes) -> None:
    with pytest.raises(ValueError, match="it is not a certificate"):
        validity(ssl.DER_cert_to_PEM_cert(der))
    with pytest.raises(ValueError, match="no certificate"):
        validity("-----BEGIN PRIVATE KEY-----")
