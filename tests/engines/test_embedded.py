"""The embedded engine under a pool, with real processes that are killed, stopped and drained."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from surplus.kit.clock import SystemClock
from surplus.kit.ids import CountedIds
from surplus.serving.engines.factory import Engines
from surplus.serving.errors import UpstreamCut, UpstreamUnreachable
from surplus.serving.model import ReplicaState
from surplus.serving.replicas import Pool, Replica
from surplus.serving.upstream_http import HttpUpstream
from tests.contract.engine_server import until
from tests.engines.pools import ask, running
from tests.unit.serving.deployments import embedded

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("serve_and_print.py")
CHAT = b'{"messages":[{"role":"user","content":"What is 2 + 2?"}],"max_tokens":16}'
LONG = b'{"messages":[{"role":"user","content":"Tell me a story."}],"max_tokens":400,"ignore_eos":true}'


async def ready(pool: Pool, count: int = 1) -> list[Replica]:
    await until(lambda: len(pool.candidates("tiny-chat")) == count, 20)
    return pool.candidates("tiny-chat")


def is_alive(pid: int | None) -> bool:
    """Whether the process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def about(pid: int | None, what: str) -> bytes:
    """A file of the kernel about a process: its `cmdline`, or its `environ`."""
    return Path(f"/proc/{pid}/{what}").read_bytes()


def children() -> list[int]:
    """The living processes that this one has started."""
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in listed if is_alive(int(pid))]


async def test_a_killed_engine_is_noticed_and_replaced() -> None:
    async with running() as (pool, upstream):
        await pool.apply([embedded()])
        (replica,) = await ready(pool)
        first = replica.pid
        assert first is not None
        story = asyncio.create_task(ask(upstream, replica, LONG))
        await until(lambda: replica.in_flight == 1)
        os.kill(first, signal.SIGKILL)
        with pytest.raises((UpstreamCut, UpstreamUnreachable)):
            await story
        await until(lambda: replica.state is not ReplicaState.READY)
        assert "SIGKILL" in str(replica.error)
        assert await ready(pool) == [replica]
        assert replica.pid != first
        assert b"4" in await ask(upstream, replica, CHAT)


async def test_a_hanging_engine_is_killed_and_replaced() -> None:
    async with running() as (pool, upstream):
        await pool.apply([embedded()])
        (replica,) = await ready(pool)
        first = replica.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        await until(lambda: replica.pid != first, 20)
        assert not is_alive(first)
        await ready(pool)
        assert b"4" in await ask(upstream, replica, CHAT)


async def test_no_engine_outlives_its_server() -> None:
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), stdout=pipe)
    assert server.stdout is not None
    async with asyncio.timeout(30):
        engine = int(await server.stdout.readline())
    assert is_alive(engine)
    server.kill()
    await server.wait()
    await until(lambda: not is_alive(engine))


async def test_a_drain_lets_the_request_in_flight_end_and_then_the_process() -> None:
    async with running() as (pool, upstream):
        await pool.apply([embedded()])
        (replica,) = await ready(pool)
        pid = replica.pid
        story = asyncio.create_task(ask(upstream, replica, LONG))
        await until(lambda: replica.in_flight == 1)
        await pool.apply([])
        assert pool.candidates("tiny-chat") == []
        assert json.loads(await story)["usage"]["completion_tokens"] == 400
        await until(lambda: not is_alive(pid))
        await until(lambda: replica.state is ReplicaState.STOPPED)


async def test_a_drain_that_takes_too_long_is_cut() -> None:
    async with running() as (pool, _):
        await pool.apply([embedded()])
        (replica,) = await ready(pool)
        pid = replica.pid
        with replica.lease():
            async with asyncio.timeout(10):
                await pool.stop(0.1)
        assert not is_alive(pid)


