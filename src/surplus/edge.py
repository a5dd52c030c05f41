"""The edge of a server from its settings, and in the words of its two surfaces."""

from collections.abc import Callable
from functools import partial

from surplus.api import wording
from surplus.gateway import surface
from surplus.gateway.http import PREFIX
from surplus.kit.edge import Edge, Limits, Proxies, Seats, Told
from surplus.kit.edge.tls import Tls
from surplus.kit.errors import SurplusError
from surplus.kit.http_server import connections_at_most
from surplus.kit.ids import Ids
from surplus.settings import Server


def edge_of(server: Server, ids: Ids, refused: Callable[[SurplusError], None]) -> Edge:
    """The edge that [server] describes; `refused` counts what is refused. Raises BadCertificate."""
    limits = limits_of(server)
    return Edge(
        limits=limits,
        seats=Seats(limits),
        proxies=Proxies.parse(server.trusted_proxies),
        tls=Tls.of(server.tls_certificate, server.tls_key),
        tell=partial(_tell, ids),
        refused=refused,
    )


def limits_of(server: Server) -> Limits:
    """The limits that [server] sets, with no more connections than the system allows open files for."""
    return Limits(
        head_bytes=server.max_head_bytes,
        headers=server.max_headers,
        url_bytes=server.max_url_bytes,
        body_bytes=server.max_body_bytes,
        head_s=server.head_timeout_s,
        body_s=server.body_timeout_s,
        body_rate=server.min_body_rate,
        idle_s=server.keep_alive_s,
        unread_s=server.unread_timeout_s,
        connections=connections_at_most(server.max_connections),
        connections_per_key=server.max_connections_per_key,
        connections_per_address=server.max_connections_per_address,
    )


def _tell(ids: Ids, path: str, error: SurplusError) -> Told:
    """In the shape of the surface that was called; for no path that of the model API, which nearly all callers want."""
    named = surface.request_headers(ids.new("req"))
    if not path or f"{path}/".startswith(f"{PREFIX}/"):
        return Told([*surface.error_headers(error), *named], surface.error_body(error))
    answer = wording.answer(error)
    return Told([*answer.raw_headers, *named], bytes(answer.body))
