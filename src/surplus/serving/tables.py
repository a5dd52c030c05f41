"""The table of deployments."""

from sqlalchemy import Boolean, Column, Float, String, Table, Text

from surplus.kit.db import Big, metadata

deployments = Table(
    "serving_deployment",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("model", String(128), nullable=False, index=True),
    Column("engine", String(20), nullable=False),
    Column("upstream_model", String(256), nullable=False),
    Column("context", Big, nullable=False),
    Column("max_output", Big, nullable=False),
    Column("sku", String(128), nullable=False),
    Column("path", Text),
    Column("url", Text),
    Column("key_env", String(128)),
    Column("key_file", Text),
    Column("template_tokens", Big, nullable=False),
    Column("priority", Big, nullable=False),
    Column("replicas", Big, nullable=False),
    Column("min_replicas", Big, nullable=False),
    Column("max_replicas", Big, nullable=False),
    Column("slots", Big, nullable=False),
    Column("embeddings", Boolean, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
)
