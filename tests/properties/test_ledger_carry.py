"""Rounding: whatever the order and the batching, the charges are the floor of the exact total."""

from fractions import Fraction
from itertools import count, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from surplus.kit.db import Database
from surplus.kit.money import GRAINS_PER_MICRO, ceiling_micro
from surplus.ledger import service
from surplus.ledger.commands import PlaceHold, PostHold
from surplus.ledger.model import AccountKind, Posted, Scope
from tests.stores import Stores

NOW = 1_800_000_000.0
TINY = st.integers(0, 3 * GRAINS_PER_MICRO)
TIES = st.sampled_from([GRAINS_PER_MICRO // 2, GRAINS_PER_MICRO // 3, GRAINS_PER_MICRO - 1, 1])
HUGE = st.integers(0, 10**30)
costs = st.lists(st.one_of(TINY, TIES, HUGE), max_size=12)


def test_the_sum_of_charges_is_the_floor_of_the_exact_sum(stores: Stores) -> None:
    place = stores.place()
    database = Database(place)
    numbers = count()

    def charge(grains: list[int], batches: list[list[int]]) -> list[Posted]:
        """Charge a new wallet; a batch is a list of places in `grains`. Holds are as large as admission makes them."""
        number = next(numbers)
        wallet = Scope(f"wallet:{number}", AccountKind.WALLET, None)
        answers: list[object] = []
        for batch in batches:
            places = [PlaceHold(f"{number}/{n}", wallet, (), ceiling_micro(grains[n]), NOW + 1, "") for n in batch]
            posts = [PostHold(f"{number}/{n}", grains[n], "revenue:tokens", "", NOW) for n in batch]
            answers += database.write_now(service.apply, [*places, *posts], now=NOW)
        total = Fraction(sum(grains), GRAINS_PER_MICRO)
        if grains:
            found = database.read_now(service.balance, wallet.account, now=NOW)
            assert found.debits == total // 1
            assert Fraction(found.carry_grains, GRAINS_PER_MICRO) == total - total // 1
        return [answer for answer in answers if isinstance(answer, Posted)]

    @settings(max_examples=settings.default.max_examples // stores.cost)
    @given(data=st.data(), grains=costs)
    def check(data: st.DataObject, grains: list[int]) -> None:
        order = data.draw(st.permutations(range(len(grains))))
        cuts = sorted(data.draw(st.sets(st.integers(0, len(grains)))) | {0, len(grains)})
        posted = charge(grains, [list(order[start:end]) for start, end in pairwise(cuts)])
        assert len(posted) == len(grains)
        assert sum(answer.charged_micro for answer in posted) == sum(grains) // GRAINS_PER_MICRO
        assert not any(answer.overrun_micro for answer in posted)

    check()
    assert database.read_now(service.verify).ok
    database.close()
    stores.forget(place)
