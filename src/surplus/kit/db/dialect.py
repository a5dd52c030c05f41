"""What differs between the databases that a store can be in: how it is opened, and what its errors mean."""

from typing import Protocol

from sqlalchemy import Connection, Engine, exc

from surplus.kit.errors import SurplusError, Unavailable


class StoreUnavailable(Unavailable):
    """Our own database did not answer, is full, or is locked by someone else."""

    code = "store_unavailable"


class Dialect(Protocol):
    """One database: a file, or a name on a server."""

    @property
    def name(self) -> str:
        """What messages and logs call it; it holds no password."""
        ...

    def engine(self, *, readonly: bool) -> Engine:
        """Connections for the one writer, or for readers that see one state of the store and cannot write."""
        ...

    def idle(self, connection: Connection) -> bool:
        """Whether a connection that served before will serve again, as far as can be told without asking the store."""
        ...

    def translate(self, error: exc.DBAPIError) -> SurplusError | None:
        """The error that callers should see in its place; None where the store rightly refused what its caller did."""
        ...

    def survives(self, error: SurplusError) -> bool:
        """Whether the connection on which this happened can go on."""
        ...

    def begin_migration(self, connection: Connection) -> None:
        """Wait until nobody else changes the schema; until the transaction ends, nobody else begins."""
        ...
