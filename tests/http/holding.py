"""What requests held: of the ledger itself, or out of a slice, as their entries in the journal say."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from surplus.gateway.entries import Admitted, decode
from surplus.kit.db import ReadSession
from surplus.kit.journal import Journal
from surplus.ledger import service as ledger
from surplus.ledger.model import EntryKind, HoldState
from surplus.metering.model import UsageRecord


@dataclass(frozen=True)
class Held:
    """Micro-dollars, and the slice that granted them; no slice where the ledger itself held them."""

    amount: int
    slice: str


def admissions(journal: Journal) -> dict[str, Admitted]:
    """Every admission that the journal still has, by request."""
    found: dict[str, Admitted] = {}
    position = journal.start
    while records := journal.read(position):
        entries = (decode(record.payload) for record in records)
        found |= {entry.request: entry for entry in entries if isinstance(entry, Admitted)}
        position = records[-1].end
    return found


def held(session: ReadSession, entry: Admitted) -> Held:
    if entry.slice:
        return Held(entry.held_micro, entry.slice)
    return Held(ledger.hold(session, entry.request).amount, "")


def check_charges(session: ReadSession, records: Iterable[UsageRecord], entries: Mapping[str, Admitted]) -> None:
    """Each record was charged once, from what it held itself, and never more than that."""
    by_slice: defaultdict[str, list[UsageRecord]] = defaultdict(list)
    wallets: set[str] = set()
    for record in records:
        entry = entries[record.id]
        wallets.add(f"wallet:{entry.org}")
        assert record.charged_micro <= held(session, entry).amount
        if entry.slice:
            by_slice[entry.slice].append(record)
            continue
        hold = ledger.hold(session, record.id)
        assert hold.state is HoldState.POSTED
        assert (hold.posted, hold.overrun) == (record.charged_micro, record.overrun_micro)
    log = [entry for wallet in wallets for entry in ledger.entries(session, wallet, limit=100_000)]
    charges = [entry for entry in log if entry.kind is EntryKind.CHARGE]
    assert {entry.hold for entry in charges} == by_slice.keys()
    for name, mine in by_slice.items():
        of_slice = [entry for entry in charges if entry.hold == name]
        assert sum(entry.requests for entry in of_slice) == len(mine)
        assert sum(entry.amount_micro for entry in of_slice) == sum(record.charged_micro for record in mine)
        assert sum(entry.overrun_micro for entry in of_slice) == sum(record.overrun_micro for record in mine)
