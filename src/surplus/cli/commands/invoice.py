"""`surplus invoice`."""

from typing import Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import Json, Org
from surplus.cli.output import Column, print_json, print_line, print_table, right, whole
from surplus.cli.session import connected

_COLUMNS: Final = (Column("MODEL"), whole("TOKENS"), right("QUANTITY"), right("USD PER MILLION"), right("AMOUNT USD"))


def show(
    context: typer.Context,
    org: Org,
    month: Annotated[
        str | None, typer.Option(parser=values.month, metavar="MONTH", help="Such as 2026-11; else the present one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the invoice of a month.

    Lines and adjustments add up to the total, to the last digit.
    """
    with connected(context) as client:
        invoice = client.get_invoice(org, month=month)
    if as_json:
        print_json(invoice)
        return
    print_line(f"{invoice.organization}, {invoice.month} ({invoice.status}): {invoice.requests:,} requests")
    lines = [
        (each.model, each.token_class.replace("_", " "), each.quantity, each.unit_price, each.amount)
        for each in invoice.lines
    ]
    adjustments = [(each.name, None, None, None, each.amount) for each in invoice.adjustments]
    rows = [*lines, *adjustments, ("TOTAL", None, None, None, invoice.total)]
    places = max(len(_decimals(row[-1])) for row in rows)
    print_table(_COLUMNS, [(*row[:-1], row[-1] + "0" * (places - len(_decimals(row[-1])))) for row in rows], none="")


def _decimals(amount: str) -> str:
    return amount.partition(".")[2]
