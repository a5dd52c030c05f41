"""`surplus member`: the people of an organization."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import Json, Org, Role
from surplus.cli.output import Column, print_facts, print_json, print_line, print_table, utc, whole
from surplus.cli.session import connected

if TYPE_CHECKING:
    from surplus.wire.members import Member

app = typer.Typer(name="member", no_args_is_help=True, help="Members: the people of an organization.")

_COLUMNS: Final = (Column("EMAIL"), whole("ROLE"), whole("ID"), whole("ADDED (UTC)"))
Email = Annotated[str, typer.Argument(parser=values.name, metavar="EMAIL", help="The member's email address (or id).")]


@app.command("add")
def add(
    context: typer.Context,
    email: Annotated[str, typer.Argument(parser=values.name, metavar="EMAIL", help="An email address.")],
    org: Org,
    role: Annotated[Role, typer.Option(help="What the member may do.")] = "developer",
    as_json: Json = False,
) -> None:
    """Add a member to an organization."""
    with connected(context) as client:
        made = client.add_member(org, email, role=role)
    _show(made, as_json)


@app.command("list")
def list_all(context: typer.Context, org: Org, as_json: Json = False) -> None:
    """List an organization's members."""
    with connected(context) as client:
        found = client.list_members(org)
    if as_json:
        print_json(found)
    else:
        rows = [(each.email, each.role, each.id, utc(each.created_at)) for each in found]
        print_table(_COLUMNS, rows, none=f"{org} has no member. Add one: surplus member add EMAIL --org {org}")


@app.command("set-role")
def set_role(
    context: typer.Context,
    email: Email,
    org: Org,
    role: Annotated[Role, typer.Option(help="What the member may do from now on.")],
    as_json: Json = False,
) -> None:
    """Give a member another role. Keys of the member that may do more are revoked."""
    with connected(context) as client:
        changed = client.set_role(org, email, role)
    _show(changed, as_json)


@app.command("remove")
def remove(context: typer.Context, email: Email, org: Org, as_json: Json = False) -> None:
    """Remove a member and revoke its keys."""
    with connected(context) as client:
        removed = client.remove_member(org, email)
    if as_json:
        print_json(removed)
    else:
        print_line(f"{removed.email} is no longer a member of {org}; its keys are revoked.")


def _show(member: "Member", as_json: bool) -> None:
    if as_json:
        print_json(member)
    else:
        facts = {"member": member.email, "role": member.role, "id": member.id, "added (UTC)": utc(member.created_at)}
        print_facts(facts)
