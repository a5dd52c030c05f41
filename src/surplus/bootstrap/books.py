"""The watch over the books: what checks them, and what is told of it."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from surplus.bootstrap.data import CHECKED
from surplus.gateway.watch import Every, Watch
from surplus.kit.clock import Clock
from surplus.kit.db import Database
from surplus.settings import Settings


def watch_of(settings: Settings, data: Path, database: Database, clock: Clock) -> Watch:
    """What checks the books of a data directory."""
    every = Every(settings.ledger.verify_every_s, settings.ledger.verify_all_every_s)
    return Watch(database=database, clock=clock, file=data / CHECKED, every=every)


def gauge_books(registry: CollectorRegistry, watch: Watch) -> None:
    """What the checks of the ledger found."""
    violations = Gauge("surplus_ledger_violations", "Errors found in the ledger", registry=registry)
    violations.set_function(lambda: len(watch.standing.problems))
    checked = Gauge("surplus_ledger_checked_seq", "Ledger entry that was checked last", registry=registry)
    checked.set_function(lambda: watch.standing.seq)
