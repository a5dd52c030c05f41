"""All SQL of identity."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Table, delete, or_, select, update

from surplus.identity.model import Key, Limits, Member, Organization, Project, Role, StoredKey, folded
from surplus.identity.tables import keys, members, organizations, projects, secrets
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.db.session import AnyRow, AnySelect

_LIMITS: Final = ("rpm", "tpm", "concurrency")
_PLAIN: Final = tuple(column.name for column in keys.columns if column.name not in (*_LIMITS, "role"))


def add_organization(session: WriteSession, organization: Organization) -> bool:
    """Insert it; False if another one has its name."""
    row = {**asdict(organization), "name_key": folded(organization.name)}
    session.insert_new(organizations, [row])
    return _won(session, organizations, row, ["name_key"])


def add_project(session: WriteSession, project: Project) -> bool:
    """Insert it; False if another one of the organization has its name."""
    row = {**asdict(project), "name_key": folded(project.name)}
    session.insert_new(projects, [row])
    return _won(session, projects, row, ["org", "name_key"])


def add_member(session: WriteSession, member: Member) -> bool:
    """Insert it; False if another one of the organization has this email."""
    row = {**asdict(member), "role": member.role.value, "email_key": folded(member.email)}
    session.insert_new(members, [row])
    return _won(session, members, row, ["org", "email_key"])


def _won(session: ReadSession, table: Table, row: dict[str, Any], unique: Sequence[str]) -> bool:
    # Asking after the insert, and not before it, leaves no gap for another process to take the name in.
    holder = select(table.c.id).where(*(table.c[name] == row[name] for name in unique))
    return session.scalar(holder) == row["id"]


def organization(session: ReadSession, org: str) -> Organization | None:
    """The organization with this id."""
    return _organization(session.first(select(organizations).where(organizations.c.id == org)))


def organization_named(session: ReadSession, name: str) -> Organization | None:
    """The organization with this name, whatever its case."""
    return _organization(session.first(select(organizations).where(organizations.c.name_key == folded(name))))


def all_organizations(session: ReadSession) -> list[Organization]:
    """Every organization by name."""
    rows = session.all(select(organizations).order_by(organizations.c.name_key))
    return [Organization(row.id, row.name, row.created_at) for row in rows]


def project(session: ReadSession, org: str, project_id: str) -> Project | None:
    """The organization's project with this id."""
    query = select(projects).where(projects.c.org == org, projects.c.id == project_id)
    return _project(session.first(query))


def project_named(session: ReadSession, org: str, name: str) -> Project | None:
    """The organization's project with this name, whatever its case."""
    query = select(projects).where(projects.c.org == org, projects.c.name_key == folded(name))
    return _project(session.first(query))


def projects_of(session: ReadSession, org: str) -> list[Project]:
    """The organization's projects by name."""
    query = select(projects).where(projects.c.org == org).order_by(projects.c.name_key)
    return [Project(row.id, row.org, row.name, row.created_at) for row in session.all(query)]


def member(session: ReadSession, org: str, member_id: str) -> Member | None:
    """The organization's member with this id."""
    query = select(members).where(members.c.org == org, members.c.id == member_id)
    return _member(session.first(query))


def member_with_email(session: ReadSession, org: str, email: str) -> Member | None:
    """The organization's member with this email, whatever its case."""
    query = select(members).where(members.c.org == org, members.c.email_key == folded(email))
    return _member(session.first(query))


def members_of(session: ReadSession, org: str) -> list[Member]:
    """The organization's members by email."""
    rows = session.all(select(members).where(members.c.org == org).order_by(members.c.email_key))
    return [Member(row.id, row.org, row.email, Role(row.role), row.created_at) for row in rows]


def set_role(session: WriteSession, member_id: str, role: Role) -> None:
    """Change what a member may do."""
    session.execute(update(members).where(members.c.id == member_id).values(role=role.value))


def delete_member(session: WriteSession, member_id: str) -> None:
    """Forget a member."""
    session.execute(delete(members).where(members.c.id == member_id))


def add_key(session: WriteSession, key: Key, secret_hash: str) -> None:
    """Insert a key and the secret of its public id."""
    row: dict[str, Any] = {name: getattr(key, name) for name in _PLAIN}
    row.update({name: getattr(key.limits, name) for name in _LIMITS}, role=key.role.value)
    session.insert(keys, [row])
    _add_secret(session, key, secret_hash)


def replace_secret(session: WriteSession, key: Key, secret_hash: str, *, earlier_until: float) -> None:
    """Give a key its new public id and secret; every earlier secret ends at `earlier_until` if not before."""
    earlier = update(secrets).where(
        secrets.c.key_id == key.id, or_(secrets.c.valid_until.is_(None), secrets.c.valid_until > earlier_until)
    )
    session.execute(earlier.values(valid_until=earlier_until))
    session.execute(update(keys).where(keys.c.id == key.id).values(public_id=key.public_id))
    _add_secret(session, key, secret_hash)


def _add_secret(session: WriteSession, key: Key, secret_hash: str) -> None:
    session.insert(secrets, [{"public_id": key.public_id, "key_id": key.id, "secret_hash": secret_hash}])


def revoke(session: WriteSession, key_ids: Sequence[str], now: float) -> None:
    """Revoke those of the keys that are not revoked yet."""
    query = update(keys).where(keys.c.id.in_(key_ids), keys.c.revoked_at.is_(None))
    session.execute(query.values(revoked_at=now))


def key(session: ReadSession, key_id: str) -> Key | None:
    """The key with this id."""
    row = session.first(select(keys).where(keys.c.id == key_id))
    return None if row is None else _key(row)


def keys_of(session: ReadSession, org: str, project: str | None = None) -> list[Key]:
    """The organization's keys, or those of one of its projects, oldest first."""
    query: AnySelect = select(keys).where(keys.c.org == org)
    return _keys(session, query if project is None else query.where(keys.c.project == project))


def keys_of_member(session: ReadSession, member_id: str) -> list[Key]:
    """The member's keys, oldest first."""
    return _keys(session, select(keys).where(keys.c.member == member_id))


def stored_key(session: ReadSession, public_id: str) -> StoredKey | None:
    """The key that this public id finds, be it the present one or an earlier one."""
    query: AnySelect = select(keys, secrets.c.secret_hash, secrets.c.valid_until).join_from(keys, secrets)
    row = session.first(query.where(secrets.c.public_id == public_id))
    return None if row is None else StoredKey(_key(row), row.secret_hash, row.valid_until)


def _organization(row: AnyRow | None) -> Organization | None:
    return None if row is None else Organization(row.id, row.name, row.created_at)


def _project(row: AnyRow | None) -> Project | None:
    return None if row is None else Project(row.id, row.org, row.name, row.created_at)


def _member(row: AnyRow | None) -> Member | None:
    return None if row is None else Member(row.id, row.org, row.email, Role(row.role), row.created_at)


def _keys(session: ReadSession, query: AnySelect) -> list[Key]:
    return [_key(row) for row in session.all(query.order_by(keys.c.created_at, keys.c.id))]


def _key(row: AnyRow) -> Key:
    plain: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
    return Key(**plain, role=Role(row.role), limits=Limits(row.rpm, row.tpm, row.concurrency))
