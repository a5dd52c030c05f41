"""All SQL of the gateway: its journal's position."""

from dataclasses import dataclass

from sqlalchemy import select

from surplus.gateway.tables import journals
from surplus.kit.db import ReadSession, WriteSession


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
