"""An organization's money: credit, balance, and what moved it."""

from typing import Annotated

from pydantic import Field

from surplus.wire.base import Answer, Dollars, Instant, Request


class CreditRequest(Request):
    """Money that a customer has paid: more than nothing."""

    amount: Dollars
    note: Annotated[str, Field(max_length=400, description="Why, for the books: printable characters.")] = ""


class CreditLimitRequest(Request):
    """How far below zero a wallet may go."""

    credit_limit: Dollars


class Balance(Answer):
    """`credit = available + held + settled`, at every instant.

    `credit` is what was paid in and the credit limit, `settled` what was charged, `held` what requests in flight may
    still cost. `available` is below zero after a credit limit was lowered to less than is in use.
    """

    available: Dollars
    held: Dollars
    settled: Dollars
    credit: Dollars


class Entry(Answer):
    """One entry of the ledger that concerns a wallet; entries are never changed.

    `change` is what the entry adds to the wallet, negative for a charge; `held` what it sets aside (a place).
    """

    seq: int
    kind: str = Field(examples=["transfer", "place", "post", "void", "expire", "limit", "open"])
    change: Dollars
    held: Dollars
    overrun: Dollars = Field(description="Cost above what was held; the operator bears it.")
    limit: Dollars | None = Field(description="The credit limit that an `open` or `limit` sets.")
    code: str
    ref: str
    event_at: Instant
    booked_at: Instant
