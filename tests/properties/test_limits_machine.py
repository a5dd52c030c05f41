"""Limits against an exact model: at every instant the last minute counts, each limit for itself, all or none."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from surplus.gateway.limits import Lease, Limiter
from surplus.identity.model import Limits
from surplus.kit.errors import Limited

MINUTE = 60.0
KEYS = ("key_1", "key_2")
LIMITS = st.builds(
    Limits,
    rpm=st.none() | st.integers(1, 4),
    tpm=st.none() | st.integers(1, 40),
    concurrency=st.none() | st.integers(1, 3),
)


@dataclass(eq=False)
class Taken:
    """What the model knows of one lease. `tokens` are those that count now."""

    lease: Lease
    key: str
    at: float
    tokens: int
    counts: bool  # against the limits of a minute
    running: bool = True


class LimitsMachine(RuleBasedStateMachine):
    """The model keeps every lease for ever and counts anew each time; it has no window, no sums and no sweep."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.limiter = Limiter()
        self.now = 0.0
        self.taken: list[Taken] = []
        self.limits: dict[str, Limits] = dict.fromkeys(KEYS, Limits(rpm=2, tpm=20, concurrency=2))

    def in_window(self, key: str, at: float) -> list[Taken]:
        return [one for one in self.taken if one.key == key and one.counts and one.at > at - MINUTE]

    def tokens(self, key: str, at: float) -> int:
        return sum(one.tokens for one in self.in_window(key, at))

    def fits(self, key: str, tokens: int, at: float) -> bool:
        """Whether a request would be let in, if nothing happened until `at`."""
        limits = self.limits[key]
        running = sum(one.running for one in self.taken if one.key == key)
        return (
            (limits.rpm is None or len(self.in_window(key, at)) < limits.rpm)
            and (limits.tpm is None or self.tokens(key, at) + tokens <= limits.tpm)
            and (limits.concurrency is None or running < limits.concurrency)
        )

    @rule(key=st.sampled_from(KEYS), limits=LIMITS)
    def change_limits(self, key: str, limits: Limits) -> None:
        self.limits[key] = limits

    @rule(target=leases, key=st.sampled_from(KEYS), tokens=st.integers(0, 45))
    def take(self, key: str, tokens: int) -> object:
        limits = self.limits[key]
        fits = self.fits(key, tokens, self.now)
        try:
            lease = self.limiter.take(key, limits, tokens, self.now)
        except Limited as error:
            assert not fits
            self.check_wait(error, key, tokens)
            return multiple()
        assert fits
        if lease is None:
            assert limits == Limits()
            return multiple()
        counts = limits.rpm is not None or limits.tpm is not None
        self.taken.append(Taken(lease, key, self.now, tokens, counts))
        return self.taken[-1]

    def check_wait(self, error: Limited, key: str, tokens: int) -> None:
        """The time to wait is when the limit that refused has room, and not a moment later."""
        limits = self.limits[key]
        if error.retry_after_s is None:
            assert limits.tpm is not None
            assert tokens > limits.tpm
            assert error.retryable is False
            return
        at = self.now + error.retry_after_s
        match error.detail["what"]:
            case "requests per minute":
                room = [len(self.in_window(key, instant)) < (limits.rpm or 0) for instant in (at, at - 0.001)]
            case "tokens per minute":
                room = [self.tokens(key, instant) + tokens <= (limits.tpm or 0) for instant in (at, at - 0.001)]
            case _:
                return
        assert room[0] or error.retry_after_s == MINUTE
        assert not room[1] or error.retry_after_s == 1.0

    @rule(taken=consumes(leases), used=st.integers(0, 60), again=st.booleans())
    def end(self, taken: Taken, used: int, again: bool) -> None:
        taken.lease.release(used)
        taken.running, taken.tokens = False, used
        if again:
            taken.lease.release(used + 1)
            taken.lease.cancel()

    @rule(taken=consumes(leases), again=st.booleans())
    def cancel(self, taken: Taken, again: bool) -> None:
        taken.lease.cancel()
        self.taken.remove(taken)
        if again:
            taken.lease.cancel()
            taken.lease.release(7)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 29.5, 30.0, 59.5, 60.0, 61.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        self.limiter.sweep(self.now)
        alive = {one.key for one in self.taken if one.running} | {key for key in KEYS if self.in_window(key, self.now)}
        assert set(self.limiter._keys) == alive

    @invariant()
    def standings_agree(self) -> None:
        for key, limits in self.limits.items():
            counted, used = self.in_window(key, self.now), self.tokens(key, self.now)
            said = dict(self.limiter.standing(key, limits, self.now))
            assert set(said) == {
                name for name, limit in (("requests", limits.rpm), ("tokens", limits.tpm)) if limit is not None
            }
            reset = max((one.at for one in counted), default=self.now - MINUTE) + MINUTE - self.now
            if limits.rpm is not None:
                left = max(0, limits.rpm - len(counted))
                assert (said["requests"].limit, said["requests"].remaining) == (limits.rpm, left)
            if limits.tpm is not None:
                left = max(0, limits.tpm - used)
                assert (said["tokens"].limit, said["tokens"].remaining) == (limits.tpm, left)
            assert all(one.reset_s == reset for one in said.values())


TestLimits = LimitsMachine.TestCase
