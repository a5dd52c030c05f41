"""Answers that are not streams: checked, measured, and passed on as they came."""

import json
from dataclasses import replace
from typing import Any

import pytest

from surplus.gateway.answers import count_choices, read_whole
from surplus.gateway.errors import UpstreamBroken
from surplus.metering.usage import TokenUsage
from tests.unit.gateway.parts import chat
from tests.unit.gateway.streams import usage


def answer(**fields: Any) -> bytes:
    return json.dumps({"id": "chatcmpl-1", "choices": [{"index": 0}], "usage": usage(9, 3, 4), **fields}).encode()


def choice(tokens: int | None, **more: Any) -> dict[str, Any]:
    """A choice of llama.cpp's; None where it gives no log probabilities."""
    logprobs = None if tokens is None else {"content": [{"token": "x", "logprob": -0.5}] * tokens}
    return {"index": 0, "message": {"content": "x"}, "finish_reason": "stop", "logprobs": logprobs, **more}


def test_an_answer_is_measured_and_kept_as_it_came() -> None:
    data = answer(choices=[{"message": {"content": "wörld"}}], more=[1, 2]) + b"\n "
    whole = read_whole(data)
    assert whole.data == data
    assert (whole.usage, whole.degraded, whole.engine_id) == (
        TokenUsage(uncached=5, cache_read=4, output=3),
        False,
        "chatcmpl-1",
    )


def test_an_embedding_has_data_and_no_completion_tokens() -> None:
    whole = read_whole(b'{"object":"list","data":[],"usage":{"prompt_tokens":5,"total_tokens":5}}')
    assert (whole.usage, whole.degraded, whole.engine_id) == (TokenUsage(uncached=5), False, None)


@pytest.mark.parametrize(
    ("told", "metered"),
    [
        (None, None),
        ({}, None),
        (usage(0, 3), None),
        ({"prompt_tokens": -1, "completion_tokens": 3}, None),
        ({"prompt_tokens": 9, "completion_tokens": -3}, TokenUsage(uncached=9)),
        (usage(9, 3, cached=10), TokenUsage(cache_read=9, output=3)),
        ({"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 99}, TokenUsage(uncached=9, output=3)),
    ],
)
def test_usage_that_is_missing_or_wrong_is_marked(told: Any, metered: TokenUsage | None) -> None:
    whole = read_whole(answer(usage=told))
    assert (whole.usage, whole.degraded) == (metered, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        answer()[:-1],
        answer() + b"x",
        b'{"choices":[{"text":"\xff"}]}',
        b'{"choices":[{"text":"\\ud800"}]}',
        b'{"choices":' + b"[" * 100_000,
        answer(usage=[]),
        answer(usage="9"),
        b"{}",
        b'{"detail":"Not Found"}',
        b'{"object":"error","message":"out of memory","code":500}',
        b'{"id":"1","usage":{"prompt_tokens":1,"completion_tokens":1}}',
    ],
)
def test_what_holds_no_answer_is_the_engine_s_fault(data: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        read_whole(data)


def test_an_engine_s_id_is_cut_to_what_a_record_can_hold() -> None:
    assert read_whole(answer(id="x" * 10_000_000)).engine_id == "x" * 200


def test_all_choices_are_counted_where_the_engine_reports_one() -> None:
    whole = read_whole(answer(choices=[choice(3), choice(5), choice(0)]))
    counted = count_choices(chat(n=3), whole)
    assert (counted.usage, counted.degraded) == (TokenUsage(uncached=5, cache_read=4, output=8), False)
    said = json.loads(counted.data)
    assert said["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 8,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    assert [sorted(one) for one in said["choices"]] == [["finish_reason", "index", "message"]] * 3
    assert said["id"] == counted.engine_id == "chatcmpl-1"


def test_log_probabilities_stay_where_the_caller_asked_for_them() -> None:
    choices = [choice(1), choice(2)]
    counted = count_choices(chat(n=2, logprobs=True), read_whole(answer(choices=choices)))
    assert json.loads(counted.data)["choices"] == choices
    assert counted.usage is not None
    assert counted.usage.output == 3


@pytest.mark.parametrize("odd", [choice(None), {"index": 1}, {"logprobs": {"content": None}}, {"logprobs": 5}, 7, None])
def test_a_choice_that_cannot_be_counted_counts_as_much_as_the_one_reported(odd: Any) -> None:
    counted = count_choices(chat(n=3), read_whole(answer(choices=[choice(2), odd, odd])))
    assert (counted.usage, counted.degraded) == (TokenUsage(uncached=5, cache_read=4, output=2 + 3 + 3), True)
    assert json.loads(counted.data)["usage"]["completion_tokens"] == 8
    assert "logprobs" not in json.loads(counted.data)["choices"][0]


@pytest.mark.parametrize("choices", [[], None, {}, "x"])
def test_an_answer_whose_choices_are_none_keeps_what_was_reported(choices: Any) -> None:
    whole = read_whole(answer(choices=choices))
    counted = count_choices(chat(n=2), whole)
    assert (counted.usage, counted.degraded, counted.data) == (whole.usage, True, whole.data)


def test_a_number_that_fits_nothing_is_passed_on_but_not_counted() -> None:
    whole = read_whole(answer(choices=[choice(3)], logprob=0).replace(b'"logprob": 0', b'"logprob": 1e999'))
    assert count_choices(chat(n=2), whole) == replace(whole, degraded=True)


def test_an_answer_without_usage_is_left_for_the_estimate() -> None:
    whole = read_whole(answer(usage=None, choices=[choice(3), choice(5)]))
    assert count_choices(chat(n=2), whole) == whole
