"""Budgets: what may be spent within an organization, by whom, in which span of time."""

from typing import Annotated, Literal

from pydantic import Field

from surplus.wire.base import Answer, Dollars, Instant, Name, Request

ScopeName = Literal["organization", "project", "key"]
PeriodName = Literal["day", "month", "forever"]


class BudgetRequest(Request):
    """The one budget of a scope and a period; setting it again changes the cap."""

    scope: ScopeName
    scope_id: Annotated[
        Name | None, Field(description="A project's name or id, or a key's id; left out for the organization.")
    ] = None
    cap: Dollars
    period: PeriodName
    hard: Annotated[bool, Field(description="Refuse what exceeds it; a soft budget counts and alerts.")] = True


class Budget(Answer):
    """A budget and its present window (UTC). `left` is below zero where a soft or a lowered budget is exceeded."""

    id: str
    scope: ScopeName
    scope_id: str
    cap: Dollars
    period: PeriodName
    hard: bool
    window: str = Field(examples=["2026-11-21", "2026-11", "all"])
    spent: Dollars
    held: Dollars
    left: Dollars
    created_at: Instant
