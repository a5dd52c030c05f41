"""A loader and what stands around it, put together as a server does it."""

from collections.abc import Callable

from surplus.gateway.books import LocalBooks
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.jobs import Loader
from surplus.gateway.ports import Books
from surplus.gateway.settlement import Ledgered, Observer
from surplus.kit.clock import Clock
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds
from surplus.kit.journal import Journal
from tests.unit.gateway.house import GATEWAY


def escrow(database: Database, clock: Clock, holder: str = GATEWAY) -> EscrowFunds:
    """The funds of a process that writes to the database itself."""
    return EscrowFunds(LocalBooks(database, clock), clock, CountedIds(), holder)


def loader(
    journal: Journal,
    database: Database,
    books: Books | None,
    funds: EscrowFunds | None,
    clock: Clock,
    gather_s: float = 0.0,
) -> Loader:
    """A loader of the journal of `GATEWAY`; with books and funds of its own where none are given."""
    return Loader(
        gateway=GATEWAY,
        database=database,
        books=books or LocalBooks(database, clock),
        funds=funds or escrow(database, clock),
        journal=journal,
        clock=clock,
        gather_s=gather_s,
    )


def ledgered(journal: Journal, ring: Callable[[], None], *observers: Observer) -> Ledgered:
    """A journal that is never too far ahead of the database."""
    return Ledgered(journal, ring, *observers, lag_bytes=lambda: 0, lag_max=1)


def granted(funds: EscrowFunds) -> dict[str, int]:
    """What requests hold of each slice of a process, in micro-dollars, where they hold anything."""
    return {name: one.granted for name, one in funds._by_id.items() if one.granted}
