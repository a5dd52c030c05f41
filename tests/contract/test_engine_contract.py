"""What every adapter of the engine port does: the embedded engine for real, remote ones against a small server."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from surplus.kit.clock import SystemClock
from surplus.kit.ids import RandomIds
from surplus.serving.engines.factory import Engines
from surplus.serving.errors import EngineFailed
from surplus.serving.model import EngineKind
from surplus.serving.ports import Endpoint, Engine
from surplus.serving.upstream_http import HttpUpstream
from tests.contract.engine_server import EngineServer, until
from tests.unit.serving.deployments import embedded, remote

SOON_S = 10.0
KEY = "s3cret-key"


def thread_states(pid: int | None) -> set[str]:
    """What the kernel says of each thread: a signal to stop reaches them one by one."""
    stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return {stat.rsplit(")", 1)[1].split()[0] for stat in stats}


class EmbeddedRig:
    """The demo model in a real llama.cpp process."""

    def __init__(self, engines: Engines) -> None:
        self.engine = engines(embedded())
        self.impossible = engines(embedded(path="/nowhere/m.gguf"))
        self.reason = "/nowhere/m.gguf"

    async def die(self, endpoint: Endpoint) -> None:
        assert endpoint.pid is not None
        os.kill(endpoint.pid, signal.SIGKILL)

    async def hang(self, endpoint: Endpoint) -> None:
        assert endpoint.pid is not None
        os.kill(endpoint.pid, signal.SIGSTOP)
        await until(lambda: thread_states(endpoint.pid) == {"T"})

    async def revive(self) -> None:
        """Nothing: a start makes a new process."""


class RemoteRig:
    """An engine that somebody else runs."""

    def __init__(self, engines: Engines, kind: EngineKind, server: EngineServer) -> None:
        self._server = server
        self.engine = engines(remote(server.url, engine=kind, key_env="ENGINE_KEY"))
        self.impossible = engines(remote("http://127.0.0.1:1/v1", engine=kind))
        self.reason = "127.0.0.1:1"

    async def die(self, endpoint: Endpoint) -> None:
        await self._server.__aexit__()

    async def hang(self, endpoint: Endpoint) -> None:
        self._server.silent = True

    async def revive(self) -> None:
        await self._server.__aexit__()
        await self._server.restart()


Rig = EmbeddedRig | RemoteRig
KINDS = [pytest.param(kind, marks=pytest.mark.slow if kind.embedded else ()) for kind in EngineKind]


@pytest.fixture
async def upstream() -> AsyncIterator[HttpUpstream]:
    adapter = HttpUpstream()
    yield adapter
    await adapter.close()


@pytest.fixture
def engines(upstream: HttpUpstream) -> Engines:
    return Engines(upstream=upstream, ids=RandomIds(SystemClock()), environment={"ENGINE_KEY": KEY})


@pytest.fixture(params=KINDS)
async def rig(request: pytest.FixtureRequest, engines: Engines) -> AsyncIterator[Rig]:
    async with contextlib.AsyncExitStack() as stack:
        kind: EngineKind = request.param
        if kind.embedded:
            made: Rig = EmbeddedRig(engines)
        else:
            made = RemoteRig(engines, kind, await stack.enter_async_context(EngineServer(KEY)))
        stack.push_async_callback(made.engine.stop, 0.0)
        stack.push_async_callback(made.impossible.stop, 0.0)
        yield made


async def say(upstream: HttpUpstream, endpoint: Endpoint) -> tuple[int, Any]:
    """The status and the JSON of one short chat."""
    body = b'{"model":"tiny-chat","messages":[{"role":"user","content":"What is 2 + 2?"}],"max_tokens":8}'
    headers = {**endpoint.headers, "content-type": "application/json"}
    waits = {"connect_timeout_s": SOON_S, "first_byte_timeout_s": SOON_S}
    answer = await upstream.send(
        endpoint.base_url, "/chat/completions", headers=headers, body=body, reuse=False, **waits
    )
    said = json.loads(await answer.read(100_000, SOON_S))
    answer.release()
    return answer.status, said


async def test_a_started_engine_answers_at_its_endpoint(rig: Rig, upstream: HttpUpstream) -> None:
    endpoint = await rig.engine.start(SOON_S)
    await rig.engine.warm(SOON_S)
    status, said = await say(upstream, endpoint)
    assert status == 200
    assert said["usage"]["completion_tokens"] > 0
    assert endpoint.base_url == f"{endpoint.root_url}/v1"


async def test_it_answers_nobody_without_its_key(rig: Rig, upstream: HttpUpstream) -> None:
    endpoint = await rig.engine.start(SOON_S)
    status, _ = await say(upstream, Endpoint(endpoint.base_url, {}))
    assert status == 401


async def test_a_healthy_engine_passes_its_probe(rig: Rig) -> None:
    endpoint = await rig.engine.start(SOON_S)
    assert await rig.engine.probe(SOON_S) == endpoint


async def test_a_dead_engine_fails_its_probe_at_once(rig: Rig) -> None:
    endpoint = await rig.engine.start(SOON_S)
    await rig.die(endpoint)
    with pytest.raises(EngineFailed):
        await rig.engine.probe(60.0)


async def test_a_hanging_engine_fails_its_probe_in_time(rig: Rig) -> None:
    endpoint = await rig.engine.start(SOON_S)
    await rig.hang(endpoint)
    async with asyncio.timeout(SOON_S):
        with pytest.raises(EngineFailed):
            await rig.engine.probe(0.2)


async def test_a_hanging_engine_can_be_stopped_and_started_again(rig: Rig, upstream: HttpUpstream) -> None:
    endpoint = await rig.engine.start(SOON_S)
    await rig.hang(endpoint)
    await rig.engine.stop(0.2)
    await rig.revive()
    again = await rig.engine.start(SOON_S)
    assert (await say(upstream, again))[0] == 200


async def test_an_engine_that_cannot_start_says_why(rig: Rig) -> None:
    with pytest.raises(EngineFailed) as failed:
        await rig.impossible.start(SOON_S)
    assert rig.reason in failed.value.message


async def test_stopping_is_harmless_at_any_time(rig: Rig) -> None:
    await rig.engine.stop(1.0)
    await rig.engine.start(SOON_S)
    await rig.engine.stop(5.0)
    await rig.engine.stop(0.0)


async def test_a_start_that_is_cancelled_can_be_stopped(rig: Rig) -> None:
    starting = asyncio.create_task(rig.engine.start(SOON_S))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait({starting})
    await rig.engine.stop(0.0)
    await rig.engine.start(SOON_S)


async def test_no_message_holds_the_key(rig: Rig) -> None:
    endpoint = await rig.engine.start(SOON_S)
    key = endpoint.headers["authorization"].removeprefix("Bearer ")
    await rig.die(endpoint)
    with pytest.raises(EngineFailed) as failed:
        await rig.engine.probe(1.0)
    assert key not in repr(endpoint) + repr(rig.engine) + str(failed.value.__cause__) + failed.value.message


@pytest.mark.slow
async def test_the_end_of_a_process_is_told_with_its_cause(engines: Engines) -> None:
    """Only of engines whose process is ours; the others are known by their probes alone."""
    rig = EmbeddedRig(engines)
    endpoint = await rig.engine.start(SOON_S)
    ended = asyncio.create_task(rig.engine.ended())
    await rig.die(endpoint)
    async with asyncio.timeout(SOON_S):
        assert "SIGKILL" in await ended
    await rig.engine.stop(0.0)


@pytest.mark.parametrize(
    ("status", "up"),
    [("200 OK", True), ("404 Not Found", True), ("429 Too Many Requests", True), ("503 Unavailable", False)],
)
async def test_a_provider_is_up_when_it_answers(engines: Engines, status: str, up: bool) -> None:
    async with EngineServer() as server:
        server.status = status
        await expect(engines(remote(server.url, engine=EngineKind.OPENAI)), up)
        assert server.asked == ["/v1/models"]


@pytest.mark.parametrize(("status", "up"), [("200 OK", True), ("404 Not Found", False), ("503 Loading", False)])
async def test_an_engine_of_ours_is_up_when_it_says_so(engines: Engines, status: str, up: bool) -> None:
    async with EngineServer() as server:
        server.status = status
        await expect(engines(remote(server.url, engine=EngineKind.SGLANG)), up)
        assert server.asked == ["/health"]


async def expect(engine: Engine, up: bool) -> None:
    if up:
        await engine.probe(SOON_S)
    else:
        with pytest.raises(EngineFailed):
            await engine.probe(SOON_S)
