"""Use-cases of identity.

`org` is always the id of an organization. Whether the caller may do what it asks is the caller's layer's question;
here stand the rules that hold whoever asks. Every change bumps the revision of `TOPIC`, so that caches notice.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from surplus.identity import store
from surplus.identity.errors import (
    BadTerm,
    KeyEnded,
    NameTaken,
    RoleTooHigh,
    UnknownKey,
    UnknownMember,
    UnknownOrganization,
    UnknownProject,
)
from surplus.identity.model import (
    OPERATOR_NAME,
    UNLIMITED,
    Key,
    KeySecret,
    Limits,
    Member,
    Organization,
    Project,
    Role,
    StoredKey,
    check_email,
    check_name,
    exceeds,
    folded,
    format_token,
    hash_secret,
)
from surplus.kit import revisions
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.ids import Ids

TOPIC: Final = "identity"
LOCK: Final = "1 identity"
"""Held by whoever changes anything here: what a change rests on stays true until it is made."""
MAX_OVERLAP_S: Final = 30 * 86_400
_PUBLIC_ID_CHARACTERS: Final = 16
_NEVER: Final = 0.0


def create_organization(session: WriteSession, ids: Ids, name: str, *, now: float) -> Organization:
    """A new customer. Raises BadName, or NameTaken if another has the name, whatever its case."""
    session.exclusive(LOCK)
    organization = Organization(ids.new("org"), check_name(name, "an organization"), now)
    if folded(name) == OPERATOR_NAME or not store.add_organization(session, organization):
        raise NameTaken(f"there is an organization {name!r} already; choose another name", param="name")
    revisions.bump(session, TOPIC)
    return organization


def find_organization(session: ReadSession, name_or_id: str) -> Organization:
    """By id, else by name whatever its case. Raises UnknownOrganization."""
    found = store.organization(session, name_or_id) or store.organization_named(session, name_or_id)
    if found is None:
        raise UnknownOrganization(f"there is no organization {name_or_id[:100]!r}; check its name or id", param="org")
    return found


def list_organizations(session: ReadSession) -> list[Organization]:
    """Every organization by name, the operator's too."""
    return store.all_organizations(session)


def create_project(session: WriteSession, ids: Ids, *, org: str, name: str, now: float) -> Project:
    """A new project. Raises BadName, UnknownOrganization, or NameTaken if another project there has the name."""
    session.exclusive(LOCK)
    organization = _organization(session, org)
    project = Project(ids.new("prj"), org, check_name(name, "a project"), now)
    if not store.add_project(session, project):
        message = f"{organization.name!r} has a project {name!r} already; choose another name"
        raise NameTaken(message, param="name")
    revisions.bump(session, TOPIC)
    return project


def find_project(session: ReadSession, org: str, name_or_id: str) -> Project:
    """The organization's project by id, else by name whatever its case. Raises UnknownProject."""
    found = store.project(session, org, name_or_id) or store.project_named(session, org, name_or_id)
    if found is None:
        message = f"the organization has no project {name_or_id[:100]!r}; check its name or id"
        raise UnknownProject(message, param="project")
    return found


def list_projects(session: ReadSession, org: str) -> list[Project]:
    """The organization's projects by name."""
    return store.projects_of(session, org)


def add_member(session: WriteSession, ids: Ids, *, org: str, email: str, role: Role, now: float) -> Member:
    """A new member. Raises BadEmail, UnknownOrganization, NameTaken, or RoleTooHigh for an operator at a customer's."""
    session.exclusive(LOCK)
    organization = _organization(session, org)
    _check_role(role, organization, None)
    member = Member(ids.new("mem"), org, check_email(email), role, now)
    if not store.add_member(session, member):
        raise NameTaken(f"{email!r} is a member of {organization.name!r} already", param="email")
    revisions.bump(session, TOPIC)
    return member


def find_member(session: ReadSession, org: str, email_or_id: str) -> Member:
    """The organization's member by id, else by email whatever its case. Raises UnknownMember."""
    found = store.member(session, org, email_or_id) or store.member_with_email(session, org, email_or_id)
    if found is None:
        message = f"the organization has no member {email_or_id[:100]!r}; check the email or id"
        raise UnknownMember(message, param="member")
    return found


