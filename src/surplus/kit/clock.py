"""Time comes from a Clock, so that tests and replays decide what time it is.

Instants are UTC epoch seconds (float, microsecond steps); intervals are half-open `[start, end)`.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

from surplus.kit.errors import BadRequest

DAY_S = 86_400.0


class Clock(Protocol):
    """What time it is, and how long things take."""

    def now(self) -> float:
        """UTC epoch seconds; may step when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never steps back. For durations only."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return round(time.time(), 6)  # noqa: TID251  the one place that reads the machine's clock

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved; for tests and replays."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` (>= 0) pass on both clocks."""
        assert seconds >= 0
        self._now = round(self._now + seconds, 6)
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator would; monotonic time is untouched."""
        self._now = round(self._now + seconds, 6)


def iso(instant: float) -> str:
    """`2026-11-21T05:07:50Z`, with fractions only where there are any."""
    text = datetime.fromtimestamp(instant, UTC).isoformat(timespec="auto")
    return text.replace("+00:00", "Z")


def parse_iso(text: str) -> float:
    """Epoch seconds of an ISO 8601 instant with an offset. Raises BadRequest without one: a local time is ambiguous."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is not an instant; write it as 2026-11-21T09:00:00Z"
        raise BadRequest(message) from error
    if parsed.tzinfo is None:
        message = f"{text!r} has no UTC offset; add Z or +01:00"
        raise BadRequest(message)
    return parsed.timestamp()


def day_of(instant: float) -> str:
    """The UTC day of an instant, `2026-11-21`."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d")


def day_span(instant: float) -> tuple[float, float]:
    """The UTC day of an instant as a half-open interval, in epoch seconds."""
    start = instant // DAY_S * DAY_S
    return start, start + DAY_S


def month_of(instant: float) -> str:
    """The UTC month of an instant, `2026-11`."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m")
