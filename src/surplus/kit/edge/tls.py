"""TLS: a certificate and its key from two files, which may be replaced while the server runs."""

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from surplus.kit.errors import BadSetting

log: Final = logging.getLogger(__name__)

Files = tuple[tuple[int, int, int], tuple[int, int, int]]
"""What tells that files are others than before: inode, size and time of change of each."""


class BadCertificate(BadSetting):
    """A certificate or its key cannot be used."""

    code = "bad_certificate"


@dataclass(slots=True)
class Tls:
    """The context that connections are accepted with. Raises BadCertificate where the files cannot be used.

    New files are tried on a context of their own first: what does not fit together changes nothing, and is tried again
    when the files change again. Connections that are open keep what they were accepted with.
    """

    certificate: Path
    key: Path
    context: ssl.SSLContext = field(init=False)
    _seen: Files = field(init=False)
    _complaint: str = ""

    def __post_init__(self) -> None:
        self._seen = self._files()
        self.context = context_of(self.certificate, self.key)

    @classmethod
    def of(cls, certificate: str, key: str) -> "Tls | None":
        """TLS with two files, or none where no files are named."""
        return cls(Path(certificate), Path(key)) if certificate else None

    def _files(self) -> Files:
        return _identity(self.certificate), _identity(self.key)

    def reload(self) -> bool:
        """Take the files if they have changed and fit together; returns whether they were taken."""
        try:
            files = self._files()
            if files == self._seen:
                return False
            self._seen = files
            context_of(self.certificate, self.key)
            _load(self.context, self.certificate, self.key)
        except BadCertificate as error:
            if error.message != self._complaint:  # once, not with every look
                log.warning("the new certificate is not used", extra={"fields": {"why": error.message}})
            self._complaint = error.message
            return False
        self._complaint = ""
        log.info("a new certificate is in use", extra={"fields": {"certificate": str(self.certificate)}})
        return True


def context_of(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context: TLS 1.2 and newer, HTTP/1.1. Raises BadCertificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _load(context, certificate, key)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for file in (certificate, key):
        read(file)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise BadCertificate(_why(error, certificate, key)) from error
    except OSError as error:  # it has gone since
        raise _unreadable(certificate, error) from error


def read(file: Path) -> str:
    """The text of a certificate or a key. Raises BadCertificate."""
    try:
        return file.read_text(encoding="ascii")
    except OSError as error:
        raise _unreadable(file, error) from error
    except UnicodeDecodeError as error:
        raise BadCertificate(f"{file} is not in the PEM format; convert it with `openssl`") from error


def _identity(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    return found.st_ino, found.st_size, found.st_mtime_ns


def _unreadable(file: Path, error: OSError) -> BadCertificate:
    why = f"{file} cannot be read ({error.strerror}); the server's user needs both the certificate and its key"
    return BadCertificate(why)


def _no_password() -> str:
    return ""  # or OpenSSL asks on the terminal, and the server waits for ever


def _why(error: ssl.SSLError, certificate: Path, key: Path) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key} is not that of the certificate in {certificate}; give two files that belong together"
    if "ENCRYPTED" in read(key):
        return f"the key in {key} is encrypted; store it without a password, readable by the server's user alone"
    return (
        f"{certificate} and {key} do not hold a certificate and its key in the PEM format ({error.reason}); "
        "the first is the certificate with its chain, the second its private key"
    )