def list_members(session: ReadSession, org: str) -> list[Member]:
    """The organization's members by email."""
    return store.members_of(session, org)


def set_role(session: WriteSession, *, org: str, member: str, role: Role, now: float) -> Member:
    """Give a member (email or id) another role. Those of its keys that allow more than the new role are revoked.

    Raises UnknownMember, or RoleTooHigh for an operator at a customer's.
    """
    session.exclusive(LOCK)
    found = find_member(session, org, member)
    _check_role(role, _organization(session, org), None)
    store.set_role(session, found.id, role)
    _revoke(session, [key for key in store.keys_of_member(session, found.id) if exceeds(key.role, role)], now)
    revisions.bump(session, TOPIC)
    return replace(found, role=role)


def remove_member(session: WriteSession, *, org: str, member: str, now: float) -> None:
    """Forget a member (email or id) and revoke its keys. Raises UnknownMember."""
    session.exclusive(LOCK)
    found = find_member(session, org, member)
    _revoke(session, store.keys_of_member(session, found.id), now)
    store.delete_member(session, found.id)
    revisions.bump(session, TOPIC)


def create_key(  # noqa: PLR0913  each of these is a property of the key
    session: WriteSession,
    ids: Ids,
    *,
    org: str,
    project: str | None = None,
    member: str | None = None,
    role: Role = Role.DEVELOPER,
    name: str = "",
    limits: Limits = UNLIMITED,
    expires_at: float | None = None,
    now: float,
) -> KeySecret:
    """A new key of an organization, of one of its projects (name or id) if given, for a member (email or id) if given.

    Raises UnknownOrganization, UnknownProject, UnknownMember, BadName, BadTerm if it would expire before it exists, and
    RoleTooHigh if the key would be allowed more than its member, or operate from a customer's organization.
    """
    session.exclusive(LOCK)
    organization = _organization(session, org)
    project_id = None if project is None else find_project(session, org, project).id
    holder = None if member is None else find_member(session, org, member)
    _check_role(role, organization, holder)
    if expires_at is not None and not now < expires_at < float("inf"):
        raise BadTerm("a key has to expire in the future; give a later instant, or none", param="expires_at")
    key = Key(
        id=ids.new("key"),
        public_id=_public_id(ids),
        org=org,
        project=project_id,
        member=None if holder is None else holder.id,
        role=role,
        name=check_name(name, "a key") if name else "",
        limits=limits,
        created_at=now,
        expires_at=expires_at,
        revoked_at=None,
    )
    secret = ids.secret()
    store.add_key(session, key, hash_secret(secret))
    revisions.bump(session, TOPIC)
    return KeySecret(key, format_token(key.public_id, secret))


def rotate_key(session: WriteSession, ids: Ids, key_id: str, *, overlap_s: float = 0, now: float) -> KeySecret:
    """A new public id and secret for the same key; every earlier secret ends within `overlap_s` seconds, 0 is at once.

    Raises UnknownKey, KeyEnded if the key is revoked or expired, BadTerm if the overlap is not from 0 to 30 days.
    """
    session.exclusive(LOCK)
    key = get_key(session, key_id)
    if not key.usable(now):
        state = "revoked" if key.revoked_at is not None else "expired"
        raise KeyEnded(f"the key {key_id} is {state} and cannot be rotated; create a new key")
    if not 0 <= overlap_s <= MAX_OVERLAP_S:
        message = f"the overlap is {overlap_s} seconds; give 0 to {MAX_OVERLAP_S} (30 days)"
        raise BadTerm(message, param="overlap_s")
    renewed = replace(key, public_id=_public_id(ids))
    secret = ids.secret()
    # A clock that is set back must not wake a secret that ended at once, so such a secret has no instant of validity.
    earlier_until = now + overlap_s if overlap_s > 0 else _NEVER
    store.replace_secret(session, renewed, hash_secret(secret), earlier_until=earlier_until)
    revisions.bump(session, TOPIC)
    return KeySecret(renewed, format_token(renewed.public_id, secret))


