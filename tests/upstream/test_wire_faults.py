"""Faults of time and of the connection, seen from a bare socket."""

import asyncio
import json

import pytest

from tests.upstream import Fault, Outcome, Usage
from tests.upstream.raw_client import chat, chat_body, dialled, request

STREAM = request("/v1/chat/completions", chat_body())
WHOLE = request("/v1/chat/completions", chat_body(stream=False))


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await event.wait()


@pytest.mark.parametrize("sent", [STREAM, WHOLE], ids=["stream", "whole"])
async def test_the_first_byte_is_held_until_released(upstream, sent):
    upstream.plan(Fault.HoldFirstByte())
    async with dialled(upstream, sent) as heard:
        seen = await upstream.arrived()
        await soon(seen.holding)
        assert heard.raw == b""
        assert seen.prompt_read
        assert seen.generated_tokens == 0
        assert upstream.in_flight == 1
        upstream.release()
        assert (await heard.closed()).complete
        assert upstream.in_flight == 0


async def test_one_gate_holds_several_requests(upstream):
    gate = asyncio.Event()
    upstream.always(Fault.HoldFirstByte(gate))
    async with dialled(upstream, STREAM) as first, dialled(upstream, STREAM) as second:
        await soon((await upstream.arrived(2)).holding)
        assert first.raw + second.raw == b""
        gate.set()
        assert (await first.closed()).complete
        assert (await second.closed()).complete


async def test_the_first_byte_is_late_by_seconds(upstream):
    loop = asyncio.get_running_loop()
    upstream.plan(Fault.DelayFirstByte(0.05))
    started = loop.time()
    assert (await chat(upstream)).complete
    assert loop.time() - started >= 0.04  # timers may fire one clock tick early


async def test_a_stall_lets_events_through_and_then_nothing_until_released(upstream):
    upstream.plan(Fault.StallAfter(3))
    async with dialled(upstream, STREAM) as heard:
        seen = await upstream.arrived()
        await soon(seen.holding)
        await heard.has(b'"content":","')
        assert len(heard.events) == 3
        assert seen.usage == Usage(seen.prompt_tokens, 0, 2)
        seen.release()
        assert (await heard.closed()).events[-1] == "[DONE]"


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_a_peer_that_leaves_during_a_stall_is_noticed(upstream, reset):
    upstream.plan(Fault.StallAfter(4))
    async with dialled(upstream, STREAM) as heard:
        seen = await upstream.arrived()
        await soon(seen.holding)
        heard.leave(reset=reset)
        await soon(seen.gone)
    assert seen.disconnected
    assert seen.outcome is Outcome.ABANDONED
    assert (seen.generated_tokens, seen.sent_tokens, seen.sent_events) == (3, 3, 4)


async def test_a_peer_that_leaves_while_a_whole_answer_is_made_is_noticed(upstream):
    upstream.plan(Fault.StallAfter(5))
    async with dialled(upstream, WHOLE) as heard:
        seen = await upstream.arrived()
        await soon(seen.holding)
        heard.leave()
        await soon(seen.gone)
    assert seen.usage.completion == 5
    assert seen.sent_tokens == 0


async def test_a_paced_stream_stops_when_the_peer_leaves(upstream):
    upstream.plan((Fault.Answer(5_000), Fault.Paced(0.001)))
    async with dialled(upstream, STREAM) as heard:
        await heard.has(b"Hello")
        heard.leave()
        seen = await upstream.arrived()
        await soon(seen.gone)
    assert 0 < seen.generated_tokens < 5_000


async def test_a_cut_is_a_fin_within_the_chunked_body(upstream):
    upstream.plan(Fault.CutAfter(3))
    heard = await chat(upstream)
    assert len(heard.events) == 3
    assert not heard.complete
    assert not heard.reset
    seen = upstream.requests[0]
    assert seen.outcome is Outcome.BROKEN
    assert (seen.disconnected, seen.usage.completion, seen.sent_tokens) == (False, 2, 2)


@pytest.mark.parametrize(("events", "expected"), [(0, 0), (1, 0), (2, 1)])
async def test_a_cut_counts_the_role_event(upstream, events, expected):
    upstream.plan(Fault.CutAfter(events))
    heard = await chat(upstream)
    assert heard.status == 200
    assert len(heard.events) == events
    assert upstream.requests[0].usage.completion == expected


async def test_a_cut_of_a_whole_answer_counts_tokens_and_shows_nothing(upstream):
    upstream.plan(Fault.CutAfter(5))
    heard = await chat(upstream, stream=False)
    assert heard.raw == b""
    assert upstream.requests[0].usage.completion == 5


