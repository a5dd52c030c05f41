"""Who calls the control plane, and what they may reach. The one place where organizations are kept apart.

The operator reaches every organization and may do everything in it; anyone else reaches only its own, and there may do
what its role allows. What a caller does not reach looks to it as if it did not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from surplus.app.errors import RoleMayNot
from surplus.identity import service as identity
from surplus.identity.errors import RoleTooHigh, UnknownOrganization
from surplus.identity.model import Action, Key, Organization, Role, allows, exceeds, folded, parse_token, verify
from surplus.kit.db import ReadSession

_WORDS: Final[Mapping[Action, str]] = {
    Action.CALL_MODELS: "call models",
    Action.MANAGE_ORG: "manage an organization",
    Action.READ_USAGE: "read usage",
    Action.READ_MONEY: "read about money",
    Action.MANAGE_BUDGETS: "manage budgets",
    Action.OPERATE: "operate this server",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was authenticated, and the organization that its request is about."""

    key: Key
    organization: Organization


def operates(key: Key) -> bool:
    """Whether the key is the operator's."""
    return allows(key.role, Action.OPERATE)


def authenticate(session: ReadSession, token: str, action: Action | None, *, now: float) -> Key:
    """The key with this token, if its role allows `action` (None: any role will do).

    Raises InvalidKey, ExpiredKey, RevokedKey, ReplacedKey or RoleMayNot.
    """
    public_id, secret = parse_token(token)
    key = verify(identity.find_by_public_id(session, public_id), secret, now)
    _require(key, action)
    return key


def inside(session: ReadSession, token: str, name_or_id: str, action: Action, *, now: float) -> Caller:
    """The caller of a request about an organization. Raises as `authenticate` does, and UnknownOrganization."""
    key = authenticate(session, token, None, now=now)
    organization = _reached(session, key, name_or_id)
    _require(key, action)
    return Caller(key, organization)


def over_key(session: ReadSession, token: str, key_id: str, action: Action, *, now: float) -> tuple[Key, Key]:
    """The caller of a request about a key, and that key. Raises as `authenticate` does, and UnknownKey."""
    key = authenticate(session, token, None, now=now)
    subject = identity.get_key(session, key_id, org=None if operates(key) else key.org)
    _require(key, action)
    return key, subject


def reached(session: ReadSession, key: Key) -> list[Organization]:
    """The organizations that the caller reaches, by name."""
    return identity.list_organizations(session) if operates(key) else [identity.find_organization(session, key.org)]


def check_grant(by: Key, role: Role) -> None:
    """Raise RoleTooHigh if `by` would give, or get a hold of, a role that may do what it may not do itself."""
    if not operates(by) and exceeds(role, by.role):
        message = f"this key has the role {by.role} and cannot give or take the role {role}, which may do more"
        raise RoleTooHigh(f"{message}; ask the operator", param="role")


def _reached(session: ReadSession, key: Key, name_or_id: str) -> Organization:
    if operates(key):
        return identity.find_organization(session, name_or_id)
    own = identity.find_organization(session, key.org)
    if name_or_id != own.id and folded(name_or_id) != folded(own.name):
        raise UnknownOrganization(f"there is no organization {name_or_id[:100]!r}; check its name or id", param="org")
    return own


def _require(key: Key, action: Action | None) -> None:
    if action is None or operates(key) or allows(key.role, action):
        return
    able = " or ".join(role for role in Role if role is Role.OPERATOR or allows(role, action))
    raise RoleMayNot(f"this key has the role {key.role} and may not {_WORDS[action]}; use a key of the role {able}")
