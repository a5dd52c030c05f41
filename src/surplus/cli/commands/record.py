"""`surplus record`: what single requests consumed."""

from typing import Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import Json, Org
from surplus.cli.output import Column, print_json, print_table, right, utc, whole
from surplus.cli.session import connected

app = typer.Typer(name="record", no_args_is_help=True, help="Usage records: one for each request.")

_COLUMNS: Final = (
    whole("STARTED (UTC)"),
    Column("MODEL"),
    whole("OUTCOME"),
    right("INPUT"),
    right("OUTPUT"),
    right("CHARGED USD"),
    whole("ID"),
)


@app.command("list")
def list_all(
    context: typer.Context,
    org: Org,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="How many at most.")] = 100,
    before: Annotated[
        str | None, typer.Option(parser=values.name, metavar="ID", help="Those that came before this record.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List an organization's requests, newest first."""
    with connected(context) as client:
        found = client.list_records(org, before=before, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            utc(each.started_at),
            each.model,
            f"{each.outcome} {each.status}",
            each.input_tokens,
            each.output_tokens,
            each.charged,
            each.id,
        )
        for each in found
    ]
    print_table(_COLUMNS, rows, none=f"{org} has made no request{' before that one' if before else ''}.")
