"""The soak: its line through memory, its verdicts, and a short run against a real server."""

import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from bench.soak.callers import Kind
from bench.soak.report import failures, growth
from bench.soak.run import Accounts, Soaked
from bench.soak.slope import slope, student
from bench.soak.watch import Reading

GAUGES = {
    "in_flight": 0.0,
    "slots_in_use": 0.0,
    "granted_dollars": 0.0,
    "unwritten_settlements": 0.0,
    "journal_lag_bytes": 0.0,
    "tasks": 12.0,
    "upstream_connections": 0.0,
}
ACCOUNTS = Accounts(generations=100, records=100, held="0.000000", settled="1.5", charged="1.50", sound=True)
RATE = 50.0


def _reading(at: float = 0.0, anonymous: float = 80e6, **gauges: float) -> Reading:
    return Reading(at, int(anonymous), int(anonymous + 20e6), 6, 30, 3, {**GAUGES, **gauges})


SOAKED = Soaked(
    asked=Counter({Kind.WHOLE: 60, Kind.STREAM: 20, Kind.LEFT_LATE: 15, Kind.LEFT_EARLY: 5}),
    faults=0,
    bad=[],
    before=_reading(),
    during=[_reading(at) for at in range(600)],
    after=_reading(),
    accounts=ACCOUNTS,
    complaints=[],
    exit_status=0,
)


def _failed(soaked: Soaked) -> list[str]:
    return failures(soaked, growth(soaked.during, RATE))


@pytest.mark.parametrize(("freedom", "exact"), [(3, 3.182), (5, 2.571), (10, 2.228), (18, 2.101), (1000, 1.962)])
def test_students_quantile_is_that_of_the_tables(freedom: int, exact: float) -> None:
    assert student(freedom) == pytest.approx(exact, rel=0.01)


def test_a_line_without_noise_is_found_exactly() -> None:
    times = [float(number) for number in range(100)]
    found = slope(times, [3.0 * time + 7 for time in times])
    assert found.value == pytest.approx(3.0)
    assert (found.low, found.high) == pytest.approx((3.0, 3.0))
    assert not found.contains_zero
    assert slope(times, [5.0] * 100).contains_zero


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    chance = random.Random(7)
    times = [float(number) for number in range(200)]
    hits = 0
    for _ in range(400):
        found = slope(times, [0.5 * time + chance.gauss(0, 30) for time in times])
        hits += found.low <= 0.5 <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_two_samples_make_no_slope() -> None:
    with pytest.raises(ValueError, match="three samples"):
        slope([1.0, 2.0], [1.0, 2.0])
    assert growth([_reading(400), _reading(401)], RATE) is None


def test_a_run_in_which_nothing_leaks_passes() -> None:
    assert _failed(SOAKED) == []
    early = replace(ACCOUNTS, generations=95, records=97)
    assert _failed(replace(SOAKED, accounts=early)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"after": _reading(slots_in_use=1.0)}, "slots_in_use is 1"),
        ({"after": _reading(granted_dollars=0.25)}, "granted_dollars is 0.25"),
        ({"after": _reading(tasks=13.0)}, "tasks is 13; it was 12"),
        ({"after": _reading(upstream_connections=1.0)}, "upstream_connections is 1"),
        ({"after": replace(_reading(), sockets=4)}, "4 open sockets"),
        ({"after": replace(_reading(), threads=60)}, "60 threads"),
        ({"accounts": replace(ACCOUNTS, held="0.01")}, "0.01 USD is held"),
        ({"accounts": replace(ACCOUNTS, generations=101)}, "101 generations have 100 records"),
        ({"accounts": replace(ACCOUNTS, generations=94)}, "led to 94 generations"),
        ({"accounts": replace(ACCOUNTS, records=101)}, "100 requests have 101 records"),
        ({"accounts": replace(ACCOUNTS, settled="1.4")}, "has settled 1.4 USD"),
        ({"accounts": replace(ACCOUNTS, sound=False)}, "ledger verify"),
        ({"faults": 2, "bad": ["whole answers: no"]}, "2 bad answers, such as whole answers: no"),
        ({"exit_status": 1}, "ended with status 1"),
        ({"during": [_reading(at, 80e6 + 1000 * at) for at in range(600)]}, "memory grows: at least 20 bytes"),
    ],
)
def test_whatever_is_left_or_does_not_agree_fails_the_run(change: dict[str, object], said: str) -> None:
    (why,) = _failed(replace(SOAKED, **change))
    assert said in why


def test_memory_that_was_watched_for_a_short_time_is_not_judged() -> None:
    assert _failed(replace(SOAKED, during=[_reading(at, 80e6 + 1000 * at) for at in range(400)])) == []


def test_what_fills_in_the_beginning_is_no_leak() -> None:
    assert _failed(replace(SOAKED, during=[_reading(at, 80e6 + 10_000 * min(at, 300)) for at in range(600)])) == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_short_run_against_a_real_server_passes() -> None:
    command = [sys.executable, "-m", "bench.soak", "--minutes", "0.33", "--rate", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed: nothing leaked" in done.stdout
    assert "records 4" in done.stdout
    assert "no slope" in done.stdout
