"""All SQL of the gateway: its journal's position, and which gateways there are."""

from dataclasses import asdict, dataclass, fields
from typing import Final

from sqlalchemy import select

from surplus.gateway.model import Process
from surplus.gateway.tables import journals
from surplus.gateway.tables import processes as table
from surplus.kit.db import ReadSession, WriteSession

_PROCESS: Final = [table.c[field.name] for field in fields(Process)]


@dataclass(frozen=True, slots=True)
class Progress:
    """Entries before `position` are in the database; no request admitted before `open_from` is still open."""

    position: int
    open_from: int


def progress(session: ReadSession, gateway: str) -> Progress:
    """How far this gateway's journal has been loaded; the beginning, if it never was."""
    row = session.first(select(journals).where(journals.c.gateway == gateway))
    return Progress(row.position, row.open_from) if row is not None else Progress(0, 0)


def set_progress(session: WriteSession, gateway: str, progress: Progress) -> None:
    """Store the progress; call it in the transaction of what was loaded."""
    row = {"gateway": gateway, "position": progress.position, "open_from": progress.open_from}
    session.upsert(journals, [row], replace=["position", "open_from"])


def put_process(session: WriteSession, process: Process) -> None:
    """Write down that a gateway is there."""
    session.upsert(table, [asdict(process)], replace=["host", "pid", "role", "version", "started_at", "seen_at"])


def processes(session: ReadSession) -> list[Process]:
    """Every gateway, by name."""
    return [Process(*row) for row in session.all(select(*_PROCESS).order_by(table.c.name))]


def process(session: ReadSession, name: str) -> Process | None:
    """One gateway."""
    row = session.first(select(*_PROCESS).where(table.c.name == name))
    return Process(*row) if row is not None else None


def drop_process(session: WriteSession, name: str) -> None:
    """Forget a gateway."""
    session.execute(table.delete().where(table.c.name == name))
