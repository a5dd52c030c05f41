"""The tables of metering."""

from sqlalchemy import Boolean, Column, Float, Index, Integer, String, Table, Text

from surplus.kit.db import Big, metadata, monthly

records = Table(
    "metering_record",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("org", String(40), nullable=False),
    Column("project", String(40)),
    Column("key", String(40), nullable=False),
    Column("model", String(200), nullable=False),
    Column("deployment", String(200), nullable=False),
    Column("sku", String(200), nullable=False),
    Column("price_version", String(40), nullable=False),
    Column("endpoint", String(80), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("status", Integer, nullable=False),
    Column("uncached", Big, nullable=False),
    Column("cache_read", Big, nullable=False),
    Column("cache_write", Big, nullable=False),
    Column("output", Big, nullable=False),
    Column("reasoning", Big, nullable=False),
    Column("waste_output", Big, nullable=False),
    Column("cost_micro", Big, nullable=False),
    Column("cost_rest_grains", Big, nullable=False),
    Column("charged_micro", Big, nullable=False),
    Column("overrun_micro", Big, nullable=False),
    Column("degraded", Boolean, nullable=False),
    Column("started_at", Float, primary_key=True),
    Column("first_token_at", Float),
    Column("ended_at", Float, nullable=False),
    Column("engine_request_id", Text),  # of any length: an upstream made it
    Index("ix_metering_record_org_started_at_id", "org", "started_at", "id"),
    **monthly("started_at"),
)

hours = Table(
    "metering_hour",
    metadata,
    Column("org", String(40), primary_key=True),
    Column("hour", Big, primary_key=True, autoincrement=False),
    Column("project", String(40), primary_key=True),
    Column("key", String(40), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("sku", String(200), primary_key=True),
    Column("price_version", String(40), primary_key=True),
    Column("requests", Big, nullable=False),
    Column("degraded", Big, nullable=False),
    Column("uncached", Big, nullable=False),
    Column("cache_read", Big, nullable=False),
    Column("cache_write", Big, nullable=False),
    Column("output", Big, nullable=False),
    Column("reasoning", Big, nullable=False),
    Column("waste_output", Big, nullable=False),
    # The exact cost in three columns, coarse to fine: each stays far from 64 bits however many requests are added up.
    Column("cost_micro", Big, nullable=False),
    Column("cost_pico", Big, nullable=False),
    Column("cost_grains", Big, nullable=False),
    Column("charged_micro", Big, nullable=False),
    Column("overrun_micro", Big, nullable=False),
)
