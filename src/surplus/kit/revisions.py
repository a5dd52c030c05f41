"""Revision numbers: how a cache in any process learns that the facts behind it changed.

Whoever changes facts bumps their topic in the same transaction; whoever caches them compares numbers.
"""

from sqlalchemy import Column, String, Table, select

from surplus.kit.db import Big, ReadSession, WriteSession, metadata

revisions = Table(
    "kit_revision",
    metadata,
    Column("topic", String(40), primary_key=True),
    Column("number", Big, nullable=False),
)


def bump(session: WriteSession, topic: str) -> None:
    """Say that facts of this topic change in this transaction."""
    session.upsert(revisions, [{"topic": topic, "number": 1}], add=["number"])


def read(session: ReadSession) -> dict[str, int]:
    """The present number of every topic that ever changed."""
    return {row.topic: row.number for row in session.all(select(revisions.c.topic, revisions.c.number))}
