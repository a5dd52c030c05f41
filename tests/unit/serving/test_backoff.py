"""How long a failed replica waits."""

import hypothesis.strategies as st
from hypothesis import given

from surplus.serving.backoff import Backoff, BackoffRules


def test_waits_double_up_to_a_minute() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.after_failure(0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_minute_of_health_begins_anew() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(5):
        backoff.after_failure(59.9)
    assert backoff.after_failure(60.0) == 1.0
    assert backoff.after_failure(0.0) == 2.0


def test_a_start_that_never_succeeded_was_never_healthy() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.after_failure(float("-inf")) for _ in range(3)] == [1, 2, 4]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=100))
def test_chance_takes_at_most_half_away(jitters: list[float]) -> None:
    numbers = iter(jitters)
    backoff = Backoff(lambda: next(numbers), BackoffRules(first_s=0.5, most_s=8.0))
    for failures in range(len(jitters)):
        full = min(0.5 * 2.0**failures, 8.0)
        assert full / 2 <= backoff.after_failure(0.0) <= full
