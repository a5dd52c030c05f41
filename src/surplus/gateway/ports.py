"""What the path needs from outside, and where there is more than one implementation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from surplus.billing.budgets import Budget
from surplus.gateway.body import Body
from surplus.gateway.endpoints import Endpoint
from surplus.gateway.entries import Settled
from surplus.ledger.commands import DrawSlice, PlaceHold, ReturnSlice, VoidHold
from surplus.ledger.model import Outcome


class Grant(NamedTuple):
    """A hold: of the ledger itself (`slice` is empty), or out of a slice. Micro-dollars."""

    slice: str
    micro: int


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """The most that a request can cost, held against its wallet and all its budgets, or against none.

    `amount_micro` in micro-dollars; `deadline` in epoch seconds: a hold of the ledger that nothing settles ends then.
    """

    request: str
    org: str
    budgets: Sequence[Budget]
    amount_micro: int
    at: float
    deadline: float


class Funds(Protocol):
    """Grants holds. Posting them is the loader's work, from the journal."""

    async def hold(self, request: HoldRequest) -> Grant:
        """Hold the money. Raises BudgetSpent, BudgetInFlight or Unavailable, and then nothing is held."""
        ...

    def release(self, request: str, grant: Grant) -> None:
        """Give back a hold whose request was never admitted; returns at once and does not fail."""
        ...


class Load(msgspec.Struct, frozen=True):
    """A part of a gateway's journal, from position `since` to `position`, and what to do with its slices.

    `granted` is what of each slice is held by requests (micro-dollars), where that has changed.
    """

    gateway: str
    settled: tuple[Settled, ...]
    since: int
    position: int
    open_from: int
    draws: tuple[DrawSlice, ...] = ()
    granted: dict[str, int] = {}


class Loaded(msgspec.Struct, frozen=True):
    """What was charged to each slice and drawn into each (micro-dollars).

    `first` is False if it had been loaded before: then what was charged is not told, and nothing was drawn.
    """

    charged: dict[str, int] = {}
    drawn: dict[str, int] = {}
    first: bool = True


FundsCommand = PlaceHold | VoidHold | ReturnSlice


class Books(Protocol):
    """The ledger and the journal's place in the database, written here or by another process."""

    async def apply(self, command: FundsCommand) -> Outcome:
        """Do it, durably, with others in one commit. Raises what the ledger refuses, and Unavailable: then it may or
        may not have been done.
        """
        ...

    async def load(self, load: Load) -> Loaded:
        """Do all of it in one transaction. Raises Unavailable: then it may or may not have been done."""
        ...

    async def recalled(self, holder: str) -> Sequence[str]:
        """The slices of a process that have to give back what is idle. Raises Unavailable."""
        ...


class Traced(Protocol):
    """What a span needs to know of an admitted request."""

    request: str
    endpoint: Endpoint
    body: Body
