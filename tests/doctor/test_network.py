"""Whether a server may stand on a network as it is."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from surplus.doctor import network
from surplus.kit.edge.validity import Validity
from surplus.settings import Server
from tests.doctor.conftest import NOW, told
from tests.unit.kit.test_edge_tls import AUTHORITY, write

DAY_S = 86400


def issued(begins: float, ends: float) -> trustme.LeafCert:
    before, after = (datetime.fromtimestamp(at, UTC) for at in (begins, ends))
    return AUTHORITY.issue_cert("models.example.com", not_before=before, not_after=after)


def test_a_certificate_and_the_days_that_it_has_left(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, issued(NOW - 1, NOW + 30 * DAY_S))
    server = Server(host="0.0.0.0", tls_certificate=certificate, tls_key=key)
    exposure, check = network.network(server, NOW)
    told(exposure, "ok", "over TLS")
    told(check, "ok", "match", "30 days left")


@pytest.mark.parametrize(
    ("begins", "ends", "state", "words"),
    [
        (-1, 14 * DAY_S, "ok", "14 days left"),
        (-1, 14 * DAY_S - 1, "warning", "13 days left"),
        (-1, 1, "warning", "0 days left"),
        (-1, 0, "warning", "it expired at 2026-11-21T09:00:00Z"),
        (1, 100 * DAY_S, "warning", "not valid before 2026-11-21T09:00:01Z"),
    ],
)
def test_when_it_is_valid(begins: float, ends: float, state: str, words: str) -> None:
    told(network.judge_validity(Validity(NOW + begins, NOW + ends), NOW), state, words)


def test_files_that_a_server_could_not_use(tmp_path: Path) -> None:
    one, other = (issued(NOW, NOW + DAY_S) for _ in range(2))
    certificate, key = map(Path, write(tmp_path, one, key=other))
    told(network.certificate(certificate, key, NOW), "failed", "is not that of the certificate", "does not start")
    key.unlink()
    told(network.certificate(certificate, key, NOW), "failed", "cannot be read", "does not start")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_alone_needs_no_tls(host: str) -> None:
    (check,) = network.network(Server(host=host), NOW)
    told(check, "ok", "from this machine alone")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "models.example.com"])
def test_a_network_needs_tls_or_a_proxy_that_has_it(host: str) -> None:
    (check,) = network.network(Server(host=host), NOW)
    told(check, "warning", "plain HTTP", "server.tls_certificate", "server.trusted_proxies")
    told(network.exposure(Server(host=host, trusted_proxies="10.0.0.7")), "ok", "10.0.0.7")
