"""`surplus budget`: caps on what may be spent."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import Json, Org, Period
from surplus.cli.output import Column, print_facts, print_json, print_line, print_table, right, whole
from surplus.cli.session import connected

if TYPE_CHECKING:
    from surplus.client import Client
    from surplus.wire.budgets import Budget

app = typer.Typer(name="budget", no_args_is_help=True, help="Budgets: caps on what may be spent.")

_COLUMNS: Final = (Column("SCOPE"), right("CAP USD"), right("SPENT"), right("LEFT"), whole("ID"))


@app.command("set")
def set_one(
    context: typer.Context,
    *,
    org: Org,
    cap: Annotated[str, typer.Option(parser=values.dollars, metavar="USD", help="What may be spent in a period.")],
    period: Annotated[Period, typer.Option(help="How long a period is (UTC).")],
    project: Annotated[
        str | None, typer.Option(parser=values.name, metavar="NAME", help="Of this project alone.")
    ] = None,
    key: Annotated[str | None, typer.Option(parser=values.name, metavar="ID", help="Of this key alone.")] = None,
    soft: Annotated[bool, typer.Option("--soft", help="Count and warn, but refuse nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Set the budget of an organization, a project or a key. Setting it again changes the cap."""
    if project is not None and key is not None:
        raise typer.BadParameter("--project and --key name two scopes; give one of them")
    scope = "project" if project is not None else "key" if key is not None else "organization"
    with connected(context) as client:
        made = client.set_budget(org, scope=scope, scope_id=project or key, cap=cap, period=period, hard=not soft)
    if as_json:
        print_json(made)
    else:
        facts = {"budget": f"{scope} {project or key or org}, {_terms(made)}", "id": made.id}
        print_facts(facts)
        print_facts({f"{name} USD": getattr(made, name) for name in ("cap", "spent", "held", "left")}, figures=True)


@app.command("list")
def list_all(context: typer.Context, org: Org, as_json: Json = False) -> None:
    """List an organization's budgets and what is left of each."""
    with connected(context) as client:
        found = client.list_budgets(org)
        names = {} if as_json else _names(client, org, found)
    if as_json:
        print_json(found)
    else:
        rows = [(_scope(each, names), each.cap, each.spent, each.left, each.id) for each in found]
        print_table(_COLUMNS, rows, none=f"{org} has no budget. Set one: surplus budget set --org {org} --cap USD ...")


@app.command("delete")
def delete(
    context: typer.Context,
    budget_id: Annotated[str, typer.Argument(parser=values.name, metavar="ID", help="The budget's id.")],
    org: Org,
    as_json: Json = False,
) -> None:
    """Delete a budget: its cap ends at once."""
    with connected(context) as client:
        ended = client.delete_budget(org, budget_id)
    if as_json:
        print_json(ended)
    else:
        print_line(f"{ended.id} is deleted; it capped {ended.scope} {ended.scope_id} at {ended.cap} USD.")


def _terms(budget: "Budget") -> str:
    span = "for good" if budget.period == "forever" else f"per {budget.period}"
    return f"{span}, {'hard' if budget.hard else 'soft'}"


def _scope(budget: "Budget", names: dict[str, str]) -> str:
    if budget.scope == "organization":
        return f"organization, {_terms(budget)}"
    return f"{budget.scope} {names.get(budget.scope_id) or budget.scope_id}, {_terms(budget)}"


def _names(client: "Client", org: str, budgets: "list[Budget]") -> dict[str, str]:
    """What people call the projects and keys that have budgets."""
    scopes = {each.scope for each in budgets}
    names: dict[str, str] = {}
    if "project" in scopes:
        names |= {each.id: each.name for each in client.list_projects(org)}
    if "key" in scopes:
        names |= {each.id: each.name for each in client.list_keys(org)}
    return names
