"""What a caller sees of a stream, and what is metered of it, for every dialect."""

import pytest

from surplus.gateway.meter import openai_usage
from surplus.metering.usage import TokenUsage
from surplus.serving.model import EngineKind
from tests.unit.gateway.following import LLAMA, OPENAI, VLLM, follow, payloads, usages
from tests.unit.gateway.streams import (
    DONE,
    chunk,
    closing,
    event,
    llama,
    openai,
    stream,
    timings,
    usage,
    vllm,
)

WORDS = ("Hello", " wörld", "!")
SAID = {OPENAI: openai(WORDS), VLLM: vllm(WORDS), LLAMA: llama(WORDS)}
METERED = {
    OPENAI: TokenUsage(uncached=5, cache_read=4, output=3),
    VLLM: TokenUsage(uncached=6, cache_read=3, output=3),
    LLAMA: TokenUsage(uncached=5, cache_read=12, output=4),
}
ENGINES = pytest.mark.parametrize("engine", list(SAID))


def bare(payload: dict) -> dict:
    return {name: value for name, value in payload.items() if name not in {"usage", "timings"}}


@ENGINES
def test_a_caller_that_did_not_ask_sees_no_usage_and_no_timings(engine: EngineKind) -> None:
    seen, meter = follow(engine, stream(*SAID[engine]))
    assert usages(seen) == []
    assert "timings" not in seen.decode()
    assert [bare(said) for said in payloads(seen)] == [bare(said) for said in SAID[engine] if said["choices"]]
    assert seen.endswith(DONE)
    assert seen.count(b"[DONE]") == 1
    assert (meter.usage, meter.final, meter.done, meter.complete) == (METERED[engine], True, True, True)
    assert (meter.degraded, meter.error) == (False, None)


@ENGINES
def test_a_caller_that_asked_sees_the_usage_once_and_last(engine: EngineKind) -> None:
    seen, meter = follow(engine, stream(*SAID[engine]), asked=True)
    assert usages(seen) == [SAID[engine][-1]["usage"]]
    last = payloads(seen)[-1]
    assert (last["choices"], last["id"], last["model"]) == ([], "chatcmpl-1", "up")
    assert [bare(said) for said in payloads(seen)] == [bare(said) for said in SAID[engine]]
    assert "timings" not in seen.decode()
    assert meter.usage == METERED[engine]


@pytest.mark.parametrize("asked", [True, False])
def test_a_provider_s_bytes_are_passed_on_as_they_came(asked: bool) -> None:
    said = SAID[OPENAI]
    seen, _ = follow(OPENAI, stream(*said), asked=asked)
    assert seen == stream(*(said if asked else said[:-1]))


@ENGINES
def test_events_count_what_was_delivered(engine: EngineKind) -> None:
    _, meter = follow(engine, stream(*SAID[engine]))
    assert meter.events == len(SAID[engine]) - 1, "all but the closing chunk"


def test_usage_on_the_last_chunk_of_the_answer_is_metered() -> None:
    said = [chunk("a"), chunk(finish="stop", usage=usage(7, 1))]
    for asked in (True, False):
        seen, meter = follow(OPENAI, stream(*said), asked=asked)
        assert seen == stream(*said)
        assert (meter.usage, meter.final) == (TokenUsage(uncached=7, output=1), True)


@pytest.mark.parametrize("asked", [True, False])
def test_llama_s_text_completions_have_their_usage_in_the_closing_chunk(asked: bool) -> None:
    """There it rides on the chunk with the reason to finish; a caller gets it in a chunk of its own, or not at all."""
    figures = {"usage": usage(2, 6), "timings": timings(2, 6)}
    seen, meter = follow(
        LLAMA, event(None) + stream(chunk("a", timings=timings(2, 1)), chunk(finish="stop", **figures)), asked=asked
    )
    assert meter.usage == TokenUsage(uncached=2, output=6)
    assert meter.final
    shown = [chunk("a"), chunk(finish="stop")]
    assert [bare(said) for said in payloads(seen)][:2] == shown
    told = usages(seen)
    assert len(told) == asked
    if asked:
        assert (told[0]["prompt_tokens"], told[0]["completion_tokens"], told[0]["total_tokens"]) == (2, 6, 8)
        assert payloads(seen)[-1]["choices"] == []


