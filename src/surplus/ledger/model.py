"""What the ledger keeps: accounts, holds and the entries of its log. Micro-dollars and epoch seconds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from surplus.kit.money import GRAINS_PER_MICRO


class AccountKind(StrEnum):
    """What an account stands for. The kind decides its currency."""

    WALLET = "wallet"
    BUDGET = "budget"
    REVENUE = "revenue"
    PAYMENTS = "payments"
    OVERRUN = "overrun"
    BUDGETED = "budgeted"
    ADJUSTMENT = "adjustment"


USD: Final = "USD"
USD_BUDGET: Final = "USD/budget"
"""Budgets count money that moves elsewhere. A currency of their own keeps them out of the sums of real money."""

PAYMENTS: Final = "payments"
OVERRUN: Final = "overrun"
BUDGETED: Final = "budgeted"
ADJUSTMENT: Final = "adjustment"

HOUSE: Final = {
    PAYMENTS: AccountKind.PAYMENTS,
    OVERRUN: AccountKind.OVERRUN,
    BUDGETED: AccountKind.BUDGETED,
    ADJUSTMENT: AccountKind.ADJUSTMENT,
}
"""The operator's own accounts. They have no limit and are opened by the first command that needs them."""


LIMITED: Final = frozenset({AccountKind.WALLET, AccountKind.BUDGET})
"""Kinds of accounts that may have a limit. A charge asks no others, so a limit there could only break it."""


def currency_of(kind: AccountKind) -> str:
    """The one currency of accounts of this kind."""
    return USD_BUDGET if kind in (AccountKind.BUDGET, AccountKind.BUDGETED) else USD


class Scope(msgspec.Struct, frozen=True):
    """An account that a hold counts in. It is opened with this kind and limit where it does not exist yet.

    `limit` (micro-dollars, None: unlimited) has no effect on an account that exists.
    """

    account: str
    kind: AccountKind
    limit: int | None


class HoldState(StrEnum):
    """PLACED, or the one way in which the hold ended."""

    PLACED = "placed"
    POSTED = "posted"
    VOIDED = "voided"
    EXPIRED = "expired"


@dataclass(slots=True)
class Account:
    """The running totals of one account. `limit` is how far below zero it may go (None: without end).

    `floor` is the least that balance - held may be: -limit, or less while a limit that was lowered is below what is in
    use already. `carry` is the part of a micro-dollar not charged yet, in grains. `sliced` is the part of `held` that
    lies in slices. `recalled_seq` is the entry that last asked for them back, at `recalled_at`, because `scarce_micro`
    were needed.
    """

    id: str
    kind: AccountKind
    currency: str
    limit: int | None
    floor: int | None
    credits: int = 0
    debits: int = 0
    held: int = 0
    carry: int = 0
    sliced: int = 0
    recalled_seq: int = 0
    recalled_at: float = 0.0
    scarce_micro: int = 0

    @property
    def net(self) -> int:
        """The balance after every hold has been posted in full."""
        return self.credits - self.debits - self.held

    def covers(self, amount: int) -> bool:
        """Whether `amount` more can be held or debited."""
        return self.limit is None or self.net - amount >= -self.limit


def opened(account: str, kind: AccountKind, limit: int | None) -> Account:
    """An account at the moment of its opening."""
    return Account(account, kind, currency_of(kind), limit, None if limit is None else -limit)


@dataclass(slots=True)
class Hold:
    """Money set aside in every one of `scopes` (the wallet first) until `deadline`, and how that ended."""

    id: str
    state: HoldState
    amount: int
    scopes: tuple[str, ...]
    deadline: float
    ref: str
    placed_at: float
    posted: int = 0
    overrun: int = 0
    ended_at: float | None = None

    @property
    def wallet(self) -> str:
        """The account that pays."""
        return self.scopes[0]


@dataclass(slots=True)
class Slice:
    """Money set aside in every one of `scopes` (the wallet first) for a process, `holder`, to grant holds from.

    It is there while it has money. `amount` is what it has (micro-dollars), `drawn_seq` the entry that last added to
    it. `returned` says that its holder has given back, since then, what it did not need.
    """

    id: str
    holder: str
    scopes: tuple[str, ...]
    amount: int
    drawn_seq: int
    returned: bool = False

    @property
    def wallet(self) -> str:
        """The account that pays."""
        return self.scopes[0]


class EntryKind(StrEnum):
    """What an entry of the log says happened."""

    OPEN = "open"
    LIMIT = "limit"
    TRANSFER = "transfer"
    REFUSED = "refused"  # a transfer that was refused; its key stays refused
    PLACE = "place"
    POST = "post"
    LATE = "late"  # a post that came after its hold had expired: all of it is overrun
    VOID = "void"
    EXPIRE = "expire"
    DRAW = "draw"  # money into a slice
    RETURN = "return"  # money out of a slice, back to where it came from
    CHARGE = "charge"  # many requests of one slice
    RECALL = "recall"  # an account is scarce: what is idle in its slices is asked for


