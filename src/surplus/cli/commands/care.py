"""`surplus backup`, `restore` and `operator-key`: care of the books, on the machine where they are."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from surplus.cli.commands.server import StoreUrl
from surplus.cli.local import load, refusals
from surplus.cli.options import Json
from surplus.cli.output import print_data, print_facts, print_line, utc
from surplus.kit.clock import SystemClock
from surplus.kit.ids import RandomIds

CARE: Final = "surplus.care"

Data = Annotated[Path, typer.Option("--data", metavar="DIR", file_okay=False, help="The server's data directory.")]

app = typer.Typer(name="operator-key", no_args_is_help=True, help="The operator's key, for whoever has the machine.")


def backup(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder, on another disk.")],
    data: Data,
    database: StoreUrl = None,
    with_key: Annotated[
        bool, typer.Option("--with-operator-key", help="Copy operator.key too; the backup is then a secret.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy the books while the server runs.

    The copy is of one instant, is checked when it is written, and has a manifest with the SHA-256 of every file.
    """
    with refusals():
        manifest = load(CARE).back_up(data, destination, with_key=with_key, store_url=database, clock=SystemClock())
    if as_json:
        print_data({"backup": str(destination), **_manifest(manifest)})
        return
    print_facts({"backup": str(destination), **_facts(manifest)})
    if not with_key:
        print_line("the operator's key is not in it: keep a copy of operator.key elsewhere")


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The folder that `surplus backup` made.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", file_okay=False, help="A new or an empty directory.")],
    database: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Make a data directory from a backup.

    Refuses unless every byte is what was written and the books in it are sound.
    """
    with refusals():
        done = load(CARE).restore(source, data, store_url=database, clock=SystemClock())
    if as_json:
        fields = {"data": str(done.data), "upgraded": done.upgraded, "operator_key": done.has_key}
        print_data({**fields, **_manifest(done.manifest)})
        return
    print_facts({"restored": str(done.data), **_facts(done.manifest)})
    for line in _warnings(done):
        print_line(line)


def _facts(manifest: Any) -> dict[str, object]:
    counts = manifest.counts
    return {
        "the books of (UTC)": utc(manifest.taken_at),
        "written by version": manifest.version,
        "organizations": counts.organizations,
        "ledger entries": counts.entries,
        "ledger head": f"{manifest.head.seq} {manifest.head.hash}",
        "settled, to be loaded": counts.to_load,
        "in flight": counts.in_flight,
        "not of the gateways": ", ".join(manifest.other_gateways) or "none is missing",
    }


def _warnings(done: Any) -> list[str]:
    counts = done.manifest.counts
    lines = [f"everything that happened after {utc(done.manifest.taken_at)} (UTC) is not in these books"]
    if counts.to_load or counts.in_flight:
        lines.append(
            f"{counts.to_load} settled requests have been charged from the journal; {counts.in_flight} that were in "
            "flight are settled as interrupted, by what they had used"
        )
    if done.upgraded:
        lines.append("the schema was an earlier version's and has been brought to this one's")
    if not done.has_key:
        lines.append(f"without the operator's key: put it back, or run surplus operator-key reset --data {done.data}")
    lines.append(
        "where the server that was backed up runs on, there are two sets of books now: stop one of them for good "
        "before customers reach the other"
    )
    if done.manifest.other_gateways:
        names = ", ".join(done.manifest.other_gateways)
        lines.append(f"free what these gateways held, whose journals are elsewhere: surplus gateway forget ({names})")
    lines.append("keys that were revoked since are good again in these books: revoke them once more")
    return lines


def _manifest(manifest: Any) -> dict[str, Any]:
    counts, head = manifest.counts, manifest.head
    return {
        "taken_at": manifest.taken_at,
        "version": manifest.version,
        "schema": manifest.db_schema,
        "head": {"seq": head.seq, "hash": head.hash},
        "journals": {
            name: {"start": one.start, "loaded": one.loaded, "end": one.end} for name, one in manifest.journals.items()
        },
        "organizations": counts.organizations,
        "entries": counts.entries,
        "batches": counts.batches,
        "to_load": counts.to_load,
        "in_flight": counts.in_flight,
        "other_gateways": list(manifest.other_gateways),
        "files": {name: {"bytes": one.bytes, "sha256": one.sha256} for name, one in manifest.files.items()},
    }


@app.command("reset")
def reset(data: Data, database: StoreUrl = None, as_json: Json = False) -> None:
    """Make a new operator's key where the first one is lost, and revoke that one.

    The new key is written to DIR/operator.key. The server may run meanwhile.
    """
    clock = SystemClock()
    with refusals():
        done = load(CARE).reset_operator_key(data, store_url=database, ids=RandomIds(clock), clock=clock)
    if as_json:
        print_data({"id": done.key, "file": str(done.file), "revoked": list(done.revoked), "left": list(done.left)})
        return
    print_facts({"key": done.key, "written to": str(done.file), "revoked": ", ".join(done.revoked)})
    if done.left:
        print_line(f"other operators' keys are as they were: {', '.join(done.left)} (surplus key revoke ID)")
