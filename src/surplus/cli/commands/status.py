"""`surplus status`."""

from typing import TYPE_CHECKING, Final

import typer

from surplus.cli.options import Json
from surplus.cli.output import print_facts, print_json, print_line, utc
from surplus.cli.session import connected

if TYPE_CHECKING:
    from surplus.wire.status import Status, Worker

PROBLEMS_TOLD: Final = 3


def show(context: typer.Context, as_json: Json = False) -> None:
    """Show how the server is."""
    with connected(context) as client:
        found = client.get_status()
    if as_json:
        print_json(found)
        return
    print_facts(
        {
            "server": "ready" if found.ready else f"not ready: {'; '.join(found.why)}",
            "version": found.version,
            "started (UTC)": utc(found.started_at),
            "requests in flight": found.in_flight,
            "journal not loaded": f"{found.journal_lag_bytes:,} bytes",
            "ledger": _ledger(found),
            **{f"worker {each.number}": _worker(each) for each in found.workers},
        }
    )
    if found.ledger.problems:
        told = "; ".join(found.ledger.problems[:PROBLEMS_TOLD])
        print_line(f"{len(found.ledger.problems)} errors in the ledger: {told}")
        print_line(f"nothing is sold until they are mended: {found.ledger.remedy}")


def _worker(found: "Worker") -> str:
    how = "ready" if found.ready else f"not ready: {'; '.join(found.why)}"
    return f"{how}, process {found.pid}, {found.in_flight} in flight"


def _ledger(found: "Status") -> str:
    ledger = found.ledger
    if ledger.checked_at is None:
        return "not checked yet"
    what = "sound" if ledger.state == "sound" else "NOT SOUND"
    return f"{what} up to entry {ledger.seq:,}, checked {utc(ledger.checked_at)}"
