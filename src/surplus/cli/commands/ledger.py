"""`surplus ledger`: whether the books are sound, and mending them."""

from pathlib import Path
from typing import Annotated

import typer

from surplus.cli.commands.server import StoreUrl
from surplus.cli.local import load, refusals
from surplus.cli.options import Json
from surplus.cli.output import print_data, print_facts, print_json
from surplus.cli.session import Failed, connected

app = typer.Typer(name="ledger", no_args_is_help=True, help="The ledger: whether the books are sound.")


@app.command("verify")
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Check every entry, every sum and the chain of hashes. Exits with 1 if anything is wrong."""
    with connected(context) as client:
        found = client.verify_ledger()
    if as_json:
        print_json(found)
    else:
        facts = {"ledger": "sound" if found.ok else "NOT SOUND", "entries": found.entries, "batches": found.batches}
        print_facts({**facts, "head": found.head_seq, "head hash": found.head_hash})
    if not found.ok:
        told = found.problems[:3]
        more = f"and {len(found.problems) - len(told)} more" if len(found.problems) > len(told) else ""
        raise Failed(f"the ledger is not sound: {'; '.join(told)} {more}".rstrip(), found.remedy)


@app.command("head")
def head(context: typer.Context, as_json: Json = False) -> None:
    """Show the end of the log: its last entry and the hash of everything up to it.

    Keep it somewhere else, or publish it: whoever rewrites what came before has to change the hash.
    """
    with connected(context) as client:
        found = client.get_ledger_head()
    if as_json:
        print_json(found)
    else:
        print_facts({"head": found.seq, "head hash": found.hash})


@app.command("rebuild")
def rebuild(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", file_okay=False, help="The data directory of a stopped server.")
    ],
    database: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Make balances and holds again from the log, all or nothing. The server has to be stopped.

    For a ledger whose log is sound and whose balances are not; of an unsound log it changes nothing.
    """
    with refusals():
        done = load("surplus.care").rebuild(data, store_url=database)
    before, after = done.before, done.after or done.before
    if as_json:
        fields = {"rebuilt": done.after is not None, "ok": after.ok, "entries": after.entries}
        head = {"head_seq": after.head_seq, "head_hash": after.head_hash}
        print_data({**fields, **head, "mended": list(before.problems), "problems": list(after.problems)})
    elif done.after is None:
        print_facts({"ledger": "sound, so nothing was rebuilt", "entries": after.entries, "head hash": after.head_hash})
    else:
        said = "sound" if after.ok else "NOT SOUND"
        print_facts({"ledger": f"{said}, rebuilt from its log", "entries": after.entries, "head hash": after.head_hash})
        print_facts({f"mended {number}": problem for number, problem in enumerate(before.problems, 1)})
    if not after.ok:
        raise Failed(f"the ledger is not sound: {'; '.join(after.problems[:3])}", "restore the last sound backup")
