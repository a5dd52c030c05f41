"""Invoices: what an organization used in a month, line by line, and how that became what it paid."""

from typing import Literal

from pydantic import Field

from surplus.wire.base import Answer, Dollars, DollarsPerMillion, ExactDollars


class InvoiceLine(Answer):
    """Tokens of one class of one model at one published price."""

    model: str
    token_class: Literal["input", "cache_read", "cache_write", "output"]
    quantity: int
    unit_price: DollarsPerMillion
    amount: ExactDollars


class InvoiceAdjustment(Answer):
    """A named difference between the exact lines and what was charged."""

    name: str
    amount: ExactDollars


class Invoice(Answer):
    """The lines and adjustments add up to `total`, which is what was taken from the wallet, to the last digit."""

    organization: str = Field(description="The organization's name.")
    organization_id: str
    month: str = Field(examples=["2026-11"])
    status: Literal["draft"]
    requests: int
    lines: tuple[InvoiceLine, ...]
    adjustments: tuple[InvoiceAdjustment, ...]
    total: Dollars
    currency: Literal["USD"]
