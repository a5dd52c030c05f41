"""`surplus status`."""

import typer

from surplus.cli.options import Json
from surplus.cli.output import print_facts, print_json, utc
from surplus.cli.session import connected
from surplus.wire.status import Worker


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
            **{f"worker {each.number}": _worker(each) for each in found.workers},
        }
    )


def _worker(found: Worker) -> str:
    how = "ready" if found.ready else f"not ready: {'; '.join(found.why)}"
    return f"{how}, process {found.pid}, {found.in_flight} in flight"
