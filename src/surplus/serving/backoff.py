"""How long to wait before the next try."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffRules:
    """Waits double from `first_s` to `most_s`; after `healthy_s` seconds of health they begin anew."""

    first_s: float = 1.0
    most_s: float = 60.0
    healthy_s: float = 60.0


DEFAULT_RULES: Final = BackoffRules()


class Backoff:
    """The waits of one replica. `jitter` gives numbers from 0 to 1 and spreads replicas that failed together."""

    def __init__(self, jitter: Callable[[], float], rules: BackoffRules = DEFAULT_RULES) -> None:
        self._jitter = jitter
        self._rules = rules
        self._failures = 0

    def after_failure(self, healthy_s: float) -> float:
        """Seconds to wait after a failure that followed `healthy_s` seconds of health; half of it is left to chance."""
        if healthy_s >= self._rules.healthy_s:
            self._failures = 0
        wait = min(self._rules.first_s * 2.0 ** min(self._failures, 60), self._rules.most_s)
        self._failures += 1
        return wait * (0.5 + self._jitter() / 2)
