"""How far each gateway's journal has been loaded."""

from sqlalchemy import Column, String, Table

from surplus.kit.db import Big, metadata

journals = Table(
    "gateway_journal",
    metadata,
    Column("gateway", String(60), primary_key=True),
    Column("position", Big, nullable=False),
    Column("open_from", Big, nullable=False),
)
