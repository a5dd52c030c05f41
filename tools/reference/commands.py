"""The page of commands, from the typer application itself."""

from collections.abc import Iterator
from typing import Any

import typer

from surplus.cli.main import app
from tools.reference.markdown import code, document, table

_INTRO = """
A command that asks a server takes its address from `SURPLUS_URL` and its key from `SURPLUS_KEY`; `surplus --url` and
`--key` win over them. `--json` prints what the server answered, for programs. Exit status: 0 done, 1 refused or failed,
2 used wrongly. What goes wrong is said on stderr, in a line or two.

An instant is `2026-11-21` (the beginning of that day), `2026-11-21T09:00:00Z`, or relative: `+30d`, `-7d`. All times
are UTC. Money is dollars with up to six decimals; prices are dollars per million tokens.
"""


def page() -> str:
    """docs/reference/cli.md"""
    parts = [part for path, command in every() for part in _section(path, command)]
    return document("The `surplus` command", _INTRO, *_section("surplus", typer.main.get_command(app)), *parts)


def every() -> Iterator[tuple[str, Any]]:
    """Each command that does something, as `surplus org create`, in the order in which `--help` shows them."""
    yield from _below("surplus", typer.main.get_command(app))


def _below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    for name, below in getattr(command, "commands", {}).items():
        if hasattr(below, "commands"):
            yield from _below(f"{path} {name}", below)
        else:
            yield f"{path} {name}", below


def _section(path: str, command: Any) -> list[str]:
    context = typer.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    records = [(parameter, parameter.get_help_record(context)) for parameter in command.params]
    rows = [_row(parameter, record) for parameter, record in records if record is not None]
    parts = [f"## `{path}`", f"```text\n{usage}\n```", command.help]
    return [*parts, table(("argument or option", "what it means"), rows)] if rows else parts


def _row(parameter: Any, record: tuple[str, str]) -> tuple[str, str]:
    name, meaning = record
    shown = parameter.metavar if parameter.param_type_name == "argument" and parameter.metavar else name
    return code(shown), meaning
