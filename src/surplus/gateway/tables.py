"""How far each gateway's journal has been loaded, and when each was last heard of."""

from sqlalchemy import Column, Float, String, Table

from surplus.kit.db import Big, metadata

journals = Table(
    "gateway_journal",
    metadata,
    Column("gateway", String(60), primary_key=True),
    Column("position", Big, nullable=False),
    Column("open_from", Big, nullable=False),
)

processes = Table(
    "gateway_process",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Big, nullable=False),
    Column("role", String(20), nullable=False),
    Column("version", String(40), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
)