def revoke_key(session: WriteSession, key_id: str, *, now: float) -> Key:
    """End a key for good; ending it again changes nothing. Raises UnknownKey."""
    session.exclusive(LOCK)
    key = get_key(session, key_id)
    if key.revoked_at is not None:
        return key
    _revoke(session, [key], now)
    revisions.bump(session, TOPIC)
    return replace(key, revoked_at=now)


def list_keys(session: ReadSession, org: str, *, project: str | None = None) -> list[Key]:
    """The organization's keys, or those of one of its projects (id), oldest first, ended ones too."""
    return store.keys_of(session, org, project)


def get_key(session: ReadSession, key_id: str, *, org: str | None = None) -> Key:
    """A key by its id, within one organization if given. Raises UnknownKey."""
    key = store.key(session, key_id)
    if key is None or org not in (None, key.org):
        raise UnknownKey(f"there is no key {key_id[:100]!r}; check its id", param="key")
    return key


def find_by_public_id(session: ReadSession, public_id: str) -> StoredKey | None:
    """What `model.verify` needs to know about the token with this public id; None if nobody has it."""
    return store.stored_key(session, public_id)


def ensure_operator_key(session: WriteSession, ids: Ids, *, now: float) -> KeySecret | None:
    """Make the operator's organization, and a key to operate with unless it has one that is usable (then None)."""
    session.exclusive(LOCK)
    operator = _operator(session, ids, now)
    if any(key.role is Role.OPERATOR and key.usable(now) for key in store.keys_of(session, operator.id)):
        return None
    return create_key(session, ids, org=operator.id, role=Role.OPERATOR, name=OPERATOR_NAME, now=now)


def reset_operator_key(
    session: WriteSession, ids: Ids, *, now: float
) -> tuple[KeySecret, tuple[str, ...], tuple[str, ...]]:
    """A new key in the place of the operator's first one, for when that is lost.

    Returns it, the ids of the keys that it replaces, which are revoked, and those of operators' keys that are left.
    """
    session.exclusive(LOCK)
    operator = _operator(session, ids, now)
    usable = [key for key in store.keys_of(session, operator.id) if key.role is Role.OPERATOR and key.usable(now)]
    earlier = [key for key in usable if key.name == OPERATOR_NAME]
    _revoke(session, earlier, now)
    made = create_key(session, ids, org=operator.id, role=Role.OPERATOR, name=OPERATOR_NAME, now=now)
    left = tuple(key.id for key in usable if key.name != OPERATOR_NAME)
    return made, tuple(key.id for key in earlier), left


def _operator(session: WriteSession, ids: Ids, now: float) -> Organization:
    operator = store.organization_named(session, OPERATOR_NAME)
    if operator is None:
        operator = Organization(ids.new("org"), OPERATOR_NAME, now)
        store.add_organization(session, operator)
    return operator


def _organization(session: ReadSession, org: str) -> Organization:
    organization = store.organization(session, org)
    if organization is None:
        raise UnknownOrganization(f"there is no organization with the id {org[:100]!r}; check it", param="org")
    return organization


def _check_role(role: Role, organization: Organization, holder: Member | None) -> None:
    if role is Role.OPERATOR and not organization.is_operator:
        message = f"only the operator's own organization has operators, and {organization.name!r} is a customer's"
        raise RoleTooHigh(f"{message}; choose admin, developer or finance", param="role")
    if holder is not None and exceeds(role, holder.role):
        message = f"{holder.email} is {holder.role}, and a key of role {role} would be allowed more"
        raise RoleTooHigh(f"{message}; choose a lower role or change the member's", param="role")


def _revoke(session: WriteSession, keys: Sequence[Key], now: float) -> None:
    store.revoke(session, [key.id for key in keys], now)


def _public_id(ids: Ids) -> str:
    return ids.secret()[-_PUBLIC_ID_CHARACTERS:]
