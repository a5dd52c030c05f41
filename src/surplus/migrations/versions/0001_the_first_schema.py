"""the first schema"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
compatible_from = "0001"


def upgrade() -> None:
    op.create_table(
        "billing_budget",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("org", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=20), nullable=False),
        sa.Column("scope_id", sa.String(length=40), nullable=False),
        sa.Column("cap_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("period", sa.String(length=10), nullable=False),
        sa.Column("hard", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_budget")),
        sa.UniqueConstraint(
            "org", "scope", "scope_id", "period", name=op.f("uq_billing_budget_org_scope_scope_id_period")
        ),
    )
    op.create_table(
        "billing_price",
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("token_class", sa.String(length=20), nullable=False),
        sa.Column("sku", sa.String(length=200), nullable=False),
        sa.Column("effective_from", sa.Float(), nullable=False),
        sa.Column("amount_pico", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("per", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("published_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("version", "token_class", name=op.f("pk_billing_price")),
        sa.UniqueConstraint(
            "sku", "token_class", "effective_from", name=op.f("uq_billing_price_sku_token_class_effective_from")
        ),
    )
    op.create_table(
        "gateway_journal",
        sa.Column("gateway", sa.String(length=60), nullable=False),
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("open_from", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("gateway", name=op.f("pk_gateway_journal")),
    )
    op.create_table(
        "identity_organization",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("name_key", sa.String(length=160), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_organization")),
        sa.UniqueConstraint("name_key", name=op.f("uq_identity_organization_name_key")),
    )
    op.create_table(
        "kit_outbox",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("topic", sa.String(length=60), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_kit_outbox")),
    )
    op.create_table(
        "kit_outbox_cursor",
        sa.Column("consumer", sa.String(length=60), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("consumer", name=op.f("pk_kit_outbox_cursor")),
    )
    op.create_table(
        "kit_schema",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("compatible_from", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kit_schema")),
    )
    op.create_table(
        "kit_revision",
        sa.Column("topic", sa.String(length=40), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_kit_revision")),
    )
    op.create_table(
        "ledger_account",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("currency", sa.String(length=20), nullable=False),
        sa.Column("limit_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("floor_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("credits", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("debits", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("held", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("carry_grains", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint("(limit_micro IS NULL) = (floor_micro IS NULL)", name=op.f("ck_ledger_account_limited")),
        sa.CheckConstraint("carry_grains >= 0 AND carry_grains < 9000000000000", name=op.f("ck_ledger_account_carry")),
        sa.CheckConstraint("credits >= 0 AND credits < 4611686018427387904", name=op.f("ck_ledger_account_credits")),
        sa.CheckConstraint("debits >= 0 AND debits < 4611686018427387904", name=op.f("ck_ledger_account_debits")),
        sa.CheckConstraint(
            "floor_micro IS NULL OR credits - debits - held >= floor_micro", name=op.f("ck_ledger_account_funds")
        ),
        sa.CheckConstraint("held >= 0 AND held < 4611686018427387904", name=op.f("ck_ledger_account_held")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_account")),
    )
    op.create_table(
        "ledger_batch",
        sa.Column(
            "last_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("first_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("last_seq", name=op.f("pk_ledger_batch")),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("account", sa.String(length=200), nullable=False),
        sa.Column("counter", sa.String(length=200), nullable=False),
        sa.Column("account_kind", sa.String(length=20), nullable=False),
        sa.Column("currency", sa.String(length=20), nullable=False),
        sa.Column("hold", sa.String(length=200), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("amount_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("overrun_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("limit_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("available_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("held_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cost_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rest_grains", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("deadline", sa.Float(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("event_at", sa.Float(), nullable=False),
        sa.Column("booked_at", sa.Float(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "amount_micro >= 0 AND amount_micro < 4611686018427387904", name=op.f("ck_ledger_entry_amount")
        ),
        sa.CheckConstraint(
            "overrun_micro >= 0 AND overrun_micro < 4611686018427387904", name=op.f("ck_ledger_entry_overrun")
        ),
        sa.CheckConstraint("rest_grains >= 0 AND rest_grains < 9000000000000", name=op.f("ck_ledger_entry_rest")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("key", name=op.f("uq_ledger_entry_key")),
    )
    with op.batch_alter_table("ledger_entry", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ledger_entry_account_seq"), ["account", "seq"], unique=False)
        batch_op.create_index(batch_op.f("ix_ledger_entry_counter_seq"), ["counter", "seq"], unique=False)

    op.create_table(
        "ledger_hold",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("amount_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("deadline", sa.Float(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("placed_at", sa.Float(), nullable=False),
        sa.Column("posted_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("overrun_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.CheckConstraint("(state = 'placed') = (ended_at IS NULL)", name=op.f("ck_ledger_hold_ended")),
        sa.CheckConstraint("overrun_micro >= 0", name=op.f("ck_ledger_hold_overrun")),
        sa.CheckConstraint("posted_micro >= 0 AND posted_micro <= amount_micro", name=op.f("ck_ledger_hold_posted")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_hold")),
    )
    with op.batch_alter_table("ledger_hold", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ledger_hold_state_deadline"), ["state", "deadline"], unique=False)

    op.create_table(
        "metering_hour",
        sa.Column("org", sa.String(length=40), nullable=False),
        sa.Column("hour", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("sku", sa.String(length=200), nullable=False),
        sa.Column("price_version", sa.String(length=40), nullable=False),
        sa.Column("requests", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("degraded", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uncached", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cache_read", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cache_write", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("output", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reasoning", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("waste_output", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cost_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cost_pico", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cost_grains", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("charged_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("overrun_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint(
            "org", "hour", "project", "key", "model", "sku", "price_version", name=op.f("pk_metering_hour")
        ),
    )
    op.create_table(
        "metering_record",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("org", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=True),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("deployment", sa.String(length=200), nullable=False),
        sa.Column("sku", sa.String(length=200), nullable=False),
        sa.Column("price_version", sa.String(length=40), nullable=False),
        sa.Column("endpoint", sa.String(length=80), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("uncached", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cache_read", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cache_write", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("output", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reasoning", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("waste_output", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cost_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cost_rest_grains", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("charged_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("overrun_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("degraded", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("first_token_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=False),
        sa.Column("engine_request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", "started_at", name=op.f("pk_metering_record")),
        postgresql_partition_by="RANGE (started_at)",
    )
    with op.batch_alter_table("metering_record", schema=None) as batch_op:
        batch_op.create_index("ix_metering_record_org_started_at_id", ["org", "started_at", "id"], unique=False)

    op.create_table(
        "serving_deployment",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("engine", sa.String(length=20), nullable=False),
        sa.Column("upstream_model", sa.String(length=256), nullable=False),
        sa.Column("context", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("max_output", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sku", sa.String(length=128), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("key_env", sa.String(length=128), nullable=True),
        sa.Column("key_file", sa.Text(), nullable=True),
        sa.Column("template_tokens", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("priority", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("replicas", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("min_replicas", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("max_replicas", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("slots", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("embeddings", sa.Boolean(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_serving_deployment")),
    )
    with op.batch_alter_table("serving_deployment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_serving_deployment_model"), ["model"], unique=False)

    op.create_table(
        "identity_member",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("org", sa.String(length=40), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("email_key", sa.String(length=508), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["org"], ["identity_organization.id"], name=op.f("fk_identity_member_org")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_member")),
        sa.UniqueConstraint("org", "email_key", name=op.f("uq_identity_member_org_email_key")),
    )
    op.create_table(
        "identity_project",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("org", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("name_key", sa.String(length=160), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["org"], ["identity_organization.id"], name=op.f("fk_identity_project_org")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_project")),
        sa.UniqueConstraint("org", "name_key", name=op.f("uq_identity_project_org_name_key")),
    )
    op.create_table(
        "identity_key",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("org", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=True),
        sa.Column("member", sa.String(length=40), nullable=True),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("rpm", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("tpm", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("concurrency", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["org"], ["identity_organization.id"], name=op.f("fk_identity_key_org")),
        sa.ForeignKeyConstraint(["project"], ["identity_project.id"], name=op.f("fk_identity_key_project")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_key")),
    )
    with op.batch_alter_table("identity_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identity_key_member"), ["member"], unique=False)
        batch_op.create_index(batch_op.f("ix_identity_key_org"), ["org"], unique=False)

    op.create_table(
        "identity_secret",
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("valid_until", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["identity_key.id"], name=op.f("fk_identity_secret_key_id")),
        sa.PrimaryKeyConstraint("public_id", name=op.f("pk_identity_secret")),
    )
    with op.batch_alter_table("identity_secret", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identity_secret_key_id"), ["key_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("identity_secret", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_identity_secret_key_id"))

    op.drop_table("identity_secret")
    with op.batch_alter_table("identity_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_identity_key_org"))
        batch_op.drop_index(batch_op.f("ix_identity_key_member"))

    op.drop_table("identity_key")
    op.drop_table("identity_project")
    op.drop_table("identity_member")
    with op.batch_alter_table("serving_deployment", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_serving_deployment_model"))

    op.drop_table("serving_deployment")
    with op.batch_alter_table("metering_record", schema=None) as batch_op:
        batch_op.drop_index("ix_metering_record_org_started_at_id")

    op.drop_table("metering_record")
    op.drop_table("metering_hour")
    with op.batch_alter_table("ledger_hold", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ledger_hold_state_deadline"))

    op.drop_table("ledger_hold")
    with op.batch_alter_table("ledger_entry", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ledger_entry_counter_seq"))
        batch_op.drop_index(batch_op.f("ix_ledger_entry_account_seq"))

    op.drop_table("ledger_entry")
    op.drop_table("ledger_batch")
    op.drop_table("ledger_account")
    op.drop_table("kit_revision")
    op.drop_table("kit_schema")
    op.drop_table("kit_outbox_cursor")
    op.drop_table("kit_outbox")
    op.drop_table("identity_organization")
    op.drop_table("gateway_journal")
    op.drop_table("billing_price")
    op.drop_table("billing_budget")
