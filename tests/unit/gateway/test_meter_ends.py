"""How streams end: whole, in an error, in the middle, or in nonsense."""

import json
from typing import Any

import pytest

from surplus.gateway import sse
from surplus.gateway.errors import ContextTooLong, StreamBroken, UpstreamBroken, UpstreamRefused
from surplus.metering.usage import TokenUsage
from surplus.serving.model import EngineKind
from tests.unit.gateway.following import LLAMA, OPENAI, VLLM, follow, payloads, usages
from tests.unit.gateway.streams import DONE, chunk, closing, event, llama, openai, stream, usage, vllm

ENGINES = pytest.mark.parametrize("engine", [OPENAI, VLLM, LLAMA])
GOOD = event(chunk("a"))
BAD = [
    b"data: {\n\n",
    b'data: {"choices":[{"index":0}]\n\n',
    b"data: {},{}\n\n",
    b"data: []\n\n",
    b"data: 5\n\n",
    b'data: "text"\n\n',
    b"data: [DONE\n\n",
    b'data: {"a":NaN}\n\n',
    b'data: {"choices":{}}\n\n',
    b'data: {"choices":[{"index":"0"}]}\n\n',
    b'data: {"usage":[]}\n\n',
    b'data: {"a":"\xff\xfe"}\n\n',
    b'data: {"\xff":1}\n\n',
    b'data: {"a":"\\ud800"}\n\n',
    b'data: {"a":1}\ndata: {"b":2}\n\n',
    b'data: {"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n",
    b"data: <html>\n\n",
    b"data: \x00\n\n",
]


@ENGINES
@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("together", [True, False])
def test_what_came_before_a_malformed_event_is_passed_on_and_nothing_after_it(
    engine: EngineKind, bad: bytes, together: bool
) -> None:
    pieces = [GOOD, bad, GOOD, DONE]
    seen, meter = follow(engine, *([b"".join(pieces)] if together else pieces))
    assert payloads(seen) == payloads(GOOD)
    assert isinstance(meter.error, StreamBroken)
    assert (meter.done, meter.complete, meter.events) == (False, False, 1)


def test_bytes_that_are_no_events_are_not_passed_on() -> None:
    seen, meter = follow(OPENAI, GOOD + b"\x00\x01garbage {]\x7f\n\n" + GOOD + DONE)
    assert seen == GOOD + GOOD + DONE
    assert meter.done


def test_timings_of_a_wrong_type_are_malformed_where_we_go_by_them() -> None:
    _, meter = follow(LLAMA, event(chunk("a", timings={"predicted_n": "3"})))
    assert isinstance(meter.error, StreamBroken)
    seen, meter = follow(LLAMA, event(chunk("a", timings=None)))
    assert (meter.error, meter.usage) == (None, None)
    assert "timings" not in seen.decode()


@ENGINES
@pytest.mark.parametrize("after", [b"", DONE, GOOD, GOOD + DONE, b"data: {", event({"error": "another"})])
@pytest.mark.parametrize("together", [True, False])
def test_an_error_event_is_ours_to_tell_and_the_last(engine: EngineKind, after: bytes, together: bool) -> None:
    error = event({"error": {"message": "overloaded", "type": "server_error", "code": "overloaded"}})
    pieces = [GOOD, error, after]
    seen, meter = follow(engine, *([b"".join(pieces)] if together else pieces))
    assert payloads(seen) == payloads(GOOD)
    assert b"[DONE]" not in seen
    assert isinstance(meter.error, UpstreamBroken)
    assert meter.error.message == "the engine failed while it was answering: overloaded"
    assert (meter.done, meter.complete) == (False, False)


@ENGINES
def test_an_error_can_be_the_first_event(engine: EngineKind) -> None:
    seen, meter = follow(engine, event({"error": {"message": "no", "code": 400}}) + DONE)
    assert seen == b""
    assert isinstance(meter.error, UpstreamRefused)
    too_long = {"code": 400, "message": "request (9) exceeds", "type": "exceed_context_size_error"}
    _, meter = follow(engine, event({"error": too_long}))
    assert isinstance(meter.error, ContextTooLong)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("it broke", "it broke"),
        ({"message": "it broke"}, "it broke"),
        ({"detail": "it broke"}, "it broke"),
        ({"error": "it broke"}, "it broke"),
        ({"code": 529, "message": "it broke"}, "it broke"),
        ({"code": "429", "message": "it broke"}, "it broke"),
        ({"code": True, "message": "it broke"}, "it broke"),
        ({"message": ""}, "no reason given"),
        ({"message": None, "code": 500}, "no reason given"),
        ({"message": {"a": 1}}, "{'a': 1}"),
        ([1, 2], "[1,2]"),
        (5, "5"),
        (True, "true"),
    ],
)
def test_errors_come_in_many_shapes(error: Any, message: str) -> None:
    _, meter = follow(OPENAI, b"data: " + json.dumps({"error": error}, separators=(",", ":")).encode() + b"\n\n")
    assert isinstance(meter.error, UpstreamBroken)
    assert meter.error.message == f"the engine failed while it was answering: {message}"


