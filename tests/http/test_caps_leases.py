"""Limits are leases: taken in one step, counted each in its own window, and given back whatever happens."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from surplus.app.keys import KeySpec
from surplus.identity.model import Limits
from surplus.settings import Gateway
from tests.http.harness import eventually, quick
from tests.http.processes import END_S, available, furnish, serving
from tests.http.reading import BODIES, GENERATING, as_request, chat, refusal
from tests.upstream import Fault, FaultyUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(
    gateway=Gateway(attempts=1, first_event_timeout_s=0.4, idle_timeout_s=0.4, request_timeout_s=1.5, keepalive_s=1.0)
)
CHAT = "/chat/completions"

ENDINGS = [
    Fault.Healthy(),
    Fault.ServerError(500),
    Fault.RateLimited(),
    Fault.ContentFiltered(),
    Fault.ContextLengthExceeded(),
    Fault.CloseBeforeAnyByte(),
    Fault.ResetAfterHeaders(),
    Fault.EmptyBody(),
    Fault.HtmlWithStatus200(),
    Fault.HoldFirstByte(),
]
IN_A_STREAM = [
    *ENDINGS,
    Fault.ErrorEventFirst(),
    Fault.ErrorEventAfter(3),
    Fault.CutAfter(3),
    Fault.ResetAfter(3),
    Fault.EndAfter(3),
    Fault.MalformedJson(3),
    Fault.StallAfter(3),
    Fault.NoDone(),
]


def _limited(**limits: int) -> KeySpec:
    return KeySpec(limits=Limits(**limits))


@pytest.mark.parametrize("stream", [False, True])
async def test_d1_a_burst_gets_exactly_as_many_requests_as_the_limit(open_shop, stream: bool) -> None:
    """Looked at and counted in one step: sixty at once cannot all see that there is room."""
    shop = await open_shop("openai", key=_limited(rpm=20))
    client = await shop.client()
    body = chat(shop.model, stream=stream)
    answers = await asyncio.gather(*(client.post(CHAT, json=body) for _ in range(60)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (20, 40)
    assert len(shop.upstream.generations) == len(await shop.records()) == 20
    assert min(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers) == 0


async def test_d2_each_limit_has_a_window_of_its_own(open_shop) -> None:
    """As many requests as either limit alone allows, and not one fewer because there are two."""
    shop = await open_shop("openai", key=_limited(rpm=12, tpm=1_000_000))
    answers = [await shop.post(CHAT, chat(shop.model)) for _ in range(13)]
    assert [answer.status_code for answer in answers] == [200] * 12 + [429]
    assert "requests per minute" in refusal(answers[-1], 429, "rate_limit_exceeded")["message"]
    remaining = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers]
    assert remaining == [*range(11, -1, -1), 0]


async def test_d2_tokens_are_counted_exactly(open_shop) -> None:
    tpm = 1000
    shop = await open_shop("openai", key=_limited(tpm=tpm, rpm=1000))
    first = await shop.post(CHAT, chat(shop.model, max_tokens=20))
    used = first.json()["usage"]["total_tokens"]
    bound = tpm - int(first.headers["x-ratelimit-remaining-tokens"])
    assert used < bound < tpm
    admitted = 1
    while (answer := await shop.post(CHAT, chat(shop.model, max_tokens=20))).status_code == 200:
        admitted += 1
    assert "tokens per minute" in refusal(answer, 429, "rate_limit_exceeded")["message"]
    assert admitted == (tpm - bound) // used + 1


@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize("stream", [False, True])
async def test_d4_no_way_to_end_keeps_a_place(open_shop, path: str, stream: bool) -> None:
    """One place, and one request after the other: however one ends, the next is admitted at once."""
    shop = await open_shop("openai", key=_limited(concurrency=1))
    faults = IN_A_STREAM if stream else ENDINGS
    for fault in faults:
        shop.upstream.plan(fault)
        answer = await shop.post(path, BODIES[path](shop.model, stream=stream))
        assert "requests at once" not in answer.text, fault
        (replica,) = [one for one in shop.live.server.pool.replicas() if one.deployment.model == shop.model]
        replica.breaker.__init__()  # the engine is no worse for it: what is tested is the place
    assert (await shop.post(path, BODIES[path](shop.model))).status_code == 200
    assert len(shop.upstream.generations) == len(faults) + 1


@pytest.mark.parametrize("engine", ["openai", "vllm"])
@pytest.mark.parametrize("path", BODIES)
async def test_d4_a_caller_who_leaves_before_the_answer_keeps_no_place(open_shop, engine: str, path: str) -> None:
    shop = await open_shop(engine, key=_limited(concurrency=1))
    for number in range(3):
        shop.upstream.plan(Fault.HoldFirstByte())
        caller = await shop.dial(as_request(shop, path, BODIES[path](shop.model)))
        await shop.upstream.arrived(number + 1)
        await shop.hang_up(caller)
        shop.upstream.release()
        await shop.live.quiet()
        await eventually(lambda: not shop.live.server.path._background, "what outlives the request")
    assert (await shop.post(path, BODIES[path](shop.model))).status_code == 200


@pytest.mark.slow
async def test_d4_a_server_that_was_killed_locks_no_key_out(tmp_path: Path) -> None:
    """Places are in the memory of the process that gave them, and end with it."""
    data = tmp_path / "data"
    async with FaultyUpstream() as upstream:
        async with serving(data) as process:
            customer = await furnish(process, upstream, "openai", "tiny")
            made = await process.api("POST", f"/organizations/{customer.org}/keys", {"concurrency": 1, "rpm": 2})
            call = {"headers": {"authorization": f"Bearer {made['key']}"}, "json": chat("tiny", stream=True)}
            upstream.plan(Fault.StallAfter(3))
            async with (
                httpx.AsyncClient(base_url=f"{process.url}/v1", timeout=END_S) as client,
                client.stream("POST", CHAT, **call) as stream,
            ):
                assert stream.status_code == 200
                assert (await client.post(CHAT, **call)).status_code == 429
                await process.end(signal.SIGKILL)
        upstream.release()
        async with serving(data) as process:
            await available(process, "tiny")
            async with httpx.AsyncClient(base_url=f"{process.url}/v1", timeout=END_S) as client:
                answer = await client.post(CHAT, **call)
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-ratelimit-remaining-requests"] == "1"
