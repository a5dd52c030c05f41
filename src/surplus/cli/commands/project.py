"""`surplus project`: parts of an organization."""

from typing import Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import Json, Org
from surplus.cli.output import Column, print_facts, print_json, print_table, utc, whole
from surplus.cli.session import connected

app = typer.Typer(name="project", no_args_is_help=True, help="Projects: parts of an organization.")

_COLUMNS: Final = (Column("NAME"), whole("ID"), whole("CREATED (UTC)"))


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(parser=values.name, metavar="NAME", help="Its name.")],
    org: Org,
    as_json: Json = False,
) -> None:
    """Create a project, which keys and budgets can belong to."""
    with connected(context) as client:
        made = client.create_project(org, name)
    if as_json:
        print_json(made)
    else:
        print_facts({"project": made.name, "id": made.id, "created (UTC)": utc(made.created_at)})


@app.command("list")
def list_all(context: typer.Context, org: Org, as_json: Json = False) -> None:
    """List an organization's projects."""
    with connected(context) as client:
        found = client.list_projects(org)
    if as_json:
        print_json(found)
    else:
        rows = [(each.name, each.id, utc(each.created_at)) for each in found]
        print_table(_COLUMNS, rows, none=f"{org} has no project. Make one: surplus project create NAME --org {org}")
