"""Leases over requests a minute, tokens a minute and requests at once."""

import pytest

from surplus.gateway.limits import WINDOW_S, Lease, Limiter, Standing
from surplus.identity.model import Limits
from surplus.kit.errors import Limited

KEY = "key_1"


@pytest.fixture
def limiter() -> Limiter:
    return Limiter()


def take(limiter: Limiter, limits: Limits, tokens: int = 1, at: float = 0.0, key: str = KEY) -> Lease:
    lease = limiter.take(key, limits, tokens, at)
    assert lease is not None
    return lease


def refused(limiter: Limiter, limits: Limits, tokens: int = 1, at: float = 0.0) -> Limited:
    with pytest.raises(Limited) as caught:
        limiter.take(KEY, limits, tokens, at)
    return caught.value


def standing(limiter: Limiter, limits: Limits, at: float = 0.0, key: str = KEY) -> dict[str, Standing]:
    return dict(limiter.standing(key, limits, at))


def test_a_key_without_limits_takes_nothing(limiter: Limiter) -> None:
    assert limiter.take(KEY, Limits(), 10**9, 0.0) is None
    assert standing(limiter, Limits()) == {}


def test_requests_free_one_by_one_a_minute_after_they_came(limiter: Limiter) -> None:
    limits = Limits(rpm=2)
    take(limiter, limits, at=0.0).release(1)
    take(limiter, limits, at=30.0).release(1)
    error = refused(limiter, limits, at=45.0)
    assert (error.retry_after_s, error.detail["what"], error.detail["remaining"]) == (15.0, "requests per minute", 0)
    refused(limiter, limits, at=59.999)
    take(limiter, limits, at=60.0)
    refused(limiter, limits, at=89.0)
    take(limiter, limits, at=90.0)


def test_tokens_are_taken_at_their_bound_and_corrected_when_it_is_known(limiter: Limiter) -> None:
    limits = Limits(tpm=100)
    lease = take(limiter, limits, 80)
    error = refused(limiter, limits, 30, at=1.0)
    assert (error.detail["what"], error.detail["remaining"], error.retry_after_s) == ("tokens per minute", 20, 59.0)
    lease.release(10)
    assert standing(limiter, limits, 1.0)["tokens"] == Standing(100, 90, 59.0)
    take(limiter, limits, 90, at=1.0)
    refused(limiter, limits, 1, at=1.0)


def test_more_than_was_bounded_counts_too(limiter: Limiter) -> None:
    limits = Limits(tpm=100)
    take(limiter, limits, 10).release(150)
    assert standing(limiter, limits)["tokens"].remaining == 0
    assert refused(limiter, limits, 1).detail["remaining"] == 0
    take(limiter, limits, 100, at=WINDOW_S)


def test_the_wait_for_tokens_is_until_enough_of_them_are_free(limiter: Limiter) -> None:
    limits = Limits(tpm=100)
    for at in (0.0, 10.0, 20.0):
        take(limiter, limits, 30, at=at)
    assert refused(limiter, limits, 30, at=25.0).retry_after_s == 35.0
    assert refused(limiter, limits, 40, at=25.0).retry_after_s == 35.0
    assert refused(limiter, limits, 41, at=25.0).retry_after_s == 45.0
    assert refused(limiter, limits, 70, at=25.0).retry_after_s == 45.0
    assert refused(limiter, limits, 100, at=25.0).retry_after_s == 55.0


def test_a_request_over_the_whole_limit_is_not_worth_another_try(limiter: Limiter) -> None:
    error = refused(limiter, Limits(tpm=100), 101)
    assert (error.retryable, error.retry_after_s) == (False, None)
    assert Limited.retryable is None
    take(limiter, Limits(tpm=100), 100)


def test_requests_at_once_free_when_they_end(limiter: Limiter) -> None:
    limits = Limits(concurrency=2)
    first, second = take(limiter, limits), take(limiter, limits)
    error = refused(limiter, limits)
    assert (error.detail["what"], error.detail["remaining"], error.retry_after_s) == ("requests at once", 0, 1.0)
    first.release(5)
    first.release(5)
    third = take(limiter, limits)
    refused(limiter, limits, at=10_000.0)
    second.release(0)
    third.cancel()
    third.cancel()
    take(limiter, limits)
    take(limiter, limits)
    refused(limiter, limits)


