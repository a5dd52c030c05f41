"""The circuit breaker: examples of each rule, and the rules held over random histories."""

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from surplus.serving.breaker import NO_PROBE, Breaker, BreakerRules, BreakerState

RULES = BreakerRules(failures=3, ratio=0.5, ratio_of=10, window_s=10.0, cooldown_s=1.0, cooldown_max_s=60.0)
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(RULES)
    for _ in range(RULES.failures):
        breaker.failed(at)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(RULES)
    for moment in range(0, 50, 10):  # far enough apart that their share does not count
        breaker.failed(moment)
        breaker.failed(moment)
        breaker.succeeded(moment)
    assert breaker.state(50.0) is CLOSED
    for _ in range(3):
        assert breaker.allows(50.0)
        breaker.failed(50.0)
    assert breaker.state(50.0) is OPEN
    assert not breaker.allows(50.0)


def test_a_high_share_of_failures_opens_it() -> None:
    breaker = Breaker(RULES)
    for number in range(4):
        breaker.succeeded(0.1 * number)
        breaker.failed(0.1 * number)
    assert breaker.state(1.0) is CLOSED, "eight requests are too few to tell"
    breaker.succeeded(1.0)
    breaker.failed(1.0)
    assert breaker.state(1.0) is OPEN


def test_failures_of_long_ago_are_forgotten() -> None:
    breaker = Breaker(RULES)
    for number in range(100):
        breaker.succeeded(20.0 * number)
        breaker.failed(20.0 * number)
    assert breaker.state(2000.0) is CLOSED


def test_after_the_cool_down_one_probe_passes() -> None:
    breaker = opened()
    assert not breaker.allows(0.99)
    assert breaker.state(1.0) is HALF_OPEN
    assert breaker.allows(1.0)
    assert breaker.allows(1.0), "asking is not sending"
    assert breaker.started(1.0) != NO_PROBE
    assert not breaker.allows(1.0)
    assert breaker.started(1.0) == NO_PROBE


def test_a_good_probe_closes_it_and_forgets_the_past() -> None:
    breaker = opened()
    breaker.started(1.0)
    breaker.succeeded(1.0)
    assert breaker.state(1.0) is CLOSED
    for _ in range(3):
        breaker.failed(2.0)
    assert breaker.state(2.99) is OPEN
    assert breaker.state(3.0) is HALF_OPEN, "the first cool-down again"


def test_bad_probes_double_the_cool_down_up_to_a_minute() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(9):
        began = now
        while not breaker.allows(now):
            now += 0.5
        waits.append(now - began)
        breaker.started(now)
        breaker.failed(now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_probe_without_a_verdict_frees_its_place() -> None:
    breaker = opened()
    claim = breaker.started(1.0)
    breaker.ended(claim)
    assert breaker.allows(1.0)


def test_an_old_probe_cannot_free_the_place_of_a_new_one() -> None:
    breaker = opened()
    old = breaker.started(1.0)
    breaker.failed(1.0)
    assert breaker.started(3.0) not in {NO_PROBE, old}
    breaker.ended(old)
    assert not breaker.allows(3.0)


@pytest.mark.parametrize(("wish", "wait"), [(20.0, 20.0), (0.5, 1.0), (3600.0, 60.0)])
def test_the_upstreams_own_waiting_time_is_kept(wish: float, wait: float) -> None:
    breaker = Breaker(RULES)
    breaker.failed(0.0, retry_after_s=wish)
    assert not breaker.allows(wait - 0.01)
    assert breaker.allows(wait)


@pytest.mark.parametrize("wish", [None, 0.0, -5.0])
def test_no_wish_is_one_failure(wish: float | None) -> None:
    breaker = Breaker(RULES)
    breaker.failed(0.0, retry_after_s=wish)
    assert breaker.state(0.0) is CLOSED


def test_latecomers_neither_close_nor_prolong_an_open_circuit() -> None:
    breaker = opened()
    for _ in range(10):
        breaker.failed(0.5)
    breaker.succeeded(0.5)
    assert breaker.state(0.99) is OPEN
    assert breaker.allows(1.0)
    late = opened()
    late.failed(0.5, retry_after_s=5.0)
    assert not late.allows(5.4)
    assert late.allows(5.5)


class Histories(RuleBasedStateMachine):
    """Requests start, end, succeed and fail in any order while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(RULES)
        self.now = 0.0
        self.claims: list[int] = []
        self.failures_in_a_row = 0

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def start(self) -> None:
        if self.breaker.allows(self.now):
            self.claims.append(self.breaker.started(self.now))

    @precondition(lambda self: self.claims)
    @rule(which=st.integers(0, 1000))
    def end(self, which: int) -> None:
        self.breaker.ended(self.claims.pop(which % len(self.claims)))

    @rule()
    def succeed(self) -> None:
        was = self.breaker.state(self.now)
        self.breaker.succeeded(self.now)
        assert self.breaker.state(self.now) is (OPEN if was is OPEN else CLOSED)
        if was is not OPEN:
            self.failures_in_a_row = 0

    @rule(wish=st.one_of(st.none(), st.floats(-10, 4000)))
    def fail(self, wish: float | None) -> None:
        was = self.breaker.state(self.now)
        self.breaker.failed(self.now, wish)
        self.failures_in_a_row += 1
        if was is not CLOSED or self.failures_in_a_row >= RULES.failures or (wish or 0.0) > 0:
            assert self.breaker.state(self.now) is OPEN

    @invariant()
    def open_lets_nothing_through(self) -> None:
        if self.breaker.state(self.now) is OPEN:
            assert not self.breaker.allows(self.now)
            assert self.breaker.started(self.now) == NO_PROBE

    @invariant()
    def closed_lets_everything_through(self) -> None:
        if self.breaker.state(self.now) is CLOSED:
            assert self.breaker.allows(self.now)

    @invariant()
    def no_cool_down_is_longer_than_its_limit(self) -> None:
        assert self.breaker.state(self.now + RULES.cooldown_max_s) is not OPEN

    @invariant()
    def probes_have_claims_of_their_own(self) -> None:
        probes = [claim for claim in self.claims if claim != NO_PROBE]
        assert len(probes) == len(set(probes))

    def teardown(self) -> None:
        for claim in self.claims:
            self.breaker.ended(claim)
        assert self.breaker.allows(self.now + RULES.cooldown_max_s), "it can always come back"


TestHistories = Histories.TestCase
