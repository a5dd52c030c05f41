"""Which gateways there are, and who was elected.

Revision ID: 0004
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

from surplus.kit.db import Big

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None
compatible_from = "0002"


def upgrade() -> None:
    op.create_table(
        "gateway_process",
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", Big, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_gateway_process")),
    )
    op.create_table(
        "kit_leader",
        sa.Column("office", sa.String(60), nullable=False),
        sa.Column("holder", sa.String(60), nullable=False),
        sa.Column("token", Big, nullable=False),
        sa.Column("until_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("office", name=op.f("pk_kit_leader")),
    )


def downgrade() -> None:
    op.drop_table("kit_leader")
    op.drop_table("gateway_process")
