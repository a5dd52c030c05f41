"""The tables of identity. `name_key` and `email_key` are folded, and make names unique whatever their case.

Folding can make a name longer, by one character for each of its own at most.
"""

from sqlalchemy import Column, Float, ForeignKey, String, Table, UniqueConstraint

from surplus.kit.db import Big, metadata

organizations = Table(
    "identity_organization",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(80), nullable=False),
    Column("name_key", String(160), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
)

projects = Table(
    "identity_project",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("org", String(40), ForeignKey(organizations.c.id), nullable=False),
    Column("name", String(80), nullable=False),
    Column("name_key", String(160), nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("org", "name_key"),
)

members = Table(
    "identity_member",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("org", String(40), ForeignKey(organizations.c.id), nullable=False),
    Column("email", String(254), nullable=False),
    Column("email_key", String(508), nullable=False),
    Column("role", String(20), nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("org", "email_key"),
)

keys = Table(
    "identity_key",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("public_id", String(40), nullable=False),
    Column("org", String(40), ForeignKey(organizations.c.id), nullable=False, index=True),
    Column("project", String(40), ForeignKey(projects.c.id)),
    # No foreign key: the keys of a member who was removed stay, revoked, and still say whose they were.
    Column("member", String(40), index=True),
    Column("role", String(20), nullable=False),
    Column("name", String(80), nullable=False),
    Column("rpm", Big),
    Column("tpm", Big),
    Column("concurrency", Big),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

secrets = Table(
    "identity_secret",
    metadata,
    Column("public_id", String(40), primary_key=True),
    Column("key_id", String(40), ForeignKey(keys.c.id), nullable=False, index=True),
    Column("secret_hash", String(64), nullable=False),
    Column("valid_until", Float),
)
