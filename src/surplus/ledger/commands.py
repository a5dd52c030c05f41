"""What the ledger can be asked to do. Every command has a key; the same key never has a second effect."""

from typing import Final

import msgspec

from surplus.ledger.model import AccountKind, Scope

RESERVED: Final = ("open:", "hold:", "post:", "void:", "expire:", "draw:", "return:", "charge:", "recall:")
"""Beginnings of keys that the ledger makes itself."""


class OpenAccount(msgspec.Struct, frozen=True, tag=True):
    """Open an account unless it exists; an existing one keeps its limit (micro-dollars, None: unlimited)."""

    key: str
    account: str
    kind: AccountKind
    limit: int | None


class SetLimit(msgspec.Struct, frozen=True, tag=True):
    """Change how far below zero an account may go. What is in use beyond a lower limit stays, and only shrinks."""

    key: str
    account: str
    limit: int | None


class Transfer(msgspec.Struct, frozen=True, tag=True):
    """Move money from `debit` to `credit`, which have one currency. A refused key stays refused."""

    key: str
    debit: str
    credit: str
    amount_micro: int
    code: str
    ref: str
    event_at: float


class Wish(msgspec.Struct, frozen=True):
    """Rather than one hold, its process would like `want_micro` in the slice, to grant this and later ones from."""

    slice: str
    holder: str
    want_micro: int


class PlaceHold(msgspec.Struct, frozen=True, tag=True):
    """Set `amount_micro` aside in the wallet and in every budget, or nowhere, until `deadline`.

    With a `wish`, a slice is drawn instead wherever there is money enough. Where there is too little because slices
    have it, it is asked back first, unless the command is `final`.
    """

    hold: str
    wallet: Scope
    budgets: tuple[Scope, ...]
    amount_micro: int
    deadline: float
    ref: str
    wish: Wish | None = None
    final: bool = False

    @property
    def key(self) -> str:
        return f"hold:{self.hold}"


class PostHold(msgspec.Struct, frozen=True, tag=True):
    """End a hold by charging its exact cost (`grains`), at most what was held, to the account `revenue`."""

    hold: str
    grains: int
    revenue: str
    ref: str
    event_at: float

    @property
    def key(self) -> str:
        return f"post:{self.hold}"


class VoidHold(msgspec.Struct, frozen=True, tag=True):
    """End a hold without a charge. The reason is a remark: a repeat with another reason is still a repeat."""

    hold: str
    reason: str

    @property
    def key(self) -> str:
        return f"void:{self.hold}"


class DrawSlice(msgspec.Struct, frozen=True, tag=True):
    """Add up to `want_micro` to a slice, which is opened if need be; nothing where money is scarce.

    `hold_micro` is the largest hold that the process grants at present.
    """

    slice: str
    holder: str
    wallet: Scope
    budgets: tuple[Scope, ...]
    want_micro: int
    hold_micro: int

    @property
    def key(self) -> str:
        return f"draw:{self.slice}"


class ReturnSlice(msgspec.Struct, frozen=True, tag=True):
    """Give back all of a slice but `keep_micro`, which its holder has granted to requests."""

    slice: str
    keep_micro: int

    @property
    def key(self) -> str:
        return f"return:{self.slice}"


class Cost(msgspec.Struct, frozen=True):
    """What one request cost, and what was granted to it: at most that is charged."""

    grains: int
    granted_micro: int


class ChargeSlice(msgspec.Struct, frozen=True, tag=True):
    """Charge requests that a slice granted holds to, in their order, as one entry; once per `ref`."""

    slice: str
    wallet: str
    costs: tuple[Cost, ...]
    revenue: str
    ref: str
    event_at: float

    @property
    def key(self) -> str:
        return f"charge:{self.ref}"

    @property
    def grains(self) -> int:
        """The exact cost of all the requests."""
        return sum(cost.grains for cost in self.costs)


Command = OpenAccount | SetLimit | Transfer | PlaceHold | PostHold | VoidHold | DrawSlice | ReturnSlice | ChargeSlice
