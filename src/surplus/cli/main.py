"""Where the `surplus` command begins and ends: exit status 0 done, 1 refused or failed, 2 bad usage."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from surplus import __version__
from surplus.cli.commands import (
    balance,
    budget,
    care,
    credit,
    deployment,
    gateway,
    invoice,
    key,
    ledger,
    member,
    model,
    org,
    price,
    project,
    record,
    replica,
    server,
    status,
    usage,
)
from surplus.cli.output import plain
from surplus.cli.session import Address, Failed

DEFAULT_URL = "http://127.0.0.1:8080"

app = typer.Typer(
    help="Surplus turns a fleet of accelerators into a compute cloud: every token is metered, charged and explained.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"surplus {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="SURPLUS_URL", metavar="URL", help="The server.")] = DEFAULT_URL,
    key: Annotated[
        str,
        typer.Option(
            envvar="SURPLUS_KEY",
            metavar="KEY",
            show_default=False,
            help="Your API key. Better in the environment: others on this machine can read arguments.",
        ),
    ] = "",
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Keep the address for the command that follows."""
    context.obj = Address(url, key)


app.command()(server.serve)
app.command()(server.demo)
app.command(hidden=True)(server.worker)
app.command()(server.doctor)
app.command("backup")(care.backup)
app.command("restore")(care.restore)
app.command("status")(status.show)
app.add_typer(org.app)
app.add_typer(project.app)
app.add_typer(member.app)
app.add_typer(key.app)
app.add_typer(budget.app)
app.add_typer(credit.app)
app.command("balance")(balance.show)
app.command("usage")(usage.show)
app.add_typer(record.app)
app.command("invoice")(invoice.show)
app.add_typer(deployment.app)
app.add_typer(model.app)
app.add_typer(replica.app)
app.add_typer(gateway.app)
app.add_typer(price.app)
app.add_typer(ledger.app)
app.add_typer(care.app)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit status. Errors go to stderr in a line or two."""
    try:
        status = typer.main.get_command(app).main(list(arguments), prog_name="surplus", standalone_mode=False)
    except Failed as failed:
        _complain(*failed.lines)
        return 1
    except typer.TyperException as error:
        return _bad_usage(error)
    except typer.Abort:
        _complain("stopped; nothing more was done")
        return 1
    return status if isinstance(status, int) else 0


def _bad_usage(error: typer.TyperException) -> int:
    said = error.format_message().removeprefix("Invalid value: ").replace("Value error, ", "")
    path = getattr(getattr(error, "ctx", None), "command_path", "surplus")
    if said.startswith("Usage:"):  # a command that was called without its subcommand shows its help
        sys.stderr.write(said + "\n")
    else:
        _complain(" ".join(said.split()), f"(see `{path} --help`)")
    return error.exit_code


def _complain(*lines: str) -> None:
    first, *rest = map(plain, lines)
    sys.stderr.write("\n".join([f"surplus: {first}", *(f"  {line}" for line in rest)]) + "\n")


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