@pytest.mark.parametrize(
    "limits", [Limits(rpm=1, tpm=1000, concurrency=9), Limits(rpm=9, tpm=10, concurrency=9), Limits(9, 1000, 1)]
)
def test_what_one_limit_refuses_counts_against_none(limiter: Limiter, limits: Limits) -> None:
    take(limiter, limits, 5)
    before = standing(limiter, limits, 1.0)
    for _ in range(3):
        refused(limiter, limits, 6, at=1.0)
    assert standing(limiter, limits, 1.0) == before


def test_a_cancelled_lease_counts_nowhere(limiter: Limiter) -> None:
    limits = Limits(rpm=1, tpm=10, concurrency=1)
    take(limiter, limits, 10).cancel()
    assert standing(limiter, limits) == {"requests": Standing(1, 1, 0.0), "tokens": Standing(10, 10, 0.0)}
    take(limiter, limits, 10)


def test_a_lease_that_has_ended_cannot_be_cancelled(limiter: Limiter) -> None:
    limits = Limits(rpm=1, tpm=10)
    lease = take(limiter, limits, 10)
    lease.release(7)
    lease.cancel()
    assert standing(limiter, limits) == {"requests": Standing(1, 0, 60.0), "tokens": Standing(10, 3, 60.0)}
    assert standing(limiter, limits, WINDOW_S)["tokens"].remaining == 10


def test_a_lease_that_outlives_its_window_gives_nothing_back_twice(limiter: Limiter) -> None:
    limits = Limits(rpm=5, tpm=100)
    long = take(limiter, limits, 80)
    take(limiter, limits, 50, at=WINDOW_S)
    long.release(10)
    assert standing(limiter, limits, WINDOW_S)["tokens"] == Standing(100, 50, 60.0)
    again = take(limiter, limits, 50, at=WINDOW_S + 1)
    take(limiter, limits, 1, at=2 * WINDOW_S + 1)
    again.cancel()
    assert standing(limiter, limits, 2 * WINDOW_S + 1)["tokens"].remaining == 99


def test_limits_that_come_later_find_nothing_of_what_was_not_counted(limiter: Limiter) -> None:
    """A key that had only a limit on requests at once never took tokens, so it has none to give back."""
    lease = take(limiter, Limits(concurrency=2), 80)
    take(limiter, Limits(concurrency=2), 80)
    lease.release(1)
    assert standing(limiter, Limits(tpm=100))["tokens"] == Standing(100, 100, 0.0)
    refused(limiter, Limits(tpm=100), 101)


def test_keys_do_not_share(limiter: Limiter) -> None:
    limits = Limits(rpm=1, tpm=10, concurrency=1)
    take(limiter, limits, 10, key="key_1")
    take(limiter, limits, 10, key="key_2")


def test_keys_without_leases_are_forgotten(limiter: Limiter) -> None:
    limits = Limits(rpm=5, concurrency=5)
    lease = take(limiter, limits)
    limiter.sweep(WINDOW_S + 1)
    assert list(limiter._keys) == [KEY]
    lease.release(1)
    limiter.sweep(WINDOW_S + 1)
    assert not limiter._keys


def test_a_standing_falls_and_comes_back(limiter: Limiter) -> None:
    limits = Limits(rpm=3, tpm=100)
    assert standing(limiter, limits)["requests"] == Standing(3, 3, 0.0)
    take(limiter, limits, 40, at=0.0)
    take(limiter, limits, 40, at=15.0)
    assert standing(limiter, limits, 20.0) == {"requests": Standing(3, 1, 55.0), "tokens": Standing(100, 20, 55.0)}
    assert standing(limiter, limits, 60.0) == {"requests": Standing(3, 2, 15.0), "tokens": Standing(100, 60, 15.0)}
    assert standing(limiter, limits, 75.0) == {"requests": Standing(3, 3, 0.0), "tokens": Standing(100, 100, 0.0)}


@pytest.mark.parametrize("limits", [Limits(rpm=1), Limits(tpm=1), Limits(concurrency=1)])
def test_a_refusal_says_whose_limit_it_is_and_when_to_come_back(limiter: Limiter, limits: Limits) -> None:
    take(limiter, limits)
    error = refused(limiter, limits, at=59.9)
    assert error.status == 429
    assert 1.0 <= (error.retry_after_s or 0.0) <= 60.0
    assert {"limit", "what", "remaining", "scope"} <= set(error.detail)
    assert "this key's limit of 1 " in error.message
