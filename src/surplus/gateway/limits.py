"""Requests per minute, tokens per minute and requests at once, per key: leases, not counters.

A request takes one lease over all three or none. What it took is given back by the lease itself, so nothing can leak
into a counter, and a refused request changes nothing. Windows slide: at every instant the last 60 seconds count.
Tokens are taken at their bound when the request is admitted and corrected to what was used when it ends.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from surplus.identity.model import Limits
from surplus.kit.errors import Limited

WINDOW_S: Final = 60.0


class Leased(Protocol):
    """What one request took of its key's limits; it is ended once, and a second end does nothing."""

    def release(self, tokens: int) -> None:
        """It ended, and used so many tokens."""
        ...

    def cancel(self) -> None:
        """It was refused after all, and counts nowhere."""
        ...


class Limiting(Protocol):
    """The limits of keys, wherever they are counted. `now` is monotonic seconds."""

    async def lease(self, key: str, limits: Limits, tokens: int, now: float) -> Leased | None:
        """One lease over all limits of the key, or None where it has none. Raises Limited, Unavailable."""
        ...

    def standing(self, key: str, limits: Limits, now: float) -> "Iterable[tuple[str, Standing]]":
        """Where the key stands, as far as is known here."""
        ...


@dataclass(slots=True, eq=False)
class Lease:
    """What one request took; `at` is monotonic seconds. `release` ends it with the tokens really used."""

    usage: "_Usage"
    at: float
    tokens: int
    counted: bool  # inside the window

    def release(self, tokens: int) -> None:
        """End the lease: the slot frees, and the window counts `tokens` instead of the bound. Calling twice is safe."""
        if self in self.usage.running:
            del self.usage.running[self]
            if self.counted:
                self.usage.tokens += tokens - self.tokens
                self.tokens = tokens

    def cancel(self) -> None:
        """The request was refused after all: it counts nowhere. A lease that has ended stays as it is."""
        if self in self.usage.running:
            self.release(0)
            if self.counted:
                self.usage.window.remove(self)
                self.counted = False


@dataclass(slots=True)
class _Usage:
    window: deque[Lease] = field(default_factory=deque["Lease"])
    tokens: int = 0
    running: dict[Lease, None] = field(default_factory=dict["Lease", None])

    def forget(self, now: float) -> None:
        while self.window and self.window[0].at <= now - WINDOW_S:
            lease = self.window.popleft()
            lease.counted = False
            self.tokens -= lease.tokens


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a key stands: `limit`, `remaining`, and seconds until all of it is free again."""

    limit: int
    remaining: int
    reset_s: float


class Limiter:
    """The leases of every key that has limits. Bounded: keys without leases are forgotten."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, _Usage] = OrderedDict()

    async def lease(self, key: str, limits: Limits, tokens: int, now: float) -> Lease | None:
        """`take`, for whoever does not know where limits are counted."""
        return self.take(key, limits, tokens, now)

    def take(self, key: str, limits: Limits, tokens: int, now: float) -> Lease | None:
        """One lease over all limits of the key, or None where it has none. Raises Limited, and then nothing changed."""
        if limits.rpm is None and limits.tpm is None and limits.concurrency is None:
            return None
        usage = self._keys.setdefault(key, _Usage())
        usage.forget(now)
        _check_requests(usage, limits, now)
        _check_tokens(usage, limits, tokens, now)
        _check_concurrency(usage, limits)
        lease = Lease(usage, now, tokens, counted=limits.rpm is not None or limits.tpm is not None)
        if lease.counted:
            usage.window.append(lease)
            usage.tokens += tokens
        usage.running[lease] = None
        return lease

    def standing(self, key: str, limits: Limits, now: float) -> Iterator[tuple[str, Standing]]:
        """`("requests", ...)` and `("tokens", ...)` for the limits that the key has; for the rate-limit headers."""
        usage = self._keys.get(key) or _Usage()
        usage.forget(now)
        reset = usage.window[-1].at + WINDOW_S - now if usage.window else 0.0
        if limits.rpm is not None:
            yield "requests", Standing(limits.rpm, max(0, limits.rpm - len(usage.window)), reset)
        if limits.tpm is not None:
            yield "tokens", Standing(limits.tpm, max(0, limits.tpm - usage.tokens), reset)

    def sweep(self, now: float) -> None:
        """Forget keys that hold nothing any more."""
        for key, usage in list(self._keys.items()):
            usage.forget(now)
            if not usage.window and not usage.running:
                del self._keys[key]


def _check_requests(usage: _Usage, limits: Limits, now: float) -> None:
    if limits.rpm is None or len(usage.window) < limits.rpm:
        return
    wait = usage.window[len(usage.window) - limits.rpm].at + WINDOW_S - now
    raise _limited("requests per minute", limits.rpm, 0, wait)


def _check_tokens(usage: _Usage, limits: Limits, tokens: int, now: float) -> None:
    if limits.tpm is None or usage.tokens + tokens <= limits.tpm:
        return
    if tokens > limits.tpm:
        message = (
            f"this request may use up to {tokens} tokens, more than this key's limit of {limits.tpm} tokens per minute "
            "allows at all; lower max_tokens, shorten the prompt, or ask for a higher limit"
        )
        error = Limited(message, detail={"limit": limits.tpm, "scope": "key", "tokens": tokens})
        error.retryable = False
        raise error
    over, wait = usage.tokens + tokens - limits.tpm, 0.0
    for lease in usage.window:
        over, wait = over - lease.tokens, lease.at + WINDOW_S - now
        if over <= 0:
            break
    raise _limited("tokens per minute", limits.tpm, max(0, limits.tpm - usage.tokens), wait)


def _check_concurrency(usage: _Usage, limits: Limits) -> None:
    if limits.concurrency is not None and len(usage.running) >= limits.concurrency:
        raise _limited("requests at once", limits.concurrency, 0, 1.0)


def _limited(what: str, limit: int, remaining: int, wait_s: float) -> Limited:
    message = (
        f"this key's limit of {limit} {what} is reached ({remaining} remaining); "
        f"it frees in {max(wait_s, 0):.0f} s. The limit is set on the key by its administrator"
    )
    detail = {"limit": limit, "what": what, "remaining": remaining, "scope": "key"}
    return Limited(message, retry_after_s=min(60.0, max(1.0, wait_s)), detail=detail)
