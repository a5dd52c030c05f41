"""A breaker that several processes have in common: each tells the others what it finds, and one at a time may probe."""

from collections.abc import Callable

from surplus.kit.link import Link
from surplus.serving import news
from surplus.serving.breaker import NO_PROBE, Breaker, BreakerRules


class JointBreaker(Breaker):
    """The breaker of `replica` in a process that only sends requests. `link` says how its findings are told.

    While it is open nothing is sent without a permit; `ask` (with monotonic seconds) is called when one is missing.
    """

    __slots__ = ("_ask", "_link", "_permit_until", "_replica")

    def __init__(
        self, rules: BreakerRules, replica: str, *, link: Callable[[], Link | None], ask: Callable[[str, float], None]
    ) -> None:
        super().__init__(rules)
        self._replica = replica
        self._link = link
        self._ask = ask
        self._permit_until = 0.0

    def permit(self, until: float) -> None:
        """One request may be sent as the probe, if it begins before then (monotonic seconds)."""
        self._permit_until = until

    def lapse(self) -> None:
        """The time to use a permit is over; another process may have it."""
        if self._permit_until and self._probe == NO_PROBE:
            self._permit_until = 0.0
            self._tell(news.RETURNED, self._replica.encode())

    def allows(self, now: float) -> bool:
        if self._open_until is None:
            return True
        if now < self._open_until or self._probe != NO_PROBE:
            return False
        if now >= self._permit_until:
            self._ask(self._replica, now)
            return False
        return True

    def ended(self, claim: int) -> None:
        was_probe = claim != NO_PROBE and claim == self._probe
        super().ended(claim)
        if was_probe:  # a verdict would have ended it
            self.lapse()

    def succeeded(self, now: float) -> None:
        was_open = self._open_until is not None
        super().succeeded(now)
        if was_open and self._open_until is None:
            self._found(None)

    def failed(self, now: float, retry_after_s: float | None = None) -> None:
        before = self._open_until
        super().failed(now, retry_after_s)
        if self._open_until is not None and self._open_until != before:
            self._found(self._open_until - now)

    def _found(self, open_for_s: float | None) -> None:
        self._permit_until = 0.0
        self._tell(news.BREAKER, news.encode(news.BreakerNews(self._replica, open_for_s, self._openings)))

    def _tell(self, channel: str, payload: bytes) -> None:
        link = self._link()
        if link is not None:
            link.tell(channel, payload)