async def test_an_early_end_is_good_http_without_a_terminal_event(upstream):
    upstream.plan(Fault.EndAfter(3))
    heard = await chat(upstream)
    assert heard.complete
    assert len(heard.events) == 3
    assert all(choice["finish_reason"] is None for event in heard.events for choice in event["choices"])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("fault", "reset"), [(Fault.CloseBeforeAnyByte(), False), (Fault.ResetBeforeHeaders(), True)])
async def test_the_connection_ends_before_any_byte(upstream, fault, reset, stream):
    upstream.plan(fault)
    heard = await chat(upstream, stream)
    assert heard.raw == b""
    assert heard.reset is reset
    seen = upstream.requests[0]
    assert seen.usage == Usage(prompt=seen.prompt_tokens)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reset_after_headers(upstream, stream):
    upstream.plan(Fault.ResetAfterHeaders())
    heard = await chat(upstream, stream)
    assert heard.status == 200
    assert heard.header("content-length" if not stream else "transfer-encoding")
    assert heard.raw.endswith(b"\r\n\r\n")
    assert heard.reset


async def test_a_reset_in_mid_stream(upstream):
    upstream.plan(Fault.ResetAfter(4))
    heard = await chat(upstream)
    assert len(heard.events) == 4
    assert heard.reset


async def test_half_an_event_and_then_a_fin(upstream):
    upstream.plan(Fault.HalfEventAfter(3))
    heard = await chat(upstream)
    *whole, half = heard.body.split(b"\n\n")
    assert len(whole) == 3
    assert half.startswith(b"data: {")
    with pytest.raises(json.JSONDecodeError):
        json.loads(half.removeprefix(b"data: "))
    assert not heard.reset
    seen = upstream.requests[0]
    assert (seen.outcome, seen.generated_tokens, seen.sent_tokens) == (Outcome.BROKEN, 3, 2)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_truncated_body_is_shorter_than_its_content_length(upstream, stream):
    upstream.plan(Fault.TruncatedBody())
    heard = await chat(upstream, stream)
    assert 0 < len(heard.body) < int(heard.header("content-length"))
    assert heard.header("transfer-encoding") is None
    assert not heard.reset
    seen = upstream.requests[0]
    assert seen.outcome is Outcome.BROKEN
    assert seen.sent_tokens < 12
    assert seen.generated_tokens == (seen.sent_tokens if stream else 12)


async def test_one_byte_writes_split_events_and_characters(upstream):
    upstream.plan(Fault.OneByteWrites())
    heard = await chat(upstream)
    assert {len(chunk) for chunk in heard.chunks} == {0, 1}
    assert max(len(piece) for piece in heard.pieces[1:]) <= len(b"1\r\nx\r\n0\r\n\r\n")
    assert heard.complete
    text = "".join(choice["delta"].get("content", "") for event in heard.events[:-1] for choice in event["choices"])
    assert "café" in text
    upstream.plan(Fault.OneByteWrites())
    whole = await chat(upstream, stream=False)
    assert len(whole.pieces) > len(whole.body) / 2
    assert whole.json["choices"][0]["message"]["content"] == text


async def test_each_event_is_a_write_of_its_own_by_default(upstream):
    heard = await chat(upstream)
    assert [piece.count(b"\n\n") for piece in heard.pieces[1:17]] == [1] * 16


async def test_several_events_share_one_write(upstream):
    upstream.plan(Fault.TogetherBy(4))
    heard = await chat(upstream)
    assert [chunk.count(b"\n\n") for chunk in heard.chunks] == [4, 4, 4, 4, 0]
    assert any(piece.count(b"\n\n") == 4 for piece in heard.pieces)
    assert (upstream.requests[0].sent_events, upstream.requests[0].sent_tokens) == (16, 12)


async def test_crlf_line_endings(upstream):
    upstream.plan(Fault.CrlfLines())
    heard = await chat(upstream)
    assert heard.body.count(b"\r\n\r\n") == 16
    assert heard.body.count(b"\n") == heard.body.count(b"\r\n")
    assert heard.events[-1] == "[DONE]"


async def test_comments_stand_between_events(upstream):
    upstream.plan((Fault.Comments("ping"), Fault.CutAfter(2)))
    heard = await chat(upstream)
    kinds = [frame[:6] for frame in heard.body.split(b"\n\n")]
    assert kinds == [b": ping", b"data: ", b": ping", b"data: ", b""]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_huge_event_arrives_whole(upstream, stream):
    upstream.plan(Fault.HugeEvent())
    heard = await chat(upstream, stream)
    assert heard.complete
    huge = heard.events[1] if stream else heard.json
    assert len(huge["padding"]) == 2_000_000
    assert sum("padding" in event for event in heard.events) == stream
    assert upstream.requests[0].sent_tokens == 12
