"""What has to agree with the ledger: usage records, their sums by the hour, and the position of the journal."""

from collections.abc import Callable, Iterator

from surplus.gateway import store
from surplus.gateway.service import REVENUE
from surplus.kit.db import ReadSession
from surplus.ledger import service as ledger
from surplus.metering import service as metering


def hours_agree(session: ReadSession) -> Iterator[str]:
    """What was charged and what was overrun, by the hours of metering, is what the ledger posted as revenue."""
    yield from _compare(session, "the hours of metering", *metering.earned_by_hours(session))


def records_agree(session: ReadSession) -> Iterator[str]:
    """The same by every usage record; this reads them all."""
    yield from _compare(session, "the usage records", *metering.earned_by_records(session))


def _compare(session: ReadSession, what: str, charged_micro: int, overrun_micro: int) -> Iterator[str]:
    revenue = ledger.posted(session, REVENUE)
    if charged_micro + overrun_micro != revenue:
        yield (
            f"{what} come to {charged_micro} charged and {overrun_micro} of overrun (micro-dollars), "
            f"but the ledger has posted {revenue} to {REVENUE}"
        )


def journal_holds(gateway: str, end: Callable[[], int]) -> Callable[[ReadSession], Iterator[str]]:
    """A look at whether the journal, which ends at `end()`, reaches as far as the database has loaded it."""

    def look(session: ReadSession) -> Iterator[str]:
        loaded = store.progress(session, gateway)
        kept = end()  # after the position was read: the journal only grows
        if not loaded.open_from <= loaded.position <= kept:
            yield f"the database has loaded the journal up to {loaded.position}, which ends at {kept}"

    return look
