"""`surplus usage`."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import From, Json, Org, To
from surplus.cli.output import Column, print_json, print_line, print_table, right, utc
from surplus.cli.session import connected

if TYPE_CHECKING:
    from surplus.wire.usage import Totals, Usage

_PROMISED: Final = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "charged",
)
_COLUMNS: Final = (
    Column("MODEL"),
    right("REQUESTS"),
    right("INPUT"),
    right("OF IT CACHED"),
    right("OUTPUT"),
    right("CHARGED USD"),
)


def show(
    context: typer.Context,
    *,
    org: Org,
    project: Annotated[
        str | None, typer.Option(parser=values.name, metavar="NAME", help="Of this project alone.")
    ] = None,
    key: Annotated[str | None, typer.Option(parser=values.name, metavar="ID", help="Of this key alone.")] = None,
    start: From = None,
    end: To = None,
    as_json: Json = False,
) -> None:
    """Show what was used, in tokens and dollars."""
    with connected(context) as client:
        used = client.get_usage(org, project=project, key=key, start=start, end=end)
    if as_json:
        print_json(used, only=_PROMISED)
        return
    if start or end:
        print_line(f"from {utc(start) or 'the beginning'} to {utc(end) or 'now'}")
    print_table(_COLUMNS, _rows(used), none=f"{org} has used nothing in this time.")


def _rows(used: "Usage") -> list[tuple[object, ...]]:
    rows = [(each.model, *_figures(each)) for each in used.models]
    return [*rows, ("ALL", *_figures(used))] if rows else []


def _figures(totals: "Totals") -> tuple[object, ...]:
    cached = totals.cached_input_tokens
    return totals.requests, totals.input_tokens, cached, totals.output_tokens, totals.charged
