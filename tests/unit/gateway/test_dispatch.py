"""Dispatch: another replica, a fallback or a second try until the first event is good, and never after it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from surplus.gateway.admission import Admission
from surplus.gateway.body import Body
from surplus.gateway.dispatch import Exchange
from surplus.gateway.errors import (
    BadBody,
    BodyTooLarge,
    ContextTooLong,
    NoCapacity,
    StreamBroken,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamSilent,
)
from surplus.kit.errors import SurplusError
from surplus.metering.usage import TokenUsage
from surplus.serving.breaker import BreakerState
from surplus.serving.errors import UpstreamCut
from surplus.serving.replicas import Replica
from tests.unit.gateway.parts import body, chat, dollars
from tests.unit.gateway.stage import IMPATIENT, TEXT, Cast, Opener, Stage
from tests.unit.gateway.streams import read_events
from tests.upstream import Fault, FaultyUpstream

BEFORE_ANY_BYTE = [
    Fault.CloseBeforeAnyByte(),
    Fault.ResetBeforeHeaders(),
    Fault.ResetAfterHeaders(),
    Fault.ServerError(500),
    Fault.ServerError(502, html=True),
    Fault.ServerError(503),
    Fault.RateLimited(),
    Fault.Unauthorized(),
    Fault.NotFound(),
    Fault.HtmlWithStatus200(),
    Fault.ErrorBodyWithStatus200(),
    Fault.EmptyBody(),
]
IN_A_STREAM = [
    Fault.ErrorEventFirst(),
    Fault.ErrorEventAfter(0, done=True),
    (Fault.ErrorEventAfter(0, done=True), Fault.TogetherBy(2)),
    Fault.MalformedJson(0),
    Fault.CutAfter(0),
    Fault.EndAfter(0),
    Fault.ResetAfter(0),
    Fault.HalfEventAfter(0),
    Fault.WrongContentType(),
]
IN_AN_ANSWER = [Fault.MalformedJson(), Fault.InvalidUtf8(), Fault.TruncatedBody()]


def name(fault: Any) -> str:
    return "+".join(map(repr, fault)) if isinstance(fault, tuple) else repr(fault)


@pytest.fixture
async def cast(open_stage: Opener) -> Cast:
    """Two providers, the second a fallback of the first."""
    return await open_stage("openai", "openai")


async def dispatch(stage: Stage, asked: Body, **more: Any) -> tuple[Exchange, Admission]:
    admission = stage.admission(asked, **more)
    exchange = await stage.dispatcher.dispatch(admission)
    return exchange, admission


async def fails(stage: Stage, asked: Body, **more: Any) -> tuple[SurplusError, Admission]:
    """The error of a request that comes to nothing; every replica is free again afterwards."""
    admission = stage.admission(asked, **more)
    with pytest.raises(SurplusError) as caught:
        await stage.dispatcher.dispatch(admission)
    assert all(replica.in_flight == 0 for replica in stage.pool.replicas())
    return caught.value, admission


def failures(replica: Replica) -> int:
    """How many failures in a row the breaker of a replica has been told of, while closed."""
    return replica.breaker._row


def counts(servers: list[FaultyUpstream]) -> list[int]:
    return [len(server.generations) for server in servers]


async def test_a_stream_is_held_back_until_its_first_event(cast: Cast) -> None:
    stage, servers = cast
    gate = asyncio.Event()
    servers[0].plan(Fault.HoldFirstByte(gate))
    waiting = asyncio.create_task(dispatch(stage, chat(stream=True)))
    await servers[0].arrived()
    replica = stage.replica("dep_0")
    assert (replica.in_flight, waiting.done()) == (1, False)
    gate.set()
    exchange, admission = await waiting
    assert read_events(exchange.first)[0].startswith(b'{"id":"chatcmpl-engine-0')
    assert (exchange.replica, admission.working, exchange.finished) == (replica, replica, False)
    assert replica.in_flight == 1
    exchange.close()
    exchange.close()
    assert replica.in_flight == 0
    await servers[0].generations[0].gone.wait()


async def test_a_whole_answer_is_there_when_dispatch_returns(cast: Cast) -> None:
    stage, servers = cast
    exchange, _ = await dispatch(stage, chat(max_tokens=5))
    truth = servers[0].generations[0].usage
    assert exchange.whole is not None
    assert exchange.whole.usage == TokenUsage(uncached=truth.prompt, output=5)
    assert exchange.finished
    assert servers[0].generations[0].body["model"] == "tiny-upstream"
    exchange.close()
    assert stage.replica("dep_0").in_flight == 0


@pytest.mark.parametrize("fault", [*BEFORE_ANY_BYTE, *IN_A_STREAM], ids=name)
async def test_a_stream_that_fails_before_its_first_event_goes_to_another_replica(cast: Cast, fault: Any) -> None:
    await goes_to_another(cast, fault, stream=True)


@pytest.mark.parametrize("fault", [*BEFORE_ANY_BYTE, *IN_AN_ANSWER], ids=name)
async def test_an_answer_that_fails_goes_to_another_replica(cast: Cast, fault: Any) -> None:
    await goes_to_another(cast, fault, stream=False)


async def goes_to_another(cast: Cast, fault: Any, *, stream: bool) -> None:
    stage, servers = cast
    stage.price(dollars(), dollars(sku="other", version="price_2"))
    servers[0].plan(fault)
    exchange, admission = await dispatch(stage, chat(stream=stream))
    assert counts(servers) == [1, 1]
    assert exchange.replica is admission.working is stage.replica("dep_1")
    assert admission.settlement.admitted.deployment == "dep_1"
    assert failures(stage.replica("dep_0")) == 1
    assert failures(stage.replica("dep_1")) == 0
    assert [stage.replica(f"dep_{number}").in_flight for number in range(2)] == [0, 1]
    exchange.close()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.ContextLengthExceeded(), ContextTooLong),
        (Fault.ContentFiltered(), UpstreamRefused),
        (Fault.TooLarge(), BodyTooLarge),
    ],
)
async def test_a_caller_s_mistake_is_told_at_once_and_held_against_nobody(
    cast: Cast, fault: Any, error: type[SurplusError], stream: bool
) -> None:
    stage, servers = cast
    replica = stage.replica("dep_0")
    replica.breaker.failed(stage.clock.monotonic())
    servers[0].plan(fault)
    told, _ = await fails(stage, chat(stream=stream))
    assert type(told) is error
    assert counts(servers) == [1, 0]
    assert failures(replica) == 0, "an engine that refuses is an engine that works"


async def test_a_stream_that_began_is_never_tried_again(cast: Cast) -> None:
    stage, servers = cast
    servers[0].plan((Fault.CutAfter(1),))
    exchange, _ = await dispatch(stage, chat(stream=True))
    assert exchange.answer is not None
    with pytest.raises(UpstreamCut):
        await exchange.answer.read(10_000, 5.0)
    assert counts(servers) == [1, 0]
    exchange.close()


async def test_an_error_behind_the_first_events_is_left_to_the_relay(cast: Cast) -> None:
    stage, servers = cast
    servers[0].plan((Fault.ErrorEventAfter(2), Fault.TogetherBy(3)))
    exchange, _ = await dispatch(stage, chat(stream=True))
    assert exchange.meter is not None
    assert isinstance(exchange.meter.error, UpstreamBroken)
    assert len(read_events(exchange.first)) == 2
    assert counts(servers) == [1, 0]
    exchange.close()


async def test_a_replica_alone_is_tried_again(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai")
    servers[0].plan(Fault.ServerError(500), Fault.CloseBeforeAnyByte())
    exchange, _ = await dispatch(stage, chat(stream=True))
    assert counts(servers) == [3]
    assert failures(stage.replica("dep_0")) == 0, "the third was good"
    exchange.close()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.ServerError(500), UpstreamBroken),
        (Fault.ServerError(503), NoCapacity),
        (Fault.RateLimited(), UpstreamLimited),
        (Fault.ErrorEventFirst(), UpstreamBroken),
        (Fault.EndAfter(0), StreamBroken),
        (Fault.CloseBeforeAnyByte(), UpstreamBroken),
    ],
)
async def test_the_last_failure_is_told_when_the_attempts_are_used_up(
    open_stage: Opener, fault: Any, error: type[SurplusError]
) -> None:
    stage, servers = await open_stage("openai")
    servers[0].always(fault)
    told, admission = await fails(stage, chat(stream=True))
    assert type(told) is error
    assert counts(servers) == [IMPATIENT.attempts]
    assert admission.working is None
    assert failures(stage.replica("dep_0")) == IMPATIENT.attempts


async def test_the_preferred_deployment_comes_first_and_equals_share(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai", ("openai", {"priority": 0}), ("openai", {"priority": 1}))
    servers[0].always(Fault.ServerError(500))
    servers[1].always(Fault.ServerError(500))
    for number in range(2):
        exchange, _ = await dispatch(stage, chat(), request=f"req_{number}")
        assert exchange.replica.deployment.id == "dep_2"
        exchange.close()
    assert counts(servers) == [2, 2, 2]
    servers[0].heal()
    servers[1].heal()
    for number in range(2, 4):
        exchange, _ = await dispatch(stage, chat(), request=f"req_{number}")
        assert exchange.replica.deployment.id != "dep_2"
        exchange.close()


@pytest.mark.parametrize("status", [429, 503])
async def test_a_replica_that_asks_for_time_gets_it(cast: Cast, status: int) -> None:
    stage, servers = cast
    replica = stage.replica("dep_0")
    servers[0].plan(Fault.RateLimited("30") if status == 429 else Fault.ServerError(503))
    exchange, _ = await dispatch(stage, chat())
    exchange.close()
    now = stage.clock.monotonic()
    if status == 429:
        assert replica.breaker.state(now + 25) is BreakerState.OPEN
        assert replica.breaker.state(now + 31) is BreakerState.HALF_OPEN
    else:
        assert (replica.breaker.state(now), failures(replica)) == (BreakerState.CLOSED, 1)


async def test_replicas_whose_breakers_are_open_are_not_asked(cast: Cast) -> None:
    stage, servers = cast
    now = stage.clock.monotonic()
    stage.replica("dep_0").breaker.failed(now, retry_after_s=30)
    exchange, _ = await dispatch(stage, chat())
    exchange.close()
    assert counts(servers) == [0, 1]
    stage.replica("dep_1").breaker.failed(now, retry_after_s=30)
    told, _ = await fails(stage, chat(), request="req_2")
    assert isinstance(told, NoCapacity)
    assert counts(servers) == [0, 1]


async def test_a_probe_that_is_answered_closes_the_breaker(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    breaker = stage.replica("dep_0").breaker
    breaker.failed(stage.clock.monotonic() - 100, retry_after_s=1)
    assert breaker.state(stage.clock.monotonic()) is BreakerState.HALF_OPEN
    exchange, _ = await dispatch(stage, chat())
    exchange.close()
    assert breaker.state(stage.clock.monotonic()) is BreakerState.CLOSED


async def test_a_request_that_is_not_sent_says_nothing_about_the_engine(open_stage: Opener) -> None:
    stage, servers = await open_stage("llama-server")
    breaker = stage.replica("dep_0").breaker
    breaker.failed(stage.clock.monotonic() - 100, retry_after_s=1)
    told, _ = await fails(stage, body(prompt=["a", "b"]), endpoint=TEXT)
    assert isinstance(told, BadBody)
    assert counts(servers) == [0]
    assert breaker.state(stage.clock.monotonic()) is BreakerState.HALF_OPEN
    assert breaker.allows(stage.clock.monotonic())


async def test_a_deployment_without_a_price_is_never_asked(open_stage: Opener) -> None:
    stage, servers = await open_stage(("openai", {"sku": "unpriced"}), "openai")
    exchange, _ = await dispatch(stage, chat())
    exchange.close()
    assert counts(servers) == [0, 1]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_is_given_up_frees_its_replica_and_blames_nobody(cast: Cast, stream: bool) -> None:
    stage, servers = cast
    servers[0].plan(Fault.HoldFirstByte())
    waiting = asyncio.create_task(dispatch(stage, chat(stream=stream)))
    seen = await servers[0].arrived()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await seen.gone.wait()
    assert (stage.replica("dep_0").in_flight, failures(stage.replica("dep_0"))) == (0, 0)
    assert counts(servers) == [1, 0]


@pytest.mark.parametrize("fault", [Fault.HoldFirstByte(), Fault.StallAfter(0)])
async def test_an_engine_that_says_nothing_is_given_up(open_stage: Opener, fault: Any) -> None:
    stage, servers = await open_stage(
        "openai", patience=replace(IMPATIENT, attempts=2, connect_s=0.3, first_event_s=0.05)
    )
    servers[0].always(fault)
    told, _ = await fails(stage, chat(stream=True))
    assert isinstance(told, UpstreamSilent)
    assert (counts(servers), failures(stage.replica("dep_0"))) == ([2], 2)


async def test_an_engine_that_is_gone_is_unreachable(cast: Cast) -> None:
    stage, servers = cast
    await servers[0].stop()
    exchange, _ = await dispatch(stage, chat())
    assert exchange.replica is stage.replica("dep_1")
    exchange.close()


@pytest.mark.parametrize("asked", [{}, {"logprobs": True}])
async def test_choices_of_an_engine_that_reports_one_are_all_counted(open_stage: Opener, asked: dict[str, Any]) -> None:
    stage, servers = await open_stage("llama-server")
    exchange, _ = await dispatch(stage, chat(n=3, max_tokens=4, **asked))
    seen = servers[0].generations[0]
    assert seen.body["logprobs"] is True
    assert exchange.whole is not None
    assert exchange.whole.usage == TokenUsage(uncached=seen.prompt_tokens, output=12)
    assert (b'"logprobs"' in exchange.whole.data) == bool(asked)
    exchange.close()
