"""How many are connected: in all, per key, and per address of those that have shown no key yet.

A connection has a seat from its beginning to its end. It counts for its address until a key has been recognised on it,
then for that key; so a stranger cannot take what customers use, and customers who share an address do not meet its
limit. Connections of trusted proxies carry many callers: they count for a key or an address during a request alone.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from surplus.kit.edge.errors import ConnectionsFull, TooManyConnections
from surplus.kit.edge.limits import Limits
from surplus.kit.edge.proxies import household

EXTENSION: Final = "surplus.seat"
"""Where a request's ASGI scope has the seat of its connection, among the extensions."""
WAIT_S: Final = 1.0


@dataclass(slots=True)
class Seats:
    """Every open connection of this process; those that found no seat are `turned_away` while they are told so."""

    limits: Limits
    open: int = 0
    turned_away: int = 0
    keys: Counter[str] = field(default_factory=Counter[str])
    addresses: Counter[str] = field(default_factory=Counter[str])

    def sit(self, address: str, *, proxy: bool) -> "Seat":
        """A new connection; `proxy`: of a trusted one. It counts until `Seat.leave`.

        Raises ConnectionsFull, or TooManyConnections where its address has too many; then nothing has changed.
        """
        if self.open >= self.limits.connections:
            message = f"all {self.limits.connections} connections that this server takes are in use; try again shortly"
            raise ConnectionsFull(message, retry_after_s=WAIT_S)
        seat = Seat(self, proxy)
        if not proxy:
            seat.come_from(address)
        self.open += 1
        return seat


@dataclass(slots=True)
class Seat:
    """One connection's place: whom it counts for."""

    seats: Seats
    proxy: bool
    address: str | None = None
    key: str | None = None
    left: bool = False

    def come_from(self, address: str) -> None:
        """Count for an address that has shown no key. Raises TooManyConnections, and then nothing has changed."""
        counts, name = self.seats.addresses, household(address)
        if counts[name] >= self.seats.limits.connections_per_address:
            raise _too_many("address", self.seats.limits.connections_per_address)
        counts[name] += 1
        self.address = name

    def claim(self, key: str) -> None:
        """The request is of this key: count for it from now on. Raises TooManyConnections; then nothing has changed."""
        if key == self.key or self.left:
            return
        counts = self.seats.keys
        if counts[key] >= self.seats.limits.connections_per_key:
            raise _too_many("key", self.seats.limits.connections_per_key)
        self._release()
        counts[key] += 1
        self.key = key

    def answered(self) -> None:
        """The request is over; what a proxy's connection carries next may be anybody's."""
        if self.proxy:
            self._release()

    def leave(self) -> None:
        """The connection has ended, though a request of it may still run. Call once."""
        self.left = True
        self._release()
        self.seats.open -= 1

    def _release(self) -> None:
        if self.key is not None:
            _less(self.seats.keys, self.key)
        if self.address is not None:
            _less(self.seats.addresses, self.address)
        self.key = self.address = None


def claim(scope: Any, key: str) -> None:
    """Count the connection of an ASGI scope for a key that has just been recognised. Raises TooManyConnections."""
    found = scope.get("extensions", {}).get(EXTENSION)
    if found is not None:
        found["seat"].claim(key)


def _less(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


def _too_many(whose: str, limit: int) -> TooManyConnections:
    message = (
        f"this {whose} has {limit} connections open, as many as it may; use those that are open again, or close some. "
        "The limit is the operator's"
    )
    return TooManyConnections(message, retry_after_s=WAIT_S, detail={"limit": limit, "scope": whose})
