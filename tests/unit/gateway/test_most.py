"""No request that keeps within its limits costs more than what was held for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.gateway.admission import Offer, _most, _most_tokens
from surplus.gateway.bounds import Bounds
from surplus.gateway.estimate import estimated
from surplus.kit.money import GRAINS_PER_MICRO, settle
from surplus.metering.usage import TokenUsage
from surplus.serving.model import Deployment
from tests.unit.gateway.parts import TRIES, bounds, deployment, offer, sheet

AMOUNTS = st.integers(0, 10**13)
DEPLOYMENTS = st.builds(
    lambda number, context, share, template: deployment(
        id=f"dep_{number}", context=context, max_output=max(1, int(context * share)), template_tokens=template
    ),
    st.integers(1, 3),
    st.integers(1, 3000),
    st.floats(0, 1),
    st.integers(0, 64),
)
OFFERS = st.builds(Offer, DEPLOYMENTS, st.builds(sheet, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS))
BOUNDS = st.builds(
    Bounds,
    size=st.integers(2, 6000),
    inputs=st.integers(1, 3),
    choices=st.integers(0, 3),
    output=st.none() | st.integers(1, 4000),
)


def usage_within(data: st.DataObject, asked: Bounds, where: Deployment, most_input: int | None = None) -> TokenUsage:
    """Any usage that an engine may report: every prompt within the context, and every answer within its limit too."""
    allowed = asked.input_tokens(where.template_tokens, where.context)
    left = allowed if most_input is None else min(allowed, most_input)
    limit = where.max_output if asked.output is None else asked.output
    read, written = 0, 0
    for _ in range(asked.inputs):
        prompt = data.draw(st.integers(0, min(left, where.context)) | st.just(min(left, where.context)))
        left -= prompt
        read += prompt
        room = min(limit, where.context - prompt)
        for _ in range(asked.choices):
            written += data.draw(st.integers(0, room) | st.just(room))
    cached = data.draw(st.integers(0, read))
    wrote = data.draw(st.integers(0, read - cached))
    return TokenUsage(read - cached - wrote, cached, wrote, written)


@TRIES
@given(st.data(), st.lists(OFFERS, min_size=1, max_size=3), BOUNDS, st.integers(0, GRAINS_PER_MICRO - 1))
def test_what_is_held_covers_any_usage_on_any_deployment(
    data: st.DataObject, offers: list[Offer], asked: Bounds, carry: int
) -> None:
    answering = data.draw(st.sampled_from(offers))
    usage = usage_within(data, asked, answering.deployment)
    held = _most(offers, asked)
    assert answering.sheet.grains(usage) <= held * GRAINS_PER_MICRO
    assert usage.input + usage.output <= _most_tokens(offers, asked)
    charge, _ = settle(carry, answering.sheet.grains(usage))
    assert charge <= held, "whatever part of a micro-dollar earlier requests have left"


@TRIES
@given(st.data(), st.lists(OFFERS, min_size=1, max_size=3, unique_by=lambda one: one.deployment.id), BOUNDS)
def test_a_count_covers_the_deployments_that_counted_and_the_bound_all_others(
    data: st.DataObject, offers: list[Offer], asked: Bounds
) -> None:
    counts = data.draw(st.dictionaries(st.sampled_from([one.deployment.id for one in offers]), st.integers(0, 6000)))
    answering = data.draw(st.sampled_from(offers))
    usage = usage_within(data, asked, answering.deployment, counts.get(answering.deployment.id))
    held = _most(offers, asked, counts)
    assert answering.sheet.grains(usage) <= held * GRAINS_PER_MICRO
    assert held <= _most(offers, asked)


@TRIES
@given(st.lists(OFFERS, min_size=1, max_size=3), BOUNDS, st.integers(0, 10**6), st.booleans())
def test_what_is_held_covers_an_estimate(offers: list[Offer], asked: Bounds, amount: int, streams: bool) -> None:
    for one in offers:
        given_events = amount if streams else None
        usage = estimated(asked, one.deployment, events=given_events, answer_bytes=amount)
        assert one.sheet.grains(usage) <= _most(offers, asked) * GRAINS_PER_MICRO


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (bounds(size=92, output=10), 100 + 100),
        (bounds(size=92, output=None), 100 + 500),
        (bounds(size=92, output=10, choices=3), 100 + 300),
        (bounds(size=184, output=10, inputs=2), 200 + 200),
        (bounds(size=92, output=0, choices=0), 100),
        (bounds(size=10_000, output=10), 990 + 100),
        (bounds(size=92, output=5000), 0 + 10_000),  # more input leaves less room for the dearer output
    ],
    ids=["limit", "default", "choices", "prompts", "embedding", "context", "long"],
)
def test_the_maximum_by_hand(asked: Bounds, held: int) -> None:
    one_and_ten = offer(prices=sheet(10**12, 10**11, 10**11, 10**13), context=1000, max_output=50)
    assert _most([one_and_ten], asked) == held


def test_the_dearest_input_class_and_the_dearest_deployment_decide() -> None:
    wrote = sheet(10**12, 10**11, 5 * 10**12, 10**13)
    asked = bounds(size=92, output=10)
    assert _most([offer(prices=wrote)], asked) == 500 + 100
    dear = offer(prices=sheet(10**12, 0, 0, 10**14), id="dep_2")
    assert _most([offer(prices=wrote), dear], asked) == 100 + 1000
    assert _most([dear, offer(prices=wrote)], asked) == 100 + 1000


def test_less_than_a_micro_dollar_is_held_as_one() -> None:
    assert _most([offer(prices=sheet(1, 0, 0, 0))], bounds()) == 1
    assert _most([offer(prices=sheet(0, 0, 0, 0))], bounds()) == 0


def test_the_default_limit_is_that_of_each_deployment() -> None:
    prices = sheet(0, 0, 0, 10**12)
    short, long = offer(prices=prices, max_output=5), offer(prices=prices, max_output=9, id="dep_2")
    assert _most([short, long], bounds(output=None)) == 9