async def test_two_replicas_share_the_work_and_survive_each_other() -> None:
    async with running() as (pool, upstream):
        await pool.apply([embedded(replicas=2)])
        replicas = await ready(pool, 2)
        assert len({replica.pid for replica in replicas}) == 2
        assert {pool.candidates("tiny-chat")[0].id for _ in range(2)} == {replica.id for replica in replicas}
        os.kill(replicas[0].pid or 0, signal.SIGKILL)
        await until(lambda: pool.candidates("tiny-chat") == [replicas[1]])
        assert b"4" in await ask(upstream, replicas[1], CHAT)
        await ready(pool, 2)
    assert not [replica for replica in replicas if is_alive(replica.pid)]


async def test_an_engine_with_a_long_queue_still_answers_health_checks() -> None:
    upstream = HttpUpstream()
    engine = Engines(upstream=upstream, ids=CountedIds(), environment={})(embedded(slots=1))
    endpoint = await engine.start(20.0)
    replica = Replica("busy", embedded(), SystemClock())
    replica.refresh(endpoint)
    stories = [asyncio.create_task(ask(upstream, replica, LONG)) for _ in range(300)]
    try:
        await until(lambda: replica.in_flight == 300)
        until_then = asyncio.get_running_loop().time() + 3.0
        while asyncio.get_running_loop().time() < until_then:
            await engine.probe(1.0)
    finally:
        for story in stories:
            story.cancel()
        await asyncio.wait(stories)
        await engine.stop(0.0)
        await upstream.close()


async def test_embeddings_over_http_also_of_long_texts() -> None:
    async with running() as (pool, upstream):
        await pool.apply([embedded(context=1024, slots=1, embeddings=True)])
        await ready(pool)
        (replica,) = pool.candidates("tiny-chat", embeddings=True)
        texts = ["What is a lease?", "Explain a lease.", "What is a lease? " * 90]
        body = json.dumps({"input": texts}).encode()
        said = json.loads(await ask(upstream, replica, body, "/embeddings"))
        vectors = [item["embedding"] for item in said["data"]]
        assert [abs(sum(x * x for x in vector) - 1) < 1e-3 for vector in vectors] == [True] * 3
        assert sum(x * y for x, y in zip(vectors[0], vectors[1], strict=True)) > 0.3
        assert said["usage"]["prompt_tokens"] > 512
        assert b"4" in await ask(upstream, replica, CHAT), "it still chats"


async def test_a_file_that_is_no_model_is_told_in_the_engines_words(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"this is not a model")
    async with running() as (pool, _):
        await pool.apply([embedded(path=str(tmp_path / "bad.gguf"))])
        (replica,) = pool.replicas()
        await until(lambda: replica.state is ReplicaState.BACKOFF)
        assert "invalid magic" in str(replica.error)
        assert len(str(replica.error)) < 3000


async def test_a_context_that_the_model_does_not_have_is_refused() -> None:
    async with running() as (pool, _):
        await pool.apply([embedded(context=4096, slots=1)])
        (replica,) = pool.replicas()
        await until(lambda: replica.error is not None, 20)
        assert "1024" in str(replica.error)
        assert pool.candidates("tiny-chat") == []


async def test_the_key_of_a_process_stands_in_neither_its_arguments_nor_its_environment() -> None:
    async with running() as (pool, _):
        await pool.apply([embedded()])
        (replica,) = await ready(pool)
        key = replica.headers["authorization"].removeprefix("Bearer ").encode()
        assert len(key) == 32
        assert key not in about(replica.pid, "cmdline") + about(replica.pid, "environ")


async def test_an_interrupt_at_the_terminal_does_not_reach_the_engine() -> None:
    async with running() as (pool, _):
        await pool.apply([embedded()])
        (replica,) = await ready(pool)
        assert os.getpgid(replica.pid or 0) != os.getpgid(0)


async def test_stopping_while_it_starts_leaves_nothing_behind() -> None:
    async with running() as (pool, _):
        await pool.apply([embedded()])
        (replica,) = pool.replicas()
        with contextlib.suppress(TimeoutError):
            await until(lambda: replica.pid is not None, 0.05)
        async with asyncio.timeout(10):
            await pool.stop(0.0)
        assert replica.state is ReplicaState.STOPPED
        assert not [pid for pid in children() if b"llamacpp_host" in about(pid, "cmdline")]
