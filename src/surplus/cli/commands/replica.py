"""`surplus replica`: running engines."""

from typing import Final

import typer

from surplus.cli.options import Json
from surplus.cli.output import Column, print_json, print_line, print_table, right, whole
from surplus.cli.session import connected

app = typer.Typer(name="replica", no_args_is_help=True, help="Replicas: running engines.")

_COLUMNS: Final = (
    whole("ID"),
    Column("MODEL"),
    whole("STATE"),
    whole("BREAKER"),
    right("IN FLIGHT"),
    right("RESTARTS"),
)


@app.command("list")
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """List the replicas, and the last failure of those that had one."""
    with connected(context) as client:
        found = client.list_replicas()
    if as_json:
        print_json(found)
        return
    rows = [(each.id, each.model, each.state, each.breaker, each.in_flight, each.restarts) for each in found]
    print_table(
        _COLUMNS, rows, none="There is no replica. A deployment starts them: surplus deployment create MODEL ..."
    )
    for each in found:
        if each.error:
            print_line(f"{each.id}: {each.error}")
