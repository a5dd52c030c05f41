"""`surplus balance`."""

from typing import TYPE_CHECKING, Final

import typer

from surplus.cli.options import Json, Org
from surplus.cli.output import print_facts, print_json
from surplus.cli.session import connected

if TYPE_CHECKING:
    from surplus.wire.money import Balance

_PROMISED: Final = ("available", "held", "settled")


def show(context: typer.Context, org: Org, as_json: Json = False) -> None:
    """Show an organization's money.

    Credit = available + held + settled, at every instant.
    """
    with connected(context) as client:
        balance = client.get_balance(org)
    if as_json:
        print_json(balance, only=_PROMISED)
    else:
        print_facts(facts(balance), figures=True)


def facts(balance: "Balance") -> dict[str, str]:
    """The balance as lines."""
    parts = {f"{name} USD": getattr(balance, name) for name in _PROMISED}
    return {**parts, "credit USD": balance.credit}
