"""Run by Alembic: applies versions on the connection that it is given."""

from alembic import context
from sqlalchemy import Connection

from surplus.kit.db import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
