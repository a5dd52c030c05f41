"""`surplus key`: API keys."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import Json, Org, Period, Role, moment
from surplus.cli.output import Column, print_facts, print_json, print_line, print_table, utc, whole
from surplus.cli.session import connected

if TYPE_CHECKING:
    from surplus.wire.keys import Key, KeyCreated

app = typer.Typer(name="key", no_args_is_help=True, help="API keys.")

_COLUMNS: Final = (whole("ID"), Column("NAME"), whole("ROLE"), Column("PROJECT"), Column("LIMITS"), Column("STATE"))
_ONCE: Final = "This is the only time that the key is shown. Store it now: it cannot be had again."
KeyId = Annotated[str, typer.Argument(parser=values.name, metavar="ID", help="The key's id (key_...).")]


@app.command("create")
def create(
    context: typer.Context,
    *,
    org: Org,
    project: Annotated[str | None, typer.Option(parser=values.name, metavar="NAME", help="For this project.")] = None,
    member: Annotated[str | None, typer.Option(parser=values.name, metavar="EMAIL", help="Of this member.")] = None,
    role: Annotated[Role, typer.Option(help="What the key may do.")] = "developer",
    name: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    budget: Annotated[
        str | None, typer.Option(parser=values.dollars, metavar="USD", help="What it may spend; nothing above it.")
    ] = None,
    budget_period: Annotated[Period, typer.Option(help="In which time it may spend that (UTC).")] = "forever",
    rpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens a minute.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, metavar="N", help="Requests at one time.")] = None,
    expires: Annotated[
        str | None, typer.Option(parser=moment, metavar="TIME", help="When it ends: +30d, 2026-11-21, or ISO 8601.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a key. It is shown once."""
    with connected(context) as client:
        made = client.create_key(
            org,
            project=project,
            member=member,
            role=role,
            name=name,
            budget=budget,
            budget_period=budget_period,
            rpm=rpm,
            tpm=tpm,
            concurrency=concurrency,
            expires_at=expires,
        )
    _show_secret(made, as_json)


@app.command("list")
def list_all(context: typer.Context, org: Org, as_json: Json = False) -> None:
    """List an organization's keys, without their secrets."""
    with connected(context) as client:
        found = client.list_keys(org)
        named = not as_json and any(each.project for each in found)
        projects = {each.id: each.name for each in client.list_projects(org)} if named else {}
    if as_json:
        print_json(found)
        return
    rows = [
        (each.id, each.name, each.role, projects.get(each.project or "", each.project), _limits(each), _state(each))
        for each in found
    ]
    print_table(_COLUMNS, rows, none=f"{org} has no key. Make one: surplus key create --org {org}")


@app.command("rotate")
def rotate(
    context: typer.Context,
    key_id: KeyId,
    overlap: Annotated[
        int | None,
        typer.Option(parser=values.seconds, metavar="SPAN", help="How long the old one stays valid: 15m, 1h, 2d."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give a key a new secret. Its id, its limits and its money stay."""
    with connected(context) as client:
        made = client.rotate_key(key_id, overlap_s=overlap or 0)
    _show_secret(made, as_json)
    if not as_json:
        print_line(f"The old key is valid for another {overlap:,} seconds." if overlap else "The old key has ended.")


@app.command("revoke")
def revoke(context: typer.Context, key_id: KeyId, as_json: Json = False) -> None:
    """End a key at once and for good."""
    with connected(context) as client:
        ended = client.revoke_key(key_id)
    if as_json:
        print_json(ended)
    else:
        print_line(f"{ended.id} is revoked ({utc(ended.revoked_at)}).")


def _show_secret(made: "KeyCreated", as_json: bool) -> None:
    if as_json:
        print_json(made, only=("id", "key"))
        return
    facts = {"key": made.key, "id": made.id, "name": made.name, "role": made.role, "limits": _limits(made)}
    print_facts({**facts, "expires (UTC)": utc(made.expires_at) or "never"})
    print_line(_ONCE)


def _limits(key: "Key") -> str:
    given = ((key.rpm, "requests/min"), (key.tpm, "tokens/min"), (key.concurrency, "at once"))
    return ", ".join(f"{limit:,} {unit}" for limit, unit in given if limit is not None) or "none"


def _state(key: "Key") -> str:
    if key.revoked_at is not None:
        return f"revoked {utc(key.revoked_at)}"
    return "active" if key.expires_at is None else f"until {utc(key.expires_at)}"
