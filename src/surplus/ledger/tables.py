"""The tables of the ledger: the log and its hash chain are the truth, accounts, holds and slices are projections of it.

`ledger_grant` is neither: what processes say of their slices, so that idle money can be shown as available.
"""

from sqlalchemy import Boolean, CheckConstraint, Column, Float, Index, String, Table, Text

from surplus.kit.db import Big, metadata
from surplus.kit.money import GRAINS_PER_MICRO, MAX_MICRO

entries = Table(
    "ledger_entry",
    metadata,
    Column("seq", Big, primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("key", String(200), nullable=False, unique=True),
    Column("account", String(200), nullable=False),
    Column("counter", String(200), nullable=False),
    Column("account_kind", String(20), nullable=False),
    Column("currency", String(20), nullable=False),
    Column("hold", String(200), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("amount_micro", Big, nullable=False),
    Column("overrun_micro", Big, nullable=False),
    Column("limit_micro", Big),
    Column("available_micro", Big, nullable=False),
    Column("held_micro", Big, nullable=False),
    Column("cost_micro", Big, nullable=False),
    Column("rest_grains", Big, nullable=False),
    Column("deadline", Float, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("event_at", Float, nullable=False),
    Column("booked_at", Float, nullable=False),
    Column("requests", Big, nullable=False, server_default="0"),
    Column("digest", String(64), nullable=False),
    CheckConstraint(f"amount_micro >= 0 AND amount_micro < {MAX_MICRO}", name="amount"),
    CheckConstraint(f"overrun_micro >= 0 AND overrun_micro < {MAX_MICRO}", name="overrun"),
    CheckConstraint(f"rest_grains >= 0 AND rest_grains < {GRAINS_PER_MICRO}", name="rest"),
    Index(None, "account", "seq"),
    Index(None, "counter", "seq"),
)

batches = Table(
    "ledger_batch",
    metadata,
    Column("last_seq", Big, primary_key=True, autoincrement=False),
    Column("first_seq", Big, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

accounts = Table(
    "ledger_account",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("currency", String(20), nullable=False),
    Column("limit_micro", Big),
    Column("floor_micro", Big),
    Column("credits", Big, nullable=False),
    Column("debits", Big, nullable=False),
    Column("held", Big, nullable=False),
    Column("carry_grains", Big, nullable=False),
    Column("sliced", Big, nullable=False, server_default="0"),
    Column("recalled_seq", Big, nullable=False, server_default="0"),
    Column("recalled_at", Float, nullable=False, server_default="0"),
    Column("scarce_micro", Big, nullable=False, server_default="0"),
    CheckConstraint(f"credits >= 0 AND credits < {MAX_MICRO}", name="credits"),
    CheckConstraint(f"debits >= 0 AND debits < {MAX_MICRO}", name="debits"),
    CheckConstraint(f"held >= 0 AND held < {MAX_MICRO}", name="held"),
    CheckConstraint(f"carry_grains >= 0 AND carry_grains < {GRAINS_PER_MICRO}", name="carry"),
    CheckConstraint("(limit_micro IS NULL) = (floor_micro IS NULL)", name="limited"),
    # -limit, or further down while a lowered limit is below what was in use when it was lowered
    CheckConstraint("floor_micro IS NULL OR credits - debits - held >= floor_micro", name="funds"),
)

holds = Table(
    "ledger_hold",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("amount_micro", Big, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("deadline", Float, nullable=False),
    Column("ref", Text, nullable=False),
    Column("placed_at", Float, nullable=False),
    Column("posted_micro", Big, nullable=False),
    Column("overrun_micro", Big, nullable=False),
    Column("ended_at", Float),
    CheckConstraint("posted_micro >= 0 AND posted_micro <= amount_micro", name="posted"),
    CheckConstraint("overrun_micro >= 0", name="overrun"),
    CheckConstraint("(state = 'placed') = (ended_at IS NULL)", name="ended"),
    Index(None, "state", "deadline"),
)

slices = Table(
    "ledger_slice",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("amount_micro", Big, nullable=False),
    Column("drawn_seq", Big, nullable=False),
    Column("returned", Boolean, nullable=False),
    CheckConstraint("amount_micro > 0", name="amount"),
    Index(None, "holder"),
)

slice_scopes = Table(
    "ledger_slice_scope",
    metadata,
    Column("account", String(200), primary_key=True),
    Column("slice", String(200), primary_key=True),
)

grants = Table(
    "ledger_grant",
    metadata,
    Column("slice", String(200), primary_key=True),
    Column("granted_micro", Big, nullable=False),
)
