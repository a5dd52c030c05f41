import re

from hypothesis import given
from hypothesis import strategies as st

from surplus.kit.clock import ManualClock
from surplus.kit.ids import CountedIds, RandomIds

BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


def stamp_ms(identifier: str) -> int:
    number = 0
    for character in identifier.partition("_")[2][:10]:
        number = number * 32 + BASE32.index(character)
    return number


def test_an_id_is_its_prefix_and_26_characters() -> None:
    ids = RandomIds(ManualClock())
    assert re.fullmatch(rf"org_[{BASE32}]{{26}}", ids.new("org"))


@given(st.floats(0, 200_000_000_000, allow_nan=False))
def test_an_id_tells_the_millisecond_of_its_making(now: float) -> None:
    clock = ManualClock(now)
    assert stamp_ms(RandomIds(clock).new("x")) == int(clock.now() * 1000)


def test_ids_sort_by_time_of_making() -> None:
    clock = ManualClock()
    ids = RandomIds(clock)
    made: list[str] = []
    for _ in range(50):
        made.append(ids.new("x"))
        clock.advance(0.001)
    assert made == sorted(made)


def test_ids_of_one_millisecond_differ_and_a_clock_set_back_is_followed() -> None:
    clock = ManualClock()
    ids = RandomIds(clock)
    assert len({ids.new("x") for _ in range(1000)}) == 1000
    now = ids.new("x")
    clock.step(-1)
    assert stamp_ms(ids.new("x")) == stamp_ms(now) - 1000


def test_a_secret_is_32_characters_that_do_not_repeat() -> None:
    ids = RandomIds(ManualClock())
    secrets = {ids.secret() for _ in range(200)}
    assert len(secrets) == 200
    assert all(re.fullmatch(rf"[{BASE32}]{{32}}", secret) for secret in secrets)
    for place in range(32):  # every character carries its five bits
        assert len({secret[place] for secret in secrets}) > 20


def test_counted_ids_count_per_prefix() -> None:
    ids = CountedIds()
    assert [ids.new("org"), ids.new("org"), ids.new("key")] == ["org_1", "org_2", "key_1"]
    assert [ids.secret()[-2:], ids.secret()[-2:]] == ["01", "02"]
