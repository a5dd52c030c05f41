"""`surplus gateway`: the processes that take requests for models."""

from typing import Annotated, Final

import typer

from surplus.cli.options import Json
from surplus.cli.output import Column, print_json, print_line, print_table, right, utc, whole
from surplus.cli.session import connected

app = typer.Typer(name="gateway", no_args_is_help=True, help="Gateways: processes that take requests.")

_COLUMNS: Final = (
    whole("NAME"),
    Column("HOST"),
    right("PID"),
    whole("STATE"),
    whole("LAST HEARD OF (UTC)"),
    right("SET ASIDE"),
)


@app.command("list")
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """List the gateways that are at work, and those that are lost."""
    with connected(context) as client:
        found = client.list_gateways()
    if as_json:
        print_json(found)
        return
    rows = [
        (one.name, one.host, one.pid, "lost" if one.lost else "at work", utc(one.seen_at), one.sliced) for one in found
    ]
    print_table(_COLUMNS, rows, none="No gateway is at work.")
    for one in found:
        if one.lost:
            print_line(
                f"{one.name} is silent: start it again on {one.host}, and it settles what it had; or, if its disk is"
                f" gone, free what it holds: surplus gateway forget {one.name}"
            )


@app.command("forget")
def forget(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The gateway's name.")], as_json: Json = False
) -> None:
    """Give up a lost gateway whose journal is gone: frees what it holds; its unsettled requests are not charged."""
    with connected(context) as client:
        freed = client.forget_gateway(name)
    if as_json:
        print_json(freed)
        return
    print_line(f"{freed.name} is given up; freed: {freed.freed} USD set aside, {freed.holds} holds of requests")
