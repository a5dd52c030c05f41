"""`surplus ledger`: whether the books are sound, and mending them."""

import typer

from surplus.cli.options import Json
from surplus.cli.output import print_facts, print_json
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