@ENGINES
@pytest.mark.parametrize("nothing", [None, False, "", {}])
def test_an_error_field_that_says_nothing_is_no_error(engine: EngineKind, nothing: Any) -> None:
    seen, meter = follow(engine, stream(chunk("a", error=nothing), chunk(finish="stop", error=nothing)))
    assert meter.error is None
    assert payloads(seen) == [chunk("a", error=nothing), chunk(finish="stop", error=nothing)]
    assert meter.done


@ENGINES
@pytest.mark.parametrize("later", [GOOD, b": bye\n\n", DONE, event({"error": "late"}), b"data: {", b"\n"])
def test_what_follows_the_end_is_not_for_the_caller(engine: EngineKind, later: bytes) -> None:
    whole = stream(*openai())
    alone, _ = follow(engine, whole)
    for pieces in ([whole + later], [whole, later]):
        seen, meter = follow(engine, *pieces)
        assert seen == alone
        assert (meter.done, meter.complete, meter.error) == (True, True, None)


def test_done_may_be_written_in_other_ways() -> None:
    for ending in (b"data:[DONE]\n\n", b"data: [DONE] \n\n", b"event: end\ndata: [DONE]\n\n", b"data: [DONE]\r\n\r\n"):
        seen, meter = follow(OPENAI, GOOD + ending)
        assert seen == GOOD + DONE
        assert meter.done


@pytest.mark.parametrize(
    ("tail", "complete"),
    [
        (b"", True),
        (b"data: [DONE]", True),
        (b"data: [DONE]\n", True),
        (b"data: [DONE]\r\n", True),
        (b": bye", True),
        (b"\n", True),
        (b'data: {"choices":[],"usage":{"pro', False),
        (b'data: {"choices":[]}\n', False),
    ],
)
@ENGINES
def test_an_answer_whose_choices_have_all_finished_is_whole_without_an_end(
    engine: EngineKind, tail: bytes, complete: bool
) -> None:
    _, meter = follow(engine, GOOD + event(chunk(finish="stop")) + tail)
    assert (meter.done, meter.complete) == (False, complete)


@pytest.mark.parametrize("reason", [None, ""])
def test_an_answer_without_a_reason_to_finish_is_not_whole(reason: str | None) -> None:
    assert not follow(OPENAI, GOOD + event(chunk(finish=reason)))[1].complete


def test_a_choice_without_an_index_is_the_only_one() -> None:
    for engine in (OPENAI, VLLM):
        _, meter = follow(engine, event({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}))
        assert meter.complete


def test_an_answer_of_which_one_choice_has_not_finished_is_not_whole() -> None:
    said = [chunk(index=0, finish="stop"), chunk("x", index=1), chunk(index=0, finish="stop")]
    assert not follow(OPENAI, stream(*said, done=False), choices=2)[1].complete
    assert follow(OPENAI, stream(*said, chunk(index=1, finish="length"), done=False), choices=2)[1].complete


def test_the_end_that_was_not_said_holds_the_usage_that_was_asked_for() -> None:
    said = vllm(("a", "b"))[:-1]
    seen, meter = follow(VLLM, stream(*said, done=False), asked=True)
    assert usages(seen) == []
    (told,) = usages(meter.end())
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (9, 2, 11)
    assert meter.end().endswith(DONE)
    _, meter = follow(LLAMA, stream(*llama(("a",), ("b",)), done=False), asked=True, choices=2)
    assert [told["completion_tokens"] for told in usages(meter.end())] == [4]
    assert (meter.final, meter.usage) == (True, TokenUsage(uncached=5, cache_read=12, output=4))


def test_the_end_says_nothing_that_was_said_or_not_asked_for() -> None:
    for asked in (True, False):
        _, meter = follow(VLLM, stream(*vllm(("a", "b")), done=False), asked=asked)
        assert meter.end() == DONE
    _, meter = follow(OPENAI, stream(chunk("a"), closing(usage=usage(3, 1)), done=False), asked=False)
    assert meter.end() == DONE


def test_an_event_without_an_end_is_given_up() -> None:
    seen, meter = follow(OPENAI, GOOD, b"data: " + b"x" * (sse.EVENT_MAX - 6))
    assert meter.error is None
    assert seen == GOOD
    seen, meter = follow(OPENAI, GOOD, b"data: " + b"x" * (sse.EVENT_MAX - 6), b"x", GOOD)
    assert isinstance(meter.error, StreamBroken)
    assert meter.error.message == "the engine sent an event without an end"
    assert seen == GOOD


def test_a_large_event_is_passed_on_whole() -> None:
    large = event(chunk("x" * 2_000_000))
    for engine in (OPENAI, VLLM):
        assert follow(engine, large[:1_000_000], large[1_000_000:])[0] == large
