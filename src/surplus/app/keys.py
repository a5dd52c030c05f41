"""Keys, made and ended by a caller who cannot give or take more than it has; a new one may bring its own budget."""

from dataclasses import dataclass

from surplus.app.callers import Caller, check_grant
from surplus.billing import service as billing
from surplus.billing.budgets import BudgetScope, Period
from surplus.billing.errors import BadBudget
from surplus.identity import service as identity
from surplus.identity.model import UNLIMITED, Key, KeySecret, Limits, Role
from surplus.kit.db import WriteSession
from surplus.kit.ids import Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """A key as it is asked for. `project` is a name or id, `member` an email or id.

    `budget_micro` is the cap of a hard budget of the key alone, in every `budget_period`; None sets none.
    """

    project: str | None = None
    member: str | None = None
    role: Role = Role.DEVELOPER
    name: str = ""
    limits: Limits = UNLIMITED
    expires_at: float | None = None
    budget_micro: int | None = None
    budget_period: Period = Period.FOREVER


def create(session: WriteSession, ids: Ids, caller: Caller, spec: KeySpec, *, now: float) -> KeySecret:
    """A new key, and its budget if it is to have one: both or neither.

    Raises RoleTooHigh, UnknownProject, UnknownMember, BadName, BadTerm, and BadBudget for a budget below zero.
    """
    check_grant(caller.key, spec.role)
    secret = identity.create_key(
        session,
        ids,
        org=caller.organization.id,
        project=spec.project,
        member=spec.member,
        role=spec.role,
        name=spec.name,
        limits=spec.limits,
        expires_at=spec.expires_at,
        now=now,
    )
    if spec.budget_micro is not None:
        _set_budget(session, ids, secret.key, spec.budget_micro, spec.budget_period, now)
    return secret


def rotate(session: WriteSession, ids: Ids, by: Key, key: Key, *, overlap_s: float, now: float) -> KeySecret:
    """A new token for `key`; the earlier one ends within `overlap_s` seconds. Raises RoleTooHigh, KeyEnded, BadTerm."""
    check_grant(by, key.role)
    return identity.rotate_key(session, ids, key.id, overlap_s=overlap_s, now=now)


def revoke(session: WriteSession, by: Key, key: Key, *, now: float) -> Key:
    """End `key` for good. Raises RoleTooHigh."""
    check_grant(by, key.role)
    return identity.revoke_key(session, key.id, now=now)


def _set_budget(session: WriteSession, ids: Ids, key: Key, cap_micro: int, period: Period, now: float) -> None:
    try:
        billing.set_budget(
            session,
            ids,
            org=key.org,
            scope=BudgetScope.KEY,
            scope_id=key.id,
            cap_micro=cap_micro,
            period=period,
            hard=True,
            now=now,
        )
    except BadBudget as error:
        raise BadBudget(error.message, param="budget") from error
