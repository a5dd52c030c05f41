"""`surplus price`: what tokens cost."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import Json, moment
from surplus.cli.output import Column, print_facts, print_json, print_table, right, utc, whole
from surplus.cli.session import connected

if TYPE_CHECKING:
    from surplus.wire.prices import Price

app = typer.Typer(name="price", no_args_is_help=True, help="Prices, in USD per million tokens.")

_COLUMNS: Final = (
    Column("MODEL"),
    right("INPUT"),
    right("CACHE READ"),
    right("CACHE WRITE"),
    right("OUTPUT"),
    whole("FROM (UTC)"),
)


@app.command("set")
def set_one(
    context: typer.Context,
    model: Annotated[str, typer.Argument(parser=values.name, metavar="MODEL", help="The model (its sku).")],
    *,
    input_price: Annotated[
        str, typer.Option("--input", parser=values.price, metavar="USD", help="Per million input tokens.")
    ],
    output_price: Annotated[
        str, typer.Option("--output", parser=values.price, metavar="USD", help="Per million output tokens.")
    ],
    cache_read: Annotated[
        str | None,
        typer.Option(parser=values.price, metavar="USD", help="Per million from the cache; else as input."),
    ] = None,
    cache_write: Annotated[
        str | None,
        typer.Option(parser=values.price, metavar="USD", help="Per million into the cache; else as input."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", parser=moment, metavar="TIME", help="From when on: +1h or ISO 8601; else now."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Publish a price that is implausibly high.")] = False,
    as_json: Json = False,
) -> None:
    """Publish prices of a model. They hold, unchanged, until the next ones begin."""
    with connected(context) as client:
        made = client.set_price(
            model,
            input=input_price,
            output=output_price,
            cache_read=cache_read,
            cache_write=cache_write,
            effective_from=start,
            force=force,
        )
    if as_json:
        print_json(made)
    else:
        _show(made)


@app.command("list")
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """List the prices in force, and those to come (USD per million tokens)."""
    with connected(context) as client:
        found = client.list_prices()
    if as_json:
        print_json(found)
        return
    rows = [
        (each.model, each.input, each.cache_read, each.cache_write, each.output, utc(each.effective_from))
        for each in found
    ]
    print_table(_COLUMNS, rows, none="There is no price. Set one: surplus price set MODEL --input USD --output USD")


def _show(price: "Price") -> None:
    print_facts({"prices of": price.model, "version": price.version, "from (UTC)": utc(price.effective_from)})
    figures = {"input": price.input, "cache read": price.cache_read, "cache write": price.cache_write}
    lines = {f"{name} USD per million": figure for name, figure in {**figures, "output": price.output}.items()}
    print_facts(lines, figures=True)