class Entry(msgspec.Struct, frozen=True):
    """One fact of the log. A field that a kind of entry does not use is empty, and absent from its canonical bytes.

    `account` is who pays (wallet, debit side) or what is opened or limited, `counter` who receives. A cost is exact:
    `cost_micro * GRAINS_PER_MICRO + rest_grains`. `event_at` is when it happened, `booked_at` when it was written.
    `scopes` are the accounts of a hold or slice, the wallet first; of a refused transfer, the account that refused.
    `hold` is a hold or a slice; of a slice, `ref` is its holder. `requests` is how many a charge is for.
    """

    seq: int
    kind: EntryKind
    key: str
    event_at: float
    booked_at: float
    account: str = ""
    counter: str = ""
    account_kind: str = ""
    currency: str = ""
    hold: str = ""
    scopes: tuple[str, ...] = ()
    amount_micro: int = 0
    overrun_micro: int = 0
    limit_micro: int | None = None
    available_micro: int = 0
    held_micro: int = 0
    cost_micro: int = 0
    rest_grains: int = 0
    deadline: float = 0.0
    code: str = ""
    reason: str = ""
    ref: str = ""
    requests: int = 0

    @property
    def grains(self) -> int:
        """The exact cost."""
        return self.cost_micro * GRAINS_PER_MICRO + self.rest_grains


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The account exists; `limit` is its present one. `first` is False where it existed before."""

    account: str
    limit: int | None
    first: bool


class LimitSet(msgspec.Struct, frozen=True, tag=True):
    """The limit of the account was set."""

    account: str
    limit: int | None
    first: bool


class Transferred(msgspec.Struct, frozen=True, tag=True):
    """The money moved, in the entry `seq`."""

    key: str
    seq: int
    first: bool


class Placed(msgspec.Struct, frozen=True, tag=True):
    """The hold was placed. A repeat has `first` False and says in `state` what has become of the hold since."""

    hold: str
    state: HoldState
    first: bool


class Posted(msgspec.Struct, frozen=True, tag=True):
    """The hold ended by a charge, or (`charged_micro` 0, hold expired) the cost came too late and is all overrun."""

    hold: str
    charged_micro: int
    overrun_micro: int
    first: bool


class Voided(msgspec.Struct, frozen=True, tag=True):
    """The hold ended without a charge."""

    hold: str
    first: bool


class Expired(msgspec.Struct, frozen=True, tag=True):
    """The hold had ended at its deadline before it was voided."""

    hold: str


class Drawn(msgspec.Struct, frozen=True, tag=True):
    """`drawn_micro` more are in the slice; 0 where the money is too scarce for slices, and nothing happened."""

    slice: str
    drawn_micro: int


class Returned(msgspec.Struct, frozen=True, tag=True):
    """`returned_micro` of the slice went back."""

    slice: str
    returned_micro: int


class Charged(msgspec.Struct, frozen=True, tag=True):
    """What each of the requests was charged, and what of its cost is overrun (micro-dollars, as asked, in order).

    Of a repeat both are empty, and `first` is False.
    """

    slice: str
    charged_micro: tuple[int, ...]
    overrun_micro: tuple[int, ...]
    first: bool


class Recalled(msgspec.Struct, frozen=True, tag=True):
    """Nothing is held yet: idle money of `accounts` is being asked back from slices. Try again when it is there."""

    accounts: tuple[str, ...]


Outcome = Opened | LimitSet | Transferred | Placed | Posted | Voided | Expired | Drawn | Returned | Charged | Recalled


@dataclass(frozen=True, slots=True)
class Balance:
    """An account as of an instant, in micro-dollars.

    `held` is what requests hold: neither holds whose deadline has passed, nor what is idle in slices.
    """

    account: str
    credits: int
    debits: int
    held: int
    limit: int | None
    carry_grains: int

    @property
    def balance(self) -> int:
        """What came in less what went out."""
        return self.credits - self.debits

    @property
    def available(self) -> int | None:
        """What can still be held or spent; None where there is no limit. Below zero after a limit was lowered."""
        return None if self.limit is None else self.balance + self.limit - self.held


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of checking the log. `head_seq` and `head_hash` are what to publish: they pin the past.

    `log_ok` is False where the log itself is unsound; where it alone is sound, a rebuild mends the rest.
    """

    ok: bool
    entries: int
    batches: int
    head_seq: int
    head_hash: str
    problems: tuple[str, ...]
    log_ok: bool
