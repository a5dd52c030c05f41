"""`surplus credit`: money in, and how far below zero a wallet may go."""

from typing import TYPE_CHECKING, Annotated

import typer

from surplus.cli import values
from surplus.cli.commands.balance import facts
from surplus.cli.options import Json, Org
from surplus.cli.output import print_facts, print_json
from surplus.cli.session import connected

if TYPE_CHECKING:
    from surplus.wire.money import Balance

app = typer.Typer(name="credit", no_args_is_help=True, help="Credit: payments, and credit limits.")


@app.command("add")
def add(
    context: typer.Context,
    amount: Annotated[str, typer.Argument(parser=values.payment, metavar="USD", help="What was paid.")],
    org: Org,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the books.")] = "",
    idempotency_key: Annotated[
        str | None,
        typer.Option(parser=values.name, metavar="TEXT", help="A text of your own: the same one is booked once."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Book a payment of an organization."""
    with connected(context) as client:
        after = client.add_credit(org, amount, note=note, idempotency_key=idempotency_key)
    _show(after, as_json)


@app.command("limit")
def limit(
    context: typer.Context,
    credit_limit: Annotated[
        str, typer.Argument(parser=values.dollars, metavar="USD", help="How far below zero the wallet may go.")
    ],
    org: Org,
    as_json: Json = False,
) -> None:
    """Set how far below zero an organization's wallet may go."""
    with connected(context) as client:
        after = client.set_credit_limit(org, credit_limit)
    _show(after, as_json)


def _show(balance: "Balance", as_json: bool) -> None:
    if as_json:
        print_json(balance)
    else:
        print_facts(facts(balance), figures=True)
