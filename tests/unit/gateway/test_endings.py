"""However a request ends, it is settled exactly once and nothing of it stays taken."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from surplus.gateway.entries import Settled
from surplus.identity.model import Limits
from surplus.metering.model import Outcome
from surplus.metering.usage import TokenUsage
from tests.unit.gateway.stage import EMBED, IMPATIENT, TEXT, Opener, Stage
from tests.unit.gateway.streams import DONE, read_events
from tests.unit.gateway.test_settlement import full_disk
from tests.upstream import Fault, FaultyUpstream

STREAMS = pytest.mark.parametrize("stream", [True, False])


async def only(stage: Stage) -> Settled:
    """The one ending, after all is over."""
    (ending,) = await stage.settled()
    return ending


def truth(servers: list[FaultyUpstream], number: int = 0) -> TokenUsage:
    """What the engine really did."""
    seen = servers[number].generations[-1].usage
    return TokenUsage(uncached=seen.prompt - seen.cached, cache_read=seen.cached, output=seen.completion)


@STREAMS
@pytest.mark.parametrize("engine", ["openai", "vllm", "llama-server"])
async def test_an_answer_is_charged_for_what_the_engine_did(open_stage: Opener, engine: str, stream: bool) -> None:
    stage, servers = await open_stage(engine)
    servers[0].plan((Fault.Answer(9), Fault.Cached(2)))
    wire = await stage.ask(stream=stream)
    assert (wire.status, wire.ended) == (200, True)
    ending = await only(stage)
    assert (ending.outcome, ending.status, ending.usage, ending.degraded) == (
        Outcome.COMPLETED,
        200,
        truth(servers),
        False,
    )
    assert wire.body.endswith(DONE) == stream
    assert wire.headers["x-ratelimit-remaining-requests"] == "9999"


@STREAMS
async def test_a_caller_s_mistake_costs_nothing(open_stage: Opener, stream: bool) -> None:
    stage, servers = await open_stage("openai")
    servers[0].plan(Fault.ContextLengthExceeded())
    wire = await stage.ask(stream=stream)
    assert (wire.status, wire.error["code"]) == (400, "context_length_exceeded")
    ending = await only(stage)
    assert (ending.outcome, ending.status, ending.grains) == (Outcome.FAILED, 400, "0")


@STREAMS
async def test_an_engine_that_keeps_failing_costs_nothing(open_stage: Opener, stream: bool) -> None:
    stage, servers = await open_stage("openai")
    servers[0].always(Fault.ServerError(500))
    wire = await stage.ask(stream=stream)
    assert (wire.status, wire.error["type"]) == (502, "server_error")
    ending = await only(stage)
    assert (ending.outcome, ending.status, ending.grains) == (Outcome.FAILED, 502, "0")


@pytest.mark.parametrize(
    "fault",
    [
        Fault.CutAfter(4),
        Fault.EndAfter(4),
        Fault.ResetAfter(4),
        Fault.HalfEventAfter(4),
        Fault.MalformedJson(4),
        Fault.InvalidUtf8(4),
        Fault.ErrorEventAfter(4),
        (Fault.ErrorEventAfter(4, done=True), Fault.TogetherBy(9)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("engine", ["openai", "vllm"])
async def test_a_stream_that_breaks_says_so_and_charges_what_was_delivered(
    open_stage: Opener, engine: str, fault: Any
) -> None:
    stage, servers = await open_stage(engine)
    servers[0].plan(fault)
    wire = await stage.ask(stream=True)
    assert (wire.status, wire.ended) == (200, True)
    assert "error" in wire.body.decode().rpartition("data: ")[2]
    assert b"[DONE]" not in wire.body
    delivered = len(read_events(wire.body)) - 1
    ending = await only(stage)
    assert (ending.outcome, ending.status) == (Outcome.FAILED, 502)
    assert 3 <= delivered - 1 <= ending.output <= delivered
    assert len(servers[0].generations) == 1


async def test_a_stream_without_an_end_is_whole_if_its_choices_are(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai")
    servers[0].plan(Fault.NoDone(), (Fault.NoDone(), Fault.NoFinishReason()))
    whole = await stage.ask(stream=True, stream_options={"include_usage": True})
    assert whole.body.endswith(DONE)
    cut = await stage.ask(stream=True)
    assert cut.error["code"] == "stream_interrupted"
    first, second = await stage.settled()
    assert (first.outcome, second.outcome) == (Outcome.COMPLETED, Outcome.FAILED)


async def test_an_answer_without_usage_is_estimated_and_marked(open_stage: Opener) -> None:
    stage, servers = await open_stage(("openai", {"max_output": 3}))
    servers[0].always(Fault.NoUsage())
    for fields in ({"stream": True}, {}):
        await stage.ask(**fields)
    for ending in await stage.settled():
        assert ending.degraded
        assert 0 < ending.output <= 3
        assert ending.uncached > 0


@STREAMS
@pytest.mark.parametrize("engine", ["openai", "vllm"])
async def test_a_request_that_takes_too_long_gives_everything_back(
    open_stage: Opener, engine: str, stream: bool
) -> None:
    """Also while it waits for its first event: the time that a request may take is shorter than an engine's."""
    stage, servers = await open_stage(engine, patience=replace(IMPATIENT, request_s=0.2))
    servers[0].plan(Fault.HoldFirstByte())
    wire = await stage.ask(stream=stream)
    assert (wire.status, wire.error["code"]) == (504, "timeout")
    ending = await only(stage)
    assert (ending.outcome, ending.status, ending.grains) == (Outcome.FAILED, 504, "0")


