"""Slices: money that processes draw in advance.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from surplus.kit.db import Big

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
compatible_from = "0002"  # earlier servers do not know the entries of slices


def upgrade() -> None:
    op.add_column("ledger_entry", sa.Column("requests", Big, nullable=False, server_default="0"))
    for name, kind in (("sliced", Big), ("recalled_seq", Big), ("recalled_at", sa.Float()), ("scarce_micro", Big)):
        op.add_column("ledger_account", sa.Column(name, kind, nullable=False, server_default="0"))
    op.create_table(
        "ledger_slice",
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("holder", sa.String(200), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("amount_micro", Big, nullable=False),
        sa.Column("drawn_seq", Big, nullable=False),
        sa.Column("returned", sa.Boolean(), nullable=False),
        sa.CheckConstraint("amount_micro > 0", name=op.f("ck_ledger_slice_amount")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_slice")),
    )
    op.create_index("ix_ledger_slice_holder", "ledger_slice", ["holder"])
    op.create_table(
        "ledger_slice_scope",
        sa.Column("account", sa.String(200), nullable=False),
        sa.Column("slice", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("account", "slice", name=op.f("pk_ledger_slice_scope")),
    )
    op.create_table(
        "ledger_grant",
        sa.Column("slice", sa.String(200), nullable=False),
        sa.Column("granted_micro", Big, nullable=False),
        sa.PrimaryKeyConstraint("slice", name=op.f("pk_ledger_grant")),
    )


def downgrade() -> None:
    op.drop_table("ledger_grant")
    op.drop_table("ledger_slice_scope")
    op.drop_table("ledger_slice")
    for name in ("scarce_micro", "recalled_at", "recalled_seq", "sliced"):
        op.drop_column("ledger_account", name)
    op.drop_column("ledger_entry", "requests")
