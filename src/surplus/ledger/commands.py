"""What the ledger can be asked to do. Every command has a key; the same key never has a second effect."""

from dataclasses import dataclass
from typing import Final

from surplus.ledger.model import AccountKind, Scope

RESERVED: Final = ("open:", "hold:", "post:", "void:", "expire:")
"""Beginnings of keys that the ledger makes itself."""


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Open an account unless it exists; an existing one keeps its limit (micro-dollars, None: unlimited)."""

    key: str
    account: str
    kind: AccountKind
    limit: int | None


@dataclass(frozen=True, slots=True)
class SetLimit:
    """Change how far below zero an account may go. What is in use beyond a lower limit stays, and only shrinks."""

    key: str
    account: str
    limit: int | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """Move money from `debit` to `credit`, which have one currency. A refused key stays refused."""

    key: str
    debit: str
    credit: str
    amount_micro: int
    code: str
    ref: str
    event_at: float


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Set `amount_micro` aside in the wallet and in every budget, or nowhere, until `deadline`."""

    hold: str
    wallet: Scope
    budgets: tuple[Scope, ...]
    amount_micro: int
    deadline: float
    ref: str

    @property
    def key(self) -> str:
        return f"hold:{self.hold}"


@dataclass(frozen=True, slots=True)
class PostHold:
    """End a hold by charging its exact cost (`grains`), at most what was held, to the account `revenue`."""

    hold: str
    grains: int
    revenue: str
    ref: str
    event_at: float

    @property
    def key(self) -> str:
        return f"post:{self.hold}"


@dataclass(frozen=True, slots=True)
class VoidHold:
    """End a hold without a charge. The reason is a remark: a repeat with another reason is still a repeat."""

    hold: str
    reason: str

    @property
    def key(self) -> str:
        return f"void:{self.hold}"


Command = OpenAccount | SetLimit | Transfer | PlaceHold | PostHold | VoidHold