def test_timings_that_nobody_asked_for_are_the_provider_s_own() -> None:
    said = [chunk("a", timings=timings(5, 1)), chunk(finish="stop", timings="slow")]
    seen, meter = follow(OPENAI, stream(*said))
    assert seen == stream(*said)
    assert meter.usage is None


def test_progress_is_known_while_the_stream_runs() -> None:
    seen, meter = follow(VLLM, stream(*vllm(("a", "b", "c"))[:2], done=False))
    assert (meter.usage, meter.final, meter.complete) == (TokenUsage(uncached=9, output=2), False, False)
    assert usages(seen) == []
    _, meter = follow(LLAMA, stream(*llama(("a", "b", "c"))[:3], done=False))
    assert (meter.usage, meter.final) == (TokenUsage(uncached=5, cache_read=12, output=2), False)


def test_choices_of_vllm_count_each_alone_until_the_end() -> None:
    said = vllm(("a", "b", "c"), ("x", "y"), prompt=9)
    _, meter = follow(VLLM, stream(*said[:4], done=False), choices=2)
    assert meter.usage == TokenUsage(uncached=9, output=4), "two of each, and one prompt"
    _, meter = follow(VLLM, stream(*said), choices=2)
    assert (meter.usage, meter.final) == (TokenUsage(uncached=6, cache_read=3, output=5), True)


