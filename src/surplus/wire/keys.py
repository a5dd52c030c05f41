"""API keys."""

from typing import Annotated

from pydantic import Field

from surplus.wire.base import Answer, Dollars, Instant, Name, Request
from surplus.wire.budgets import PeriodName
from surplus.wire.members import RoleName


class KeyRequest(Request):
    """A new key. `project` is a name or id, `member` an email or id; limits that are left out do not exist."""

    project: Name | None = None
    member: Name | None = None
    role: RoleName = "developer"
    name: Name = ""
    budget: Annotated[Dollars | None, Field(description="A hard budget of the key alone.")] = None
    budget_period: PeriodName = "forever"
    rpm: Annotated[int | None, Field(description="Requests a minute.")] = None
    tpm: Annotated[int | None, Field(description="Tokens a minute.")] = None
    concurrency: Annotated[int | None, Field(description="Requests at one time.")] = None
    expires_at: Instant | None = None


class RotateRequest(Request):
    """A new secret for a key. The earlier one stays valid for `overlap_s` seconds, 0 ends it at once."""

    overlap_s: Annotated[float, Field(allow_inf_nan=False)] = 0


class Key(Answer):
    """A key without its secret. `id` stays through every rotation, `public_id` (part of the token) changes."""

    id: str
    public_id: str
    organization: str
    project: str | None
    member: str | None
    role: RoleName
    name: str
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None


class KeyCreated(Key):
    """A key with its token, which is shown this once and cannot be had again."""

    key: str = Field(examples=["sk-…-…"])
