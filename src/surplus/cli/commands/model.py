"""`surplus model`: what customers can name."""

from typing import Final

import typer

from surplus.cli.options import Json
from surplus.cli.output import Column, print_json, print_table, right, whole
from surplus.cli.session import connected

app = typer.Typer(name="model", no_args_is_help=True, help="Models: what customers name in a request.")

_COLUMNS: Final = (
    Column("MODEL"),
    whole("READY"),
    right("CONTEXT"),
    right("DEPLOYMENTS"),
    right("INPUT USD/M"),
    right("OUTPUT USD/M"),
)


@app.command("list")
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """List the models and their prices (USD per million tokens). A model without a price is not sold."""
    with connected(context) as client:
        found = client.list_models()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each.id,
            each.ready,
            each.context,
            each.deployments,
            each.price.input if each.price else "no price",
            each.price.output if each.price else "no price",
        )
        for each in found
    ]
    print_table(_COLUMNS, rows, none="There is no model. Make one: surplus deployment create MODEL ...")
