"""Members, managed by a caller who cannot give or take more than it has."""

from surplus.app.callers import Caller, check_grant
from surplus.identity import service as identity
from surplus.identity.model import Member, Role
from surplus.kit.db import WriteSession
from surplus.kit.ids import Ids


def add(session: WriteSession, ids: Ids, caller: Caller, *, email: str, role: Role, now: float) -> Member:
    """A new member. Raises RoleTooHigh, BadEmail, or NameTaken if the email is a member's already."""
    check_grant(caller.key, role)
    return identity.add_member(session, ids, org=caller.organization.id, email=email, role=role, now=now)


def set_role(session: WriteSession, caller: Caller, *, member: str, role: Role, now: float) -> Member:
    """Another role for a member (email or id). Raises UnknownMember, RoleTooHigh."""
    org = caller.organization.id
    check_grant(caller.key, identity.find_member(session, org, member).role)
    check_grant(caller.key, role)
    return identity.set_role(session, org=org, member=member, role=role, now=now)


def remove(session: WriteSession, caller: Caller, *, member: str, now: float) -> Member:
    """Forget a member (email or id) and revoke its keys; returns who it was. Raises UnknownMember, RoleTooHigh."""
    found = identity.find_member(session, caller.organization.id, member)
    check_grant(caller.key, found.role)
    identity.remove_member(session, org=found.org, member=found.id, now=now)
    return found
