"""The server itself."""

from typing import Literal

from pydantic import Field

from surplus.wire.base import Answer, Instant
from surplus.wire.ledger import LedgerStanding


class Worker(Answer):
    """A process that takes requests, as it last said. `why` says what keeps it from being ready."""

    number: int
    pid: int
    ready: bool
    why: tuple[str, ...]
    in_flight: int = Field(description="Requests being served.")
    journal_lag_bytes: int = Field(description="Settled work that is not in the database yet.")


class Status(Answer):
    """How the server is. `why` says what keeps it from being ready."""

    version: str
    started_at: Instant
    in_flight: int = Field(description="Requests being served.")
    journal_lag_bytes: int = Field(description="Settled work that is not in the database yet.")
    ready: bool
    why: tuple[str, ...]
    workers: tuple[Worker, ...] = Field(description="Empty where one process does everything.")
    ledger: LedgerStanding


class Health(Answer):
    """The process is alive."""

    status: Literal["ok"]


class Readiness(Answer):
    """Whether the server should get requests now, and if not, why."""

    ready: bool
    why: tuple[str, ...]
