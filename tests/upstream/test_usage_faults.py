"""True and false reports of usage, seen from a bare socket; the record keeps the truth under every lie."""

import pytest

from tests.upstream import Fault, Usage
from tests.upstream.raw_client import chat, chat_body, dialled, request

STREAM = pytest.mark.parametrize("stream", [True, False])


def reported(heard, stream: bool):
    """The usage of a heard reply, which must stand in one place alone."""
    if not stream:
        return heard.json["usage"]
    [usage] = [event["usage"] for event in heard.events[:-1] if event["usage"] is not None]
    return usage


def truth(upstream) -> Usage:
    seen = upstream.requests[-1]
    assert seen.usage == Usage(seen.prompt_tokens, seen.cached_tokens, 12)
    return seen.usage


@STREAM
async def test_cached_tokens_are_part_of_the_prompt(upstream, stream):
    upstream.plan(Fault.Cached(4))
    usage = reported(await chat(upstream, stream), stream)
    assert usage["prompt_tokens_details"]["cached_tokens"] == truth(upstream).cached == 4
    assert usage["prompt_tokens"] == truth(upstream).prompt


async def test_the_cache_never_holds_the_whole_prompt(upstream):
    upstream.plan(Fault.Cached(10_000))
    await chat(upstream)
    assert upstream.requests[0].usage.cached == upstream.requests[0].prompt_tokens - 1


@STREAM
async def test_reasoning_is_part_of_the_completion(upstream, stream):
    upstream.plan(Fault.Reasoning(5))
    heard = await chat(upstream, stream)
    usage = reported(heard, stream)
    assert usage["completion_tokens"] == upstream.requests[0].usage.completion == 17
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 5
    assert heard.body.count(b"reasoning_content") == (5 if stream else 1)


async def test_reasoning_uses_up_the_limit(upstream):
    upstream.plan(Fault.Reasoning(5))
    answer = (await chat(upstream, stream=False, max_tokens=3)).json
    assert answer["usage"]["completion_tokens"] == 3
    assert (answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]) == ("", "length")


@pytest.mark.parametrize("fields", [{}, {"stream_options": None}], ids=["asked", "not asked"])
async def test_continuous_usage_grows_with_the_answer(upstream, fields):
    upstream.plan(Fault.ContinuousUsage())
    heard = await chat(upstream, **fields)
    counts = [event["usage"]["completion_tokens"] for event in heard.events[:-1] if event["choices"]]
    assert counts == [*range(13), 12]


async def test_continuous_usage_of_a_cut_stream_is_what_was_generated(upstream):
    upstream.plan((Fault.ContinuousUsage(), Fault.CutAfter(6)))
    heard = await chat(upstream)
    assert heard.events[-1]["usage"]["completion_tokens"] == upstream.requests[0].usage.completion == 5


async def test_continuous_usage_is_of_each_choice_and_the_last_of_all(upstream):
    heard = await chat(upstream, n=2, stream_options={"include_usage": True, "continuous_usage_stats": True})
    chunks = [event for event in heard.events[:-1] if event["choices"]]
    for index in (0, 1):
        counts = [one["usage"]["completion_tokens"] for one in chunks if one["choices"][0]["index"] == index]
        assert counts == [*range(13), 12]
    assert heard.events[-2]["usage"]["completion_tokens"] == upstream.requests[0].usage.completion == 24


async def test_timings_are_of_each_choice_when_asked(upstream):
    upstream.plan(Fault.Cached(4))
    heard = await chat(upstream, n=2, timings_per_token=True)
    timings = [event["timings"] for event in heard.events[:-1] if event["choices"]]
    assert {one["cache_n"] for one in timings} == {4}
    assert {one["prompt_n"] + one["cache_n"] for one in timings} == {upstream.requests[0].prompt_tokens}
    assert [one["predicted_n"] for one in timings].count(12) == 4  # the last token and the finish, of two choices
    assert not any("timings" in event for event in (await chat(upstream)).events[:-1])


@STREAM
async def test_no_usage_at_all(upstream, stream):
    upstream.plan(Fault.NoUsage())
    heard = await chat(upstream, stream)
    assert heard.complete
    assert b"usage" not in heard.body
    assert truth(upstream).completion == 12


@STREAM
async def test_usage_that_says_zero(upstream, stream):
    upstream.plan(Fault.ZeroUsage())
    usage = reported(await chat(upstream, stream), stream)
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (0, 0, 0)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
    assert truth(upstream).completion == 12


@STREAM
async def test_usage_below_zero(upstream, stream):
    upstream.plan(Fault.NegativeUsage())
    usage = reported(await chat(upstream, stream), stream)
    true = truth(upstream)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (-true.prompt, -true.completion)


@STREAM
async def test_more_cached_than_prompt(upstream, stream):
    upstream.plan(Fault.CachedAbovePrompt(10))
    usage = reported(await chat(upstream, stream), stream)
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] + 10
    assert truth(upstream).cached == 0


@STREAM
@pytest.mark.parametrize(("limit", "claimed"), [(40, 140), (None, 112)])
async def test_completion_above_the_limit(upstream, stream, limit, claimed):
    upstream.plan(Fault.UsageAboveLimit(100))
    usage = reported(await chat(upstream, stream, max_tokens=limit), stream)
    assert usage["completion_tokens"] == claimed
    assert truth(upstream).completion == 12


@STREAM
async def test_details_may_be_null(upstream, stream):
    upstream.plan(Fault.NullUsageDetails())
    usage = reported(await chat(upstream, stream), stream)
    assert usage["prompt_tokens_details"] is None
    assert usage["completion_tokens"] == 12


async def test_usage_may_ride_on_the_last_choice(upstream):
    upstream.plan(Fault.UsageOnFinish())
    heard = await chat(upstream)
    assert heard.events[-2]["choices"][0]["finish_reason"] == "stop"
    assert heard.events[-2]["usage"] == reported(heard, stream=True)
    assert all(event["choices"] for event in heard.events[:-1])


async def test_embeddings_lie_too(upstream):
    upstream.plan(Fault.NegativeUsage())
    sent = request("/v1/embeddings", {"model": "tiny-chat", "input": "One two"})
    async with dialled(upstream, sent) as heard:
        assert (await heard.closed()).json["usage"] == {"prompt_tokens": -2, "total_tokens": -2}
    assert upstream.requests[0].usage == Usage(prompt=2)


async def test_an_unasked_stream_reports_nothing_to_lie_about(upstream):
    upstream.plan(Fault.ZeroUsage())
    assert b"usage" not in (await chat(upstream, **{**chat_body(), "stream_options": None})).body
