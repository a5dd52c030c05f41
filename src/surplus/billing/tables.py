"""The tables of billing."""

from sqlalchemy import Boolean, Column, Float, String, Table, UniqueConstraint

from surplus.kit.db import Big, metadata

prices = Table(
    "billing_price",
    metadata,
    Column("version", String(40), primary_key=True),
    Column("token_class", String(20), primary_key=True),
    Column("sku", String(200), nullable=False),
    Column("effective_from", Float, nullable=False),
    Column("amount_pico", Big, nullable=False),
    Column("per", Big, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("published_at", Float, nullable=False),
    # A price ends where the next begins, so one price per instant of beginning is all it takes to have no overlap.
    UniqueConstraint("sku", "token_class", "effective_from"),
)

budgets = Table(
    "billing_budget",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("org", String(40), nullable=False),
    Column("scope", String(20), nullable=False),
    Column("scope_id", String(40), nullable=False),
    Column("cap_micro", Big, nullable=False),
    Column("period", String(10), nullable=False),
    Column("hard", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("org", "scope", "scope_id", "period"),
)