def test_prompts_of_vllm_each_have_their_own_input() -> None:
    said = [chunk("a", index=i, usage=usage(10 + i // 2, 1 + i)) for i in range(4)]
    _, meter = follow(VLLM, stream(*said, done=False), inputs=2, choices=2)
    assert meter.usage == TokenUsage(uncached=10 + 11, output=1 + 2 + 3 + 4)


@pytest.mark.parametrize("asked", [True, False])
def test_choices_of_llama_are_summed_to_the_last_token(asked: bool) -> None:
    said = llama(("a", "b"), ("x", "y", "z"))
    seen, meter = follow(LLAMA, stream(*said), choices=2, asked=asked)
    assert (meter.usage, meter.final) == (TokenUsage(uncached=5, cache_read=12, output=3 + 4), True)
    expected = {
        "prompt_tokens": 17,
        "completion_tokens": 7,
        "total_tokens": 24,
        "prompt_tokens_details": {"cached_tokens": 12},
    }
    assert usages(seen) == ([expected] if asked else [])
    assert [bare(said) for said in payloads(seen) if said["choices"]] == [bare(one) for one in said if one["choices"]]
    assert len(payloads(seen)) == len([one for one in said if one["choices"]]) + asked


def test_an_abandoned_stream_of_choices_is_charged_for_all_of_them() -> None:
    said = llama(("a", "b"), ("x", "y", "z"))
    _, meter = follow(LLAMA, stream(*said[:-4], done=False), choices=2)
    assert (meter.usage, meter.final) == (TokenUsage(uncached=5, cache_read=12, output=2 + 3), False)


def test_an_index_out_of_range_does_not_grow_anything() -> None:
    said = [chunk("a", index=index, usage=usage(9, 1)) for index in (-5, 0, 7, 10**12)]
    _, meter = follow(VLLM, stream(*said, done=False), choices=2)
    assert meter.usage == TokenUsage(uncached=9, output=2)


@pytest.mark.parametrize("opening", [event(None), b": keep-alive\n\n", b"event: ping\n\n", b"\n\n", b": a\r\n\r\n"])
@ENGINES
def test_comments_pings_and_nulls_are_not_passed_on(engine: EngineKind, opening: bytes) -> None:
    said = [event(payload) for payload in SAID[engine]]
    with_noise, meter = follow(engine, opening + opening.join(said) + opening + DONE)
    without, quiet = follow(engine, stream(*SAID[engine]))
    assert with_noise == without
    assert (meter.usage, meter.events) == (quiet.usage, quiet.events)


def test_a_provider_that_never_says_what_it_used() -> None:
    seen, meter = follow(OPENAI, stream(chunk("a"), chunk("b"), chunk(finish="stop")), asked=True)
    assert (meter.usage, meter.final, meter.events, meter.complete) == (None, False, 3, True)
    assert usages(seen) == []


@pytest.mark.parametrize(
    ("told", "metered"),
    [
        ({"prompt_tokens": 5, "completion_tokens": -3}, TokenUsage(uncached=5)),
        ({"prompt_tokens": 5, "completion_tokens": 10**30}, TokenUsage(uncached=5, output=10**9)),
        ({"prompt_tokens": 5, "completion_tokens": "3"}, TokenUsage(uncached=5)),
        (usage(5, 3, cached=9), TokenUsage(cache_read=5, output=3)),
    ],
)
def test_figures_that_cannot_be_true_are_mended_and_marked(told: dict, metered: TokenUsage) -> None:
    _, meter = follow(OPENAI, stream(chunk("a"), closing(usage=told)))
    assert (meter.usage, meter.degraded) == (metered, True)


@pytest.mark.parametrize("told", [{}, usage(0, 0), usage(0, 3), {"prompt_tokens": -5, "completion_tokens": 3}])
@ENGINES
def test_figures_without_input_are_none(engine: EngineKind, told: dict) -> None:
    _, meter = follow(engine, stream(chunk("a"), chunk("b", usage=told), closing(usage=told)))
    assert (meter.usage, meter.final, meter.events) == (None, False, 2)


@pytest.mark.parametrize(("number", "counted"), [(-1, 0), (-(10**30), 0), (10**30, 10**9)])
def test_timings_that_cannot_be_true_are_brought_to_counts(number: int, counted: int) -> None:
    said = [chunk("a", timings={"prompt_n": number, "cache_n": number, "predicted_n": number})]
    _, meter = follow(LLAMA, stream(*said, done=False))
    assert meter.usage == TokenUsage(counted, counted, 0, counted)


def test_timings_that_are_missing_are_none() -> None:
    _, meter = follow(LLAMA, stream(chunk("a", timings={"predicted_n": 3}), done=False))
    assert meter.usage == TokenUsage(output=3)
    _, meter = follow(LLAMA, stream(chunk("a", timings={"prompt_n": 2}), done=False))
    assert meter.usage == TokenUsage(uncached=2)


def test_figures_may_come_before_any_choice() -> None:
    _, meter = follow(LLAMA, stream(closing(timings=timings(5, 0)), done=False), choices=2)
    assert meter.usage == TokenUsage(uncached=5)


def test_usage_is_told_with_all_of_the_prompt() -> None:
    assert openai_usage(TokenUsage(uncached=1, cache_read=2, cache_write=4, output=8, reasoning=3)) == {
        "prompt_tokens": 7,
        "completion_tokens": 8,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def test_a_chunk_of_many_choices_says_which_of_them_have_finished() -> None:
    """One null beside one reason: as many nulls as chunks, and yet not all unfinished."""
    two = chunk("a")
    two["choices"] = [{"index": 0, "finish_reason": None}, {"index": 1, "finish_reason": "stop"}]
    first = chunk(finish="stop")
    assert not follow(OPENAI, stream(two, done=False), choices=2)[1].complete
    assert follow(OPENAI, stream(two, first, done=False), choices=2)[1].complete
    assert follow(OPENAI, stream(first, done=False), stream(two, done=False), choices=2)[1].complete
