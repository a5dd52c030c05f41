"""The database: one writer, many readers, commit at the edge. Only this package knows which dialect it is."""

from surplus.kit.db.database import Database
from surplus.kit.db.dialect import StoreUnavailable
from surplus.kit.db.group import GroupCommit
from surplus.kit.db.partitions import is_piece, monthly
from surplus.kit.db.schema import Big, metadata
from surplus.kit.db.session import ReadSession, WriteSession

__all__ = [
    "Big",
    "Database",
    "GroupCommit",
    "ReadSession",
    "StoreUnavailable",
    "WriteSession",
    "is_piece",
    "metadata",
    "monthly",
]
