"""The most that a request can consume, and what is charged where an engine never said."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.gateway import bounds as rules
from surplus.gateway.bounds import OUTPUT_MAX, Bounds
from surplus.gateway.errors import BadBody
from surplus.gateway.estimate import estimated
from surplus.metering.usage import TokenUsage
from tests.unit.gateway.parts import TRIES, body, bounds, chat, deployment


def test_a_chat_is_one_input_with_one_answer() -> None:
    asked = chat()
    assert rules.of_chat(asked) == Bounds(asked.size, 1, 1, None)


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 6, "max_completion_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
        ({"max_tokens": None}, None),
        ({"max_tokens": OUTPUT_MAX}, OUTPUT_MAX),
    ],
)
def test_the_newer_name_of_the_output_limit_decides(fields: dict[str, Any], output: int | None) -> None:
    assert rules.of_chat(chat(**fields)).output == output


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": OUTPUT_MAX + 1},
        {"max_tokens": 1.5},
        {"max_tokens": 5.0},
        {"max_tokens": "5"},
        {"max_completion_tokens": True},
        {"max_tokens": 5, "max_completion_tokens": 0},
        {"n": 0},
        {"n": 129},
        {"n": "2"},
    ],
)
def test_a_limit_that_is_none_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadBody):
        rules.of_chat(chat(**fields))


def test_the_least_of_everything_is_taken() -> None:
    asked = rules.of_chat(chat(n=1, max_tokens=1))
    assert (asked.choices, asked.output) == (1, 1)
    asked = rules.of_completion(body(prompt="a", n=1, best_of=1, max_tokens=1))
    assert (asked.choices, asked.output) == (1, 1)
    assert rules.of_chat(chat(n=128)).choices == 128


def test_a_chat_needs_messages() -> None:
    with pytest.raises(BadBody) as caught:
        rules.of_chat(body(prompt="hello"))
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("fields", "inputs", "choices"),
    [
        ({"prompt": "a"}, 1, 1),
        ({"prompt": ["a", "b", "c"], "n": 2}, 3, 2),
        ({"prompt": "a", "n": 2, "best_of": 5}, 1, 5),
        ({"prompt": "a", "n": 4, "best_of": 1}, 1, 4),
        ({"prompt": [1, 2, 3]}, 1, 1),
    ],
)
def test_completions_answer_every_prompt_as_often_as_they_try(
    fields: dict[str, Any], inputs: int, choices: int
) -> None:
    asked = rules.of_completion(body(max_tokens=7, **fields))
    assert (asked.inputs, asked.choices, asked.answers, asked.output) == (inputs, choices, inputs * choices, 7)


def test_another_endpoint_s_limit_is_no_limit() -> None:
    assert rules.of_completion(body(prompt="a", max_completion_tokens=5)).output is None


def test_embeddings_have_no_output() -> None:
    asked = rules.of_embedding(body(input=["a", "b"], max_tokens=50, n=3))
    assert (asked.inputs, asked.answers, asked.output) == (2, 0, 0)


def test_input_is_bounded_by_bytes_and_by_the_context() -> None:
    assert bounds(size=100).input_tokens(8, 1000) == 108
    assert bounds(size=5000).input_tokens(8, 1000) == 1000
    assert bounds(size=100, inputs=3).input_tokens(8, 1000) == 124
    assert bounds(size=100, inputs=3).input_tokens(8, 20) == 60


def test_silence_is_charged_by_events_or_by_bytes() -> None:
    assert estimated(bounds(size=400), deployment(), events=7) == TokenUsage(uncached=100, output=7)
    assert estimated(bounds(size=400), deployment(), answer_bytes=30) == TokenUsage(uncached=100, output=7)
    assert estimated(bounds(size=400), deployment()) == TokenUsage(uncached=100)


def test_an_estimate_stays_within_the_limits() -> None:
    assert estimated(bounds(output=10), deployment(), events=11).output == 10
    assert estimated(bounds(output=10, choices=3), deployment(), events=99).output == 30
    assert estimated(bounds(output=None), deployment(max_output=20), answer_bytes=10**6).output == 20
    assert estimated(bounds(size=10**6), deployment(context=1000), events=99) == TokenUsage(uncached=1000)
    assert estimated(bounds(choices=0, output=0), deployment(), answer_bytes=10**6).output == 0


@TRIES
@given(
    st.builds(
        Bounds,
        size=st.integers(2, 20_000),
        inputs=st.integers(1, 4),
        choices=st.integers(0, 4),
        output=st.none() | st.integers(1, 2000),
    ),
    st.none() | st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_an_estimate_is_something_that_could_have_been(asked: Bounds, events: int | None, size: int) -> None:
    where = deployment(context=1000, max_output=100)
    usage = estimated(asked, where, events=events, answer_bytes=size)
    assert usage.input <= asked.input_tokens(where.template_tokens, where.context)
    assert usage.output <= (100 if asked.output is None else asked.output) * asked.answers
    assert usage.input + usage.output <= where.context * asked.inputs * max(1, asked.choices)
