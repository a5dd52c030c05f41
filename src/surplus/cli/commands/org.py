"""`surplus org`: organizations."""

from typing import Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import Json
from surplus.cli.output import Column, print_facts, print_json, print_table, utc, whole
from surplus.cli.session import connected

app = typer.Typer(name="org", no_args_is_help=True, help="Organizations: your customers.")

_COLUMNS: Final = (Column("NAME"), whole("ID"), whole("CREATED (UTC)"))


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(parser=values.name, metavar="NAME", help="Its name.")],
    credit: Annotated[
        str, typer.Option(parser=values.dollars, metavar="USD", help="What it has paid in advance.")
    ] = "0",
    credit_limit: Annotated[
        str, typer.Option(parser=values.dollars, metavar="USD", help="How far below zero its wallet may go.")
    ] = "0",
    as_json: Json = False,
) -> None:
    """Create an organization, with credit to begin with."""
    with connected(context) as client:
        made = client.create_organization(name, credit=credit, credit_limit=credit_limit)
    if as_json:
        print_json(made, only=("id", "name"))
    else:
        facts = {"organization": made.name, "id": made.id, "credit USD": credit, "credit limit USD": credit_limit}
        print_facts({**facts, "created (UTC)": utc(made.created_at)})


@app.command("list")
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """List the organizations that your key can see."""
    with connected(context) as client:
        found = client.list_organizations()
    if as_json:
        print_json(found)
    else:
        rows = [(each.name, each.id, utc(each.created_at)) for each in found]
        print_table(_COLUMNS, rows, none="There is no organization yet. Make one: surplus org create NAME")
