"""The edge of the server: what a connection may do before, while and after a request is served.

The rules are pure and know no server (`limits`, `pace`, `seats`, `proxies`, `validity`); `kit.http1_server` holds its
connections to them.
"""

from surplus.kit.edge.edge import Edge, Told
from surplus.kit.edge.limits import Limits
from surplus.kit.edge.proxies import BadProxy, Proxies
from surplus.kit.edge.seats import Seat, Seats, claim

__all__ = ["BadProxy", "Edge", "Limits", "Proxies", "Seat", "Seats", "Told", "claim"]
