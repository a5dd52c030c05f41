"""What the path needs from outside, and where another implementation will come: money is held through `Funds`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from surplus.billing.budgets import Budget
from surplus.gateway.body import Body
from surplus.gateway.endpoints import Endpoint


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """The most that a request can cost, held against its wallet and all its budgets, or against none.

    `amount_micro` in micro-dollars; `deadline` in epoch seconds: a hold that nothing settles ends then.
    """

    request: str
    org: str
    budgets: Sequence[Budget]
    amount_micro: int
    at: float
    deadline: float


class Funds(Protocol):
    """Grants holds. Posting and releasing them is the loader's work, from the journal."""

    async def hold(self, request: HoldRequest) -> None:
        """Hold the money. Raises BudgetSpent, BudgetInFlight or Unavailable, and then nothing is held."""
        ...

    def release(self, request: str) -> None:
        """Give back a hold whose request was never admitted; returns at once and does not fail."""
        ...


class Traced(Protocol):
    """What a span needs to know of an admitted request."""

    request: str
    endpoint: Endpoint
    body: Body
