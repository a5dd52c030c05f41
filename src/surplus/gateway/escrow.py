"""A slice as its process sees it: what it has, what is granted from it, and how much it should have. Pure.

What is here is never more than what the ledger has set aside for the slice: money is added when the ledger has
answered, and taken away before it is asked.
"""

from dataclasses import dataclass
from typing import Final

from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger.commands import DrawSlice, Wish
from surplus.ledger.model import Scope

HOLDS: Final = 16
"""A slice begins with so many holds."""
GROWTH_S: Final = 1.0
"""A slice that has to be filled again within this time gets twice as much."""
IDLE_S: Final = 5.0
"""A slice that granted nothing for so long gives everything back."""


def bound_micro(held_micro: int, grains: int) -> int:
    """The most that a settled request will be charged, whatever the wallet carries: micro-dollars."""
    return min(held_micro, grains // GRAINS_PER_MICRO + 1) if grains else 0


@dataclass(slots=True, eq=False)
class Slice:
    """Money in micro-dollars: `amount` in all, of which `granted` is held by requests.

    `owner` is whose requests it grants to. `scarce` says that the ledger gave no slice when last asked; `returned` that
    it counts on nothing being idle here, so that until more is drawn, what gets free goes back; `doubtful` that an
    answer of the ledger was lost: it may have set aside more than is known here. It is for requests admitted in
    `[valid_from, valid_until)`, epoch seconds: the window of its budgets.
    """

    id: str
    holder: str
    owner: tuple[str, ...]
    wallet: Scope
    budgets: tuple[Scope, ...]
    valid_from: float
    valid_until: float
    amount: int = 0
    granted: int = 0
    want: int = 0
    largest: int = 0
    used_at: float = 0.0
    filled_at: float = 0.0
    scarce: bool = False
    returned: bool = False
    doubtful: bool = False

    def valid(self, at: float) -> bool:
        """Whether a request that is admitted at this instant counts in the budgets of this slice."""
        return self.valid_from <= at < self.valid_until

    @property
    def free(self) -> int:
        """What can be granted."""
        return self.amount - self.granted

    def grant(self, micro: int, now: float) -> bool:
        """Hold `micro` for a request, if the slice has it and may give it."""
        self.used_at = now
        self.largest = max(self.largest, micro)
        if self.returned or micro > self.amount - self.granted:
            return False
        self.granted += micro
        return True

    def ended(self, held_micro: int, grains: int) -> None:
        """A request was settled: what it cannot be charged is free again."""
        self.granted -= held_micro - bound_micro(held_micro, grains)

    def charged(self, bound: int, micro: int) -> None:
        """Settled requests, of which at most `bound` was to be charged, were charged `micro`."""
        self.granted -= bound
        self.amount -= micro

    def wish(self, micro: int, now: float) -> Wish:
        """What to ask for when a hold of `micro` does not fit any more."""
        hurried = now < self.filled_at + GROWTH_S
        self.want = max(HOLDS * micro, 2 * self.want if hurried else self.want)
        return Wish(self.id, self.holder, self.want)

    def filled(self, micro: int, now: float) -> None:
        """The ledger has added `micro`; nothing means that money is too scarce for slices."""
        self.amount += micro
        self.scarce = micro == 0
        if micro:
            self.returned = False
            self.filled_at = now

    def refill(self) -> DrawSlice | None:
        """What to ask for so that nobody has to wait, while the slice is in use."""
        if self.scarce or self.returned or 2 * self.free >= self.want:
            return None
        want = self.want - self.free
        return DrawSlice(self.id, self.holder, self.wallet, self.budgets, want, min(self.largest, want))

    def give_back(self) -> int:
        """Nothing is free from now on; returns what has to stay."""
        self.amount = self.granted
        self.returned, self.doubtful = True, False
        return self.granted
