"""Budgets: what may be spent within an organization, by whom, in which span of time. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from surplus.kit.clock import day_of, month_of

THRESHOLDS: Final = (50, 80, 100)
"""Percent of a cap at which somebody is told."""


class Period(StrEnum):
    """How often a budget starts again, in UTC."""

    DAY = "day"
    MONTH = "month"
    FOREVER = "forever"


class BudgetScope(StrEnum):
    """Whose requests a budget counts."""

    ORGANIZATION = "organization"
    PROJECT = "project"
    KEY = "key"


def window(period: Period, at: float) -> str:
    """The name of the window that an instant falls in: `2026-11-21`, `2026-11` or `all`."""
    match period:
        case Period.DAY:
            return day_of(at)
        case Period.MONTH:
            return month_of(at)
        case Period.FOREVER:
            return "all"


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `cap_micro` micro-dollars in every window of `period`. A soft one (not `hard`) only counts and alerts.

    A request counts in the window of its admission, whenever it ends.
    """

    id: str
    org: str
    scope: BudgetScope
    scope_id: str
    cap_micro: int
    period: Period
    hard: bool
    created_at: float

    @property
    def limit(self) -> int | None:
        """What the ledger enforces: the cap of a hard budget, nothing for a soft one."""
        return self.cap_micro if self.hard else None

    def account(self, at: float) -> str:
        """The ledger account of the window that `at` falls in. Nothing is ever reset: the next window has its own."""
        return f"budget:{self.id}:{window(self.period, at)}"


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget and what its present window has spent and holds, in micro-dollars."""

    budget: Budget
    window: str
    spent_micro: int
    held_micro: int

    @property
    def left_micro(self) -> int:
        """What is neither spent nor held; negative where a soft budget, or a lowered one, is exceeded."""
        return self.budget.cap_micro - self.spent_micro - self.held_micro


def crossed(before_micro: int, after_micro: int, cap_micro: int) -> list[int]:
    """The percentages of THRESHOLDS that spending reached on its way from `before_micro` to `after_micro`.

    A threshold is reached at the first whole micro-dollar that is not below it, and at a cap of 0 by the first one.
    """
    marks = ((percent, max(1, -(-cap_micro * percent // 100))) for percent in THRESHOLDS)
    return [percent for percent, mark in marks if before_micro < mark <= after_micro]
