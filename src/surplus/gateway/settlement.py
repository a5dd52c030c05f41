"""Every admitted request ends here exactly once, whatever became of it.

Settling is one append to the journal and no waiting, so a cancelled task, a client that left or a server that is going
down cannot come between an answer and its record. If the journal cannot take the entry (a full disk), it is kept in
memory, the in-flight slot stays claimed, and it is tried again: nothing is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import structs

from surplus.billing.rating import PriceSheet
from surplus.gateway.entries import Admitted, Settled, encode
from surplus.gateway.errors import JournalBehind
from surplus.gateway.limits import Leased
from surplus.kit.clock import Clock
from surplus.kit.journal import Journal, JournalFull, JournalUnavailable, Slot
from surplus.metering.model import Outcome
from surplus.metering.usage import TokenUsage

NOTHING: Final = TokenUsage()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended: `status` is the HTTP status that the caller saw, or would have seen."""

    outcome: Outcome
    status: int
    usage: TokenUsage = NOTHING
    degraded: bool = False
    waste_output: int = 0
    engine_request_id: str | None = None


class Observer(Protocol):
    """Is told of every settled request; metrics and traces are."""

    def settled(self, entry: Settled, grains: int) -> None:
        """`entry` has ended and cost `grains`."""
        ...


class Ledgered:
    """The journal as the path sees it: entries in, a bell for the loader, and nothing lost when the disk is full."""

    def __init__(
        self,
        journal: Journal,
        ring: Callable[[], None],
        *observers: Observer,
        lag_bytes: Callable[[], int],
        lag_max: int,
    ) -> None:
        """Admits nothing while `lag_max` bytes or more of the journal are not in the database yet."""
        self._lag_bytes = lag_bytes
        self._lag_max = lag_max
        self._journal = journal
        self._ring = ring
        self._observers = observers
        self._unwritten: list[tuple[Settled, Slot]] = []

    def admit(self, entry: Admitted) -> None:
        """Write an admission. Raises JournalFull, JournalUnavailable, JournalBehind."""
        if self.behind:
            raise JournalBehind(self._lag_bytes())
        self._journal.append(encode(entry))

    def settle(self, entry: Settled, slot: Slot, grains: int) -> None:
        """Write a settlement, or keep it until it can be written, and its figures in the slot until then."""
        self._unwritten.append((entry, slot))
        self.flush()
        if self._unwritten:
            slot.update(
                uncached=entry.uncached,
                cache_read=entry.cache_read,
                cache_write=entry.cache_write,
                output=entry.output,
                delivered_bytes=0,
                delivered_events=0,
            )
        for observer in self._observers:
            observer.settled(entry, grains)

    def flush(self) -> None:
        """Write what waits, oldest first, until the disk refuses."""
        before = len(self._unwritten)
        while self._unwritten:
            entry, slot = self._unwritten[0]
            try:
                self._journal.append(encode(entry))
            except (JournalFull, JournalUnavailable):
                break
            slot.release()
            del self._unwritten[0]
        if len(self._unwritten) < before:
            self._ring()

    @property
    def behind(self) -> bool:
        """Whether so much waits for the database that no request is admitted until it has caught up."""
        return self._lag_bytes() >= self._lag_max

    @property
    def unwritten(self) -> int:
        """Settlements that the disk has not taken yet."""
        return len(self._unwritten)


class Settlement:
    """The one ending of one request. `settle` a second time does nothing."""

    def __init__(
        self,
        admitted: Admitted,
        sheet: PriceSheet,
        *,
        lease: Leased | None,
        slot: Slot,
        clock: Clock,
        ledgered: Ledgered,
    ) -> None:
        self.admitted = admitted
        self.sheet = sheet
        self.slot = slot
        self.first_token_at: float | None = None
        self.settled = False
        self._lease = lease
        self._clock = clock
        self._ledgered = ledgered

    def use(self, deployment: str, sheet: PriceSheet) -> None:
        """The request goes to this deployment now; it is charged by the sheet of the one that answers."""
        self.sheet = sheet
        if deployment != self.admitted.deployment:
            self.admitted = structs.replace(
                self.admitted, deployment=deployment, sku=sheet.sku, price_version=sheet.version
            )

    def first_token(self) -> None:
        """The first event of the answer is there."""
        if self.first_token_at is None:
            self.first_token_at = self._clock.now()

    def settle(self, ending: Ending) -> None:
        """Charge what was used, release the rest of the hold and every lease."""
        if self.settled:
            return
        self.settled = True
        usage = ending.usage
        if self._lease is not None:
            self._lease.release(usage.input + usage.output)
        grains = self.sheet.grains(usage)
        entry = Settled(
            admitted=self.admitted,
            outcome=ending.outcome,
            status=ending.status,
            uncached=usage.uncached,
            cache_read=usage.cache_read,
            cache_write=usage.cache_write,
            output=usage.output,
            reasoning=usage.reasoning,
            waste_output=ending.waste_output,
            grains=str(grains),
            degraded=ending.degraded,
            first_token_at=self.first_token_at,
            ended_at=self._clock.now(),
            engine_request_id=ending.engine_request_id,
        )
        self._ledgered.settle(entry, self.slot, grains)
