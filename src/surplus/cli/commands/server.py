"""`surplus serve`, `demo` and `doctor`: the commands that are the server, or look at one from inside."""

from pathlib import Path
from typing import Annotated, Final, Protocol, cast

import typer

from surplus.cli.local import load
from surplus.cli.options import Json
from surplus.cli.output import Column, print_data, print_line, print_table, whole

BOOTSTRAP: Final = "surplus.bootstrap"
_COLUMNS: Final = (Column("CHECK"), whole("STATE"), Column("FINDING"))
_FIELDS: Final = ("name", "state", "finding", "remedy")

Data = Annotated[
    Path, typer.Option("--data", metavar="DIR", file_okay=False, help="The data directory; made at the first start.")
]
MaybeData = Annotated[Path | None, typer.Option("--data", metavar="DIR", file_okay=False, help="The data directory.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0 takes a free one.")]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", dir_okay=False, help="Settings; else DIR/surplus.toml where there is one."),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="postgresql://USER@HOST:PORT/NAME; else a SQLite file in DIR. Passwords: PGPASSWORD or ~/.pgpass.",
    ),
]


class _Check(Protocol):
    """What `surplus.bootstrap.doctor` finds, as this command reads it."""

    name: str
    state: str
    finding: str
    remedy: str


def serve(
    data: Data,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Address to listen on; 0.0.0.0 is every one.")
    ] = None,
    port: Port = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, metavar="N", help="Processes that take requests; 1 is the server itself."),
    ] = None,
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="all, gateway or control, for servers that share a database.")
    ] = None,
    config: Config = None,
    tls_certificate: Annotated[
        str | None, typer.Option(metavar="FILE", help="Serve HTTPS with this certificate and its chain (PEM).")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="The certificate's private key (PEM).")] = None,
    database: StoreUrl = None,
) -> None:
    """Run a server."""
    given = {
        "host": host,
        "port": port,
        "workers": workers,
        "role": role,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
    }
    raise typer.Exit(load(BOOTSTRAP).serve(data=data, config=config, store_url=database, **given))


def worker(descriptor: int, pipe: int) -> None:
    """Take requests for the server that has started this process."""
    raise typer.Exit(load(BOOTSTRAP).work(descriptor=descriptor, pipe=pipe))


def demo(
    once: Annotated[bool, typer.Option("--once", help="Show it all, then stop.")] = False,
    data: MaybeData = None,
    port: Port = None,
) -> None:
    """Run a server to try things out.

    It comes with a small model, customers and prices.
    """
    raise typer.Exit(load(BOOTSTRAP).demo(data=data, port=port, once=once))


def doctor(data: MaybeData = None, config: Config = None, database: StoreUrl = None, as_json: Json = False) -> None:
    """Look for what is wrong, and say what to do.

    Checks this machine and, with --data, a server's data directory. Exits with 1 if anything failed.
    """
    checks = cast("list[_Check]", load(BOOTSTRAP).doctor(data=data, config=config, store_url=database))
    failed = sum(check.state == "failed" for check in checks)
    if as_json:
        print_data([{field: getattr(check, field) for field in _FIELDS} for check in checks])
    else:
        print_table(_COLUMNS, [(check.name, check.state, check.finding) for check in checks], none="")
        for check in checks:
            if check.remedy:
                print_line(f"{check.name}: {check.remedy}")
        print_line(f"{len(checks)} checks, {failed} failed")
    if failed:
        raise typer.Exit(1)
