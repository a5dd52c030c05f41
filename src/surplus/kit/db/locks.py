"""Locks by name between the processes of one store.

They belong to a transaction and end with it. All code takes them in the alphabetical order of their names, so that no
two transactions can wait for each other; sessions hold it to that on every store. Names therefore begin with a number.
"""

import hashlib

from sqlalchemy import Connection


def take(connection: Connection, name: str) -> None:
    """Wait until no other transaction has the lock `name`. Where a writer is alone anyway, nothing is to be done."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({number(name)})")


def number(name: str) -> int:
    """The 64-bit number that stands for a name, the same in every process and version."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