async def test_a_stream_that_takes_too_long_charges_what_was_delivered(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai", patience=replace(IMPATIENT, request_s=0.3))
    servers[0].plan(Fault.StallAfter(4))
    wire = await stage.ask(stream=True)
    assert wire.error["code"] == "timeout"
    ending = await only(stage)
    assert (ending.outcome, ending.status) == (Outcome.FAILED, 504)
    assert ending.output >= 3


@STREAMS
@pytest.mark.parametrize("engine", ["openai", "vllm"])
async def test_a_server_that_goes_down_settles_what_it_cuts_off(open_stage: Opener, engine: str, stream: bool) -> None:
    stage, servers = await open_stage(engine)
    servers[0].plan(Fault.HoldFirstByte())
    task = stage.call(stage.wire(stream=stream))
    await servers[0].arrived()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ending = await only(stage)
    assert (ending.outcome, ending.grains) == (Outcome.INTERRUPTED, "0")


@pytest.mark.parametrize("engine", ["openai", "vllm", "llama-server"])
async def test_a_server_that_goes_down_in_a_stream_charges_what_was_delivered(open_stage: Opener, engine: str) -> None:
    stage, servers = await open_stage(engine)
    servers[0].plan(Fault.StallAfter(4))
    wire = stage.wire(stream=True)
    task = stage.call(wire)
    await wire.delivered(4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ending = await only(stage)
    assert ending.outcome is Outcome.INTERRUPTED
    assert 3 <= ending.output <= 4


@pytest.mark.parametrize("engine", ["vllm", "llama-server"])
async def test_a_caller_that_leaves_our_own_engine_stops_it(open_stage: Opener, engine: str) -> None:
    stage, servers = await open_stage(engine)
    servers[0].plan(Fault.StallAfter(4))
    wire = stage.wire(stream=True)
    task = stage.call(wire)
    await wire.delivered(4)
    await wire.leave()
    await servers[0].generations[0].gone.wait()
    await task
    ending = await only(stage)
    assert (ending.outcome, ending.status) == (Outcome.ABORTED, 499)
    assert ending.usage == truth(servers), "by its last figures"


@STREAMS
@pytest.mark.parametrize("engine", ["vllm", "llama-server"])
async def test_a_caller_that_leaves_before_our_own_engine_speaks_pays_for_the_input(
    open_stage: Opener, engine: str, stream: bool
) -> None:
    stage, servers = await open_stage(engine)
    servers[0].plan(Fault.HoldFirstByte())
    wire = stage.wire(stream=stream)
    task = stage.call(wire)
    seen = await servers[0].arrived()
    await wire.leave()
    await seen.gone.wait()
    await task
    ending = await only(stage)
    assert (ending.outcome, ending.status, ending.degraded) == (Outcome.ABORTED, 499, False)
    assert ending.usage == TokenUsage(uncached=seen.prompt_tokens)


async def test_where_nobody_can_count_the_input_it_is_estimated(open_stage: Opener) -> None:
    stage, servers = await open_stage("vllm")
    servers[0].plan(Fault.HoldFirstByte())
    servers[0].plan(Fault.ServerError(500), path="/tokenize")
    wire = stage.wire(stream=True)
    task = stage.call(wire)
    seen = await servers[0].arrived()
    await wire.leave()
    await seen.gone.wait()
    await task
    ending = await only(stage)
    assert (ending.outcome, ending.degraded) == (Outcome.ABORTED, True)
    assert ending.uncached > 0


async def test_a_provider_is_heard_to_the_end_after_its_caller_has_left(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai")
    gate = asyncio.Event()
    servers[0].plan(Fault.StallAfter(4, gate))
    wire = stage.wire(stream=True)
    task = stage.call(wire)
    await wire.delivered(4)
    await wire.leave()
    gate.set()
    await task
    ending = await only(stage)
    assert (ending.outcome, ending.usage, ending.degraded) == (Outcome.ABORTED, truth(servers), False)


async def test_a_provider_that_is_not_heard_to_the_end_is_paid_for_what_it_delivered(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai", patience=replace(IMPATIENT, drain_s=0.1))
    servers[0].plan(Fault.StallAfter(4))
    wire = stage.wire(stream=True)
    task = stage.call(wire)
    await wire.delivered(4)
    await wire.leave()
    async with asyncio.timeout(5):
        await task
    ending = await only(stage)
    assert (ending.outcome, ending.degraded) == (Outcome.ABORTED, True)
    assert ending.output >= 3
    assert ending.uncached > 0


async def test_a_full_disk_keeps_the_ending_of_an_answer_that_was_given(open_stage: Opener) -> None:
    stage, servers = await open_stage("vllm")
    gate = asyncio.Event()
    servers[0].plan(Fault.HoldFirstByte(gate))
    wire = stage.wire()
    task = stage.call(wire)
    await servers[0].arrived()
    with full_disk():
        gate.set()
        await task
        assert wire.status == 200
        assert (stage.ledgered.unwritten, stage.slots.in_use) == (1, 1)
    stage.ledgered.flush()
    assert (await only(stage)).usage == truth(servers)


async def test_a_key_is_never_locked_out_by_what_has_ended(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai")
    stage.limit(Limits(rpm=100, tpm=1000, concurrency=1))
    ends = (
        Fault.CutAfter(2),
        Fault.ContextLengthExceeded(),
        Fault.ErrorEventAfter(3),
        Fault.NoUsage(),
        Fault.Healthy(),
    )
    for fault in ends:
        servers[0].plan(fault)
        wire = await stage.ask(stream=True, max_tokens=400)
        assert wire.status != 429
    assert len(await stage.settled()) == len(ends)


async def test_a_second_request_at_once_is_told_to_wait_and_the_first_is_left_alone(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai")
    stage.limit(Limits(concurrency=1))
    gate = asyncio.Event()
    servers[0].plan(Fault.HoldFirstByte(gate))
    first = stage.wire()
    task = stage.call(first)
    await servers[0].arrived()
    second = await stage.ask()
    assert (second.status, second.error["code"]) == (429, "rate_limit_exceeded")
    gate.set()
    await task
    assert first.status == 200
    assert (await stage.ask()).status == 200
    assert len(await stage.settled()) == 2


async def test_other_endpoints_end_the_same(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai")
    for endpoint, fields in (
        (TEXT, {"prompt": "hello"}),
        (TEXT, {"prompt": "hello", "stream": True}),
        (EMBED, {"input": "hello"}),
    ):
        wire = stage.wire(**fields)
        await stage.call(wire, endpoint)
        assert wire.status == 200
    for ending, seen in zip(await stage.settled(), servers[0].generations, strict=True):
        assert (ending.outcome, ending.usage.input) == (Outcome.COMPLETED, seen.usage.prompt)
