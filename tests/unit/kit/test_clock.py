import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.kit.clock import ManualClock, SystemClock, day_of, iso, month_of, parse_iso
from surplus.kit.errors import BadRequest

instants = st.integers(0, 4_000_000_000_000_000).map(lambda micro: round(micro / 1e6, 6))


def test_the_machine_s_clock_counts_microseconds_since_1970_and_never_runs_back() -> None:
    clock = SystemClock()
    assert clock.now() > parse_iso("2024-01-01T00:00:00Z")
    assert (now := clock.now()) == round(now, 6)
    before = clock.monotonic()
    assert clock.monotonic() >= before


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(100.0)
    assert (clock.now(), clock.monotonic()) == (100.0, 0.0)
    clock.advance(0.25)
    assert (clock.now(), clock.monotonic()) == (100.25, 0.25)
    with pytest.raises(AssertionError):
        clock.advance(-1)


def test_setting_the_wall_clock_leaves_durations_alone() -> None:
    clock = ManualClock(100.0)
    clock.step(-40)
    assert (clock.now(), clock.monotonic()) == (60.0, 0.0)
    clock.step(1)
    assert (clock.now(), clock.monotonic()) == (61.0, 0.0)


@given(instants)
def test_instants_survive_writing_and_reading(instant: float) -> None:
    text = iso(instant)
    assert parse_iso(text) == instant
    assert text.endswith("Z")
    assert text.startswith(f"{day_of(instant)}T")
    assert day_of(instant).startswith(f"{month_of(instant)}-")


def test_instants_are_written_in_utc_with_fractions_only_where_there_are_any() -> None:
    assert iso(0) == "1970-01-01T00:00:00Z"
    assert iso(1_795_237_670.5) == "2026-11-21T05:07:50.500000Z"


@pytest.mark.parametrize(
    "text",
    ["2026-11-21T09:00:00Z", "2026-11-21T10:00:00+01:00", "2026-11-21T01:00:00-08:00", "20261121T090000Z"],
)
def test_every_offset_names_the_same_instant(text: str) -> None:
    assert parse_iso(text) == 1_795_251_600.0


@pytest.mark.parametrize("text", ["2026-11-21T09:00:00", "2026-11-21"])
def test_an_instant_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="no UTC offset"):
        parse_iso(text)


@pytest.mark.parametrize("text", ["", "now", "1795251600", "2026-13-01T00:00:00Z", "21.11.2026"])
def test_what_is_not_an_instant_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="is not an instant"):
        parse_iso(text)


def test_days_and_months_change_at_midnight_utc() -> None:
    midnight = parse_iso("2026-12-01T00:00:00Z")
    assert (day_of(midnight - 0.001), month_of(midnight - 0.001)) == ("2026-11-30", "2026-11")
    assert (day_of(midnight), month_of(midnight)) == ("2026-12-01", "2026-12")
