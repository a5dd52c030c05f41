"""A circuit breaker: stops sending to a replica that fails, and finds out gently when it works again.

Closed: everything passes. Open: nothing passes until a cool-down is over; each opening in a row doubles it. Half-open:
one request passes as a probe, and its fate closes or opens the circuit. Pure: the present (monotonic seconds) is handed
in, and nothing is remembered but counters.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class BreakerState(StrEnum):
    """What the breaker lets through: everything, nothing, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When to open, and for how long.

    Opens after `failures` in a row, or when at least `ratio` of the requests of the last `window_s` seconds failed and
    there were `ratio_of` or more. Cool-downs run from `cooldown_s` to `cooldown_max_s`; an upstream that names its own
    waiting time gets it, up to `cooldown_max_s`.
    """

    failures: int = 5
    ratio: float = 0.5
    ratio_of: int = 20
    window_s: float = 30.0
    cooldown_s: float = 1.0
    cooldown_max_s: float = 60.0


DEFAULT_RULES: Final = BreakerRules()
NO_PROBE: Final = 0


class _Window:
    """Counts of the last `length` to twice `length / 2` seconds, in two halves: constant work and memory."""

    __slots__ = ("_failed", "_half", "_index", "_total")

    def __init__(self, length: float) -> None:
        self._half = length / 2
        self.clear()

    def clear(self) -> None:
        self._index = -1
        self._total = [0, 0]  # the present half, the one before
        self._failed = [0, 0]

    def count(self, now: float, *, failed: bool) -> None:
        index = int(now // self._half)
        if index != self._index:
            follows = index == self._index + 1
            self._total = [0, self._total[0] if follows else 0]
            self._failed = [0, self._failed[0] if follows else 0]
            self._index = index
        self._total[0] += 1
        self._failed[0] += failed

    def is_bad(self, rules: BreakerRules) -> bool:
        total = sum(self._total)
        return total >= rules.ratio_of and sum(self._failed) >= rules.ratio * total


class Breaker:
    """The circuit of one replica."""

    __slots__ = ("_claims", "_open_until", "_openings", "_probe", "_row", "_rules", "_window")

    def __init__(self, rules: BreakerRules = DEFAULT_RULES) -> None:
        self._rules = rules
        self._window = _Window(rules.window_s)
        self._row = 0
        self._openings = 0
        self._open_until: float | None = None
        self._claims = NO_PROBE
        self._probe = NO_PROBE

    def state(self, now: float) -> BreakerState:
        """The state at `now`."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._open_until else BreakerState.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether a request may be sent. Asking changes nothing: a request that is sent says so with `started`."""
        if self._open_until is None:
            return True
        return now >= self._open_until and self._probe == NO_PROBE

    def started(self, now: float) -> int:
        """A request is being sent. Returns what `ended` has to be given; not NO_PROBE if this one is the probe."""
        if self._open_until is None or not self.allows(now):
            return NO_PROBE
        self._claims += 1
        self._probe = self._claims
        return self._probe

    def ended(self, claim: int) -> None:
        """The request with this claim is over, whatever came of it: a probe without a verdict frees its place."""
        if claim != NO_PROBE and claim == self._probe:
            self._probe = NO_PROBE

    def succeeded(self, now: float) -> None:
        """A request got a good answer. Closes a half-open circuit; while open it is a latecomer and changes nothing."""
        state = self.state(now)
        if state is BreakerState.HALF_OPEN:
            self._open_until, self._openings, self._probe = None, 0, NO_PROBE
        if state is not BreakerState.OPEN:
            self._row = 0
            self._window.count(now, failed=False)

    def failed(self, now: float, retry_after_s: float | None = None) -> None:
        """A request failed. `retry_after_s` is the upstream's own wish (seconds), which opens the circuit at once."""
        wish = min(max(retry_after_s or 0.0, 0.0), self._rules.cooldown_max_s)
        match self.state(now):
            case BreakerState.OPEN:  # a latecomer: it may prolong by the upstream's wish, but counts for nothing
                self._open_until = max(self._open_until or now, now + wish)
            case BreakerState.HALF_OPEN:
                self._open(now, wish)
            case BreakerState.CLOSED:
                self._row += 1
                self._window.count(now, failed=True)
                if wish or self._row >= self._rules.failures or self._window.is_bad(self._rules):
                    self._open(now, wish)

    @property
    def open_until(self) -> float | None:
        """When the cool-down is over (monotonic seconds); None while closed."""
        return self._open_until

    @property
    def openings(self) -> int:
        """How often it has opened in a row; each doubles the cool-down."""
        return self._openings

    def opened_elsewhere(self, until: float, openings: int) -> None:
        """Another process has found the replica failing, and leaves it alone until then (monotonic seconds)."""
        self._open_until = max(self._open_until or until, until)
        self._openings = max(self._openings, openings)
        self._row, self._probe = 0, NO_PROBE
        self._window.clear()

    def closed_elsewhere(self) -> None:
        """Another process has found that the replica works."""
        self._open_until, self._openings, self._row, self._probe = None, 0, 0, NO_PROBE

    def _open(self, now: float, wish: float) -> None:
        cooldown = min(self._rules.cooldown_s * 2.0 ** min(self._openings, 60), self._rules.cooldown_max_s)
        self._open_until = now + max(cooldown, wish)
        self._openings += 1
        self._row, self._probe = 0, NO_PROBE
        self._window.clear()
