import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.metering.usage import MAX_TOKENS, TokenUsage

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
)
counts = st.one_of(st.integers(0, 5000), junk)
prompt_details = st.fixed_dictionaries(
    {}, optional={"cached_tokens": counts, "cache_write_tokens": counts, "created_cache_tokens": counts}
)
completion_details = st.fixed_dictionaries({}, optional={"reasoning_tokens": counts})
usages = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": counts,
        "completion_tokens": counts,
        "total_tokens": counts,
        "prompt_tokens_details": st.one_of(prompt_details, junk),
        "completion_tokens_details": st.one_of(completion_details, junk),
    },
)


def test_m5_cached_and_written_tokens_are_taken_out_of_the_prompt():
    usage, degraded = TokenUsage.from_openai(
        {
            "prompt_tokens": 1000,
            "completion_tokens": 482,
            "total_tokens": 1482,
            "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 150},
            "completion_tokens_details": {"reasoning_tokens": 448},
        }
    )
    assert usage == TokenUsage(uncached=250, cache_read=600, cache_write=150, output=482, reasoning=448)
    assert usage.input == 1000
    assert not degraded


def test_cache_writes_are_found_under_either_name():
    details = {"cached_tokens": 1, "created_cache_tokens": 4}
    usage, degraded = TokenUsage.from_openai(
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": details}
    )
    assert (usage, degraded) == (TokenUsage(5, 1, 4, 1), False)


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}, {"audio_tokens": 3}])
def test_absent_details_are_zero_and_no_fault(details: object):
    usage, degraded = TokenUsage.from_openai(
        {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": details}
    )
    assert (usage, degraded) == (TokenUsage(uncached=7, output=2), False)


def test_m7_explicit_zeros_are_values():
    usage, degraded = TokenUsage.from_openai({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
    assert (usage, degraded) == (TokenUsage(), False)


def test_m7_missing_counts_are_not_zeros():
    assert TokenUsage.from_openai({}) == (TokenUsage(), True)
    assert TokenUsage.from_openai({"prompt_tokens": None, "completion_tokens": 3}) == (TokenUsage(output=3), True)
    assert TokenUsage.from_openai({"prompt_tokens": 3, "completion_tokens": None}) == (TokenUsage(uncached=3), True)


def test_embeddings_have_no_completion_tokens():
    assert TokenUsage.from_openai({"prompt_tokens": 8, "total_tokens": 8}) == (TokenUsage(uncached=8), False)


def test_a_missing_side_is_found_from_the_total_and_flagged():
    assert TokenUsage.from_openai({"prompt_tokens": 8, "total_tokens": 11}) == (TokenUsage(uncached=8, output=3), True)
    assert TokenUsage.from_openai({"completion_tokens": 3, "total_tokens": 11}) == (
        TokenUsage(uncached=8, output=3),
        True,
    )
    assert TokenUsage.from_openai({"total_tokens": 11}) == (TokenUsage(uncached=11), True)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": -5, "completion_tokens": 2}, TokenUsage(output=2)),
        ({"prompt_tokens": 5, "completion_tokens": -2}, TokenUsage(uncached=5)),
        ({"prompt_tokens": True, "completion_tokens": 2}, TokenUsage(output=2)),
        ({"prompt_tokens": "5", "completion_tokens": 2}, TokenUsage(output=2)),
        ({"prompt_tokens": 5.0, "completion_tokens": 2}, TokenUsage(uncached=5, output=2)),
        ({"prompt_tokens": 5.9, "completion_tokens": 2}, TokenUsage(uncached=5, output=2)),
        ({"prompt_tokens": math.nan, "completion_tokens": math.inf}, TokenUsage()),
        ({"prompt_tokens": 10**400, "completion_tokens": 1}, TokenUsage(uncached=MAX_TOKENS, output=1)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 9}, TokenUsage(uncached=5, output=2)),
        (
            {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}},
            TokenUsage(cache_read=5, output=2),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            },
            TokenUsage(cache_read=4, cache_write=1, output=2),
        ),
        (
            {"prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 3}},
            TokenUsage(uncached=5, output=2, reasoning=2),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": [3]}, TokenUsage(5, output=2)),
    ],
)
def test_what_cannot_be_true_is_mended_and_flagged(usage: dict[str, object], expected: TokenUsage):
    assert TokenUsage.from_openai(usage) == (expected, True)


@given(usages)
def test_m5_whatever_an_engine_says_the_classes_partition_the_tokens(usage: dict[str, object]):
    counted, degraded = TokenUsage.from_openai(usage)
    parts = (counted.uncached, counted.cache_read, counted.cache_write, counted.output)
    assert all(0 <= part <= MAX_TOKENS for part in parts)
    assert 0 <= counted.reasoning <= counted.output
    if not degraded:
        assert counted.input == usage["prompt_tokens"]
        said = usage.get("completion_tokens")  # null says nothing, as if it were left out
        assert said is None or counted.output == said


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.data())
def test_m5_honest_usage_is_taken_as_it_is(prompt: int, completion: int, data: st.DataObject):
    read = data.draw(st.integers(0, prompt))
    write = data.draw(st.integers(0, prompt - read))
    reasoning = data.draw(st.integers(0, completion))
    said = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert TokenUsage.from_openai(said) == (
        TokenUsage(prompt - read - write, read, write, completion, reasoning),
        False,
    )
