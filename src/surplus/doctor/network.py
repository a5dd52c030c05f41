"""Checks of how the server stands on a network: its certificate, and who can read what is said to it."""

import ipaddress
from pathlib import Path
from typing import Final

from surplus.doctor.check import Check, failed, ok, warning
from surplus.kit.clock import iso
from surplus.kit.edge.tls import BadCertificate, context_of, read
from surplus.kit.edge.validity import Validity, validity
from surplus.settings import Server

DAY_S: Final = 86400.0
DAYS_GOOD: Final = 14


def network(server: Server, now: float) -> list[Check]:
    """The certificate, where there is one, and whether keys and prompts could be read on the way."""
    checks = [exposure(server)]
    if server.tls_certificate:
        checks.append(certificate(Path(server.tls_certificate), Path(server.tls_key), now))
    return checks


def certificate(file: Path, key: Path, now: float) -> Check:
    """Whether a server could use this certificate with this key, and for how long."""
    name = "certificate"
    try:
        context_of(file, key)
        valid = validity(read(file))
    except BadCertificate as error:
        return failed(name, error.message, "correct server.tls_certificate and server.tls_key; a server does not start")
    except ValueError as error:
        return failed(name, f"{file} cannot be read: {error}", "give the certificate first, then its chain, in PEM")
    return judge_validity(valid, now)


def judge_validity(valid: Validity, now: float) -> Check:
    """What it means that a certificate is valid from then to then."""
    name = "certificate"
    days = (valid.ends - now) / DAY_S
    renew = "renew it; a running server takes the new files by itself"
    if now < valid.begins:
        return warning(
            name, f"it is not valid before {iso(valid.begins)}", "check the clock, or wait: callers refuse it"
        )
    if days <= 0:
        return warning(name, f"it expired at {iso(valid.ends)}: callers refuse it", renew)
    finding = f"key and certificate match; {int(days)} days left, to {iso(valid.ends)}"
    return ok(name, finding) if days >= DAYS_GOOD else warning(name, finding, renew)


def exposure(server: Server) -> Check:
    """Whether what is said to the server can be read by others on the way."""
    name = "exposure"
    if server.tls_certificate:
        return ok(name, f"{server.host} is served over TLS")
    if _is_here(server.host):
        return ok(name, f"{server.host} is reached from this machine alone")
    if server.trusted_proxies:
        return ok(name, f"{server.host} is served in plain HTTP, to the proxies {server.trusted_proxies}")
    finding = f"{server.host} is served to the network in plain HTTP: keys, prompts and answers can be read on the way"
    remedy = (
        "set server.tls_certificate and server.tls_key; or put a proxy with TLS before it, and set "
        "server.trusted_proxies to its address, or server.host to 127.0.0.1"
    )
    return warning(name, finding, remedy)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
