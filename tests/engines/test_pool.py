"""The pool with engines that somebody else runs: what it starts, watches, drains and tells."""

import asyncio
from pathlib import Path

import pytest

from surplus.kit.clock import SystemClock
from surplus.kit.ids import CountedIds
from surplus.serving.model import EngineKind, ReplicaState
from surplus.serving.ports import Endpoint
from surplus.serving.replicas import Pool
from tests.contract.engine_server import EngineServer, until
from tests.engines.pools import QUICK, ask, running
from tests.unit.serving.deployments import remote

CHAT = b'{"messages":[]}'


def states(pool: Pool) -> list[ReplicaState]:
    return sorted(replica.state for replica in pool.replicas())


async def test_a_deployment_becomes_ready_and_takes_requests() -> None:
    async with EngineServer() as server, running() as (pool, upstream):
        assert pool.candidates("tiny-chat") == []
        await pool.apply([remote(server.url, created_at=7.0, embeddings=True)])
        (info,) = pool.models()
        assert (info.id, info.created, info.context, info.embeddings) == ("tiny-chat", 7.0, 512, True)
        await until(lambda: pool.models()[0].ready)
        (replica,) = pool.candidates("tiny-chat", embeddings=True)
        assert b"hello" in await ask(upstream, replica, CHAT)
        assert pool.candidates("another") == []


async def test_only_deployments_with_embeddings_are_candidates_for_them() -> None:
    async with EngineServer() as server, running() as (pool, _):
        await pool.apply([remote(server.url)])
        await until(lambda: bool(pool.candidates("tiny-chat")))
        assert pool.candidates("tiny-chat", embeddings=True) == []


async def test_fallbacks_come_after_and_are_told_to_whoever_prices() -> None:
    async with EngineServer() as server, running() as (pool, _):
        fallback = remote(server.url, id="fallback", priority=9, context=64)
        first = remote(server.url, id="first", priority=1)
        draining = remote(server.url, id="leaving", priority=0, draining=True)
        await pool.apply([fallback, draining, first])
        assert pool.deployments("tiny-chat") == [first, fallback]
        assert pool.deployments("another") == []
        assert [info.context for info in pool.models()] == [512]
        await until(lambda: len(pool.candidates("tiny-chat")) == 2)
        assert [replica.deployment.id for replica in pool.candidates("tiny-chat")] == ["first", "fallback"]


async def test_applying_again_leaves_what_runs_alone() -> None:
    async with EngineServer() as server, running() as (pool, _):
        kept = remote(server.url, id="kept")
        await pool.apply([kept, remote(server.url, id="gone")])
        await until(lambda: len(pool.candidates("tiny-chat")) == 2)
        (before,) = [replica for replica in pool.replicas() if replica.deployment.id == "kept"]
        await pool.apply([kept, remote(server.url, id="new")])
        assert pool.candidates("tiny-chat") == [before], "what is gone takes nothing from now on"
        await until(lambda: len(pool.candidates("tiny-chat")) == 2 and len(pool.replicas()) == 2)
        assert before in pool.replicas()
        assert before.restarts == 0


async def test_a_drain_waits_for_the_request_in_flight() -> None:
    async with EngineServer() as server, running() as (pool, _):
        await pool.apply([remote(server.url)])
        await until(lambda: bool(pool.candidates("tiny-chat")))
        (replica,) = pool.replicas()
        with replica.lease():
            await pool.apply([])
            await until(lambda: replica.state is ReplicaState.DRAINING)
            assert pool.candidates("tiny-chat") == []
            assert pool.models() == []
            assert pool.replicas() == [replica]
        await until(lambda: replica.state is ReplicaState.STOPPED)
        await until(lambda: pool.replicas() == [])


async def test_a_stop_shortens_a_drain_that_is_under_way() -> None:
    async with EngineServer() as server, running() as (pool, _):
        await pool.apply([remote(server.url)])
        await until(lambda: bool(pool.candidates("tiny-chat")))
        (replica,) = pool.replicas()
        lease = replica.lease()
        lease.__enter__()
        await pool.apply([])
        await until(lambda: replica.state is ReplicaState.DRAINING)
        async with asyncio.timeout(5):
            await pool.stop(0.05)
        assert replica.state is ReplicaState.STOPPED
        lease.__exit__(None, None, None)


async def test_what_never_started_can_be_taken_back() -> None:
    async with running() as (pool, _):
        deployment = remote("http://127.0.0.1:1/v1")
        await pool.apply([deployment])
        await pool.apply([])
        assert pool.replicas() == []
        await pool.apply([deployment])
        await until(lambda: states(pool) == [ReplicaState.BACKOFF])
        await pool.apply([])
        await until(lambda: pool.replicas() == [])


async def test_nothing_starts_after_a_stop() -> None:
    async with EngineServer() as server, running() as (pool, _):
        await pool.stop(0.0)
        await pool.stop(0.0)
        await pool.apply([remote(server.url)])
        assert pool.replicas() == []
        assert server.asked == []


async def test_failing_health_checks_take_a_replica_out_until_it_recovers() -> None:
    async with EngineServer() as server, running() as (pool, _):
        await pool.apply([remote(server.url)])
        await until(lambda: bool(pool.candidates("tiny-chat")))
        (replica,) = pool.replicas()
        server.status = "503 Service Unavailable"
        await until(lambda: pool.candidates("tiny-chat") == [])
        assert replica.error is not None
        assert "503" in replica.error
        server.status = "200 OK"
        await until(lambda: pool.candidates("tiny-chat") == [replica])
        assert replica.error is None
        assert replica.restarts >= 1


async def test_a_silent_engine_is_taken_out() -> None:
    async with EngineServer() as server, running() as (pool, _):
        await pool.apply([remote(server.url)])
        await until(lambda: bool(pool.candidates("tiny-chat")))
        server.silent = True
        await until(lambda: pool.candidates("tiny-chat") == [])


async def test_a_wrong_key_is_shown_to_the_operator_and_never_the_key_itself() -> None:
    async with EngineServer(key="right") as server, running(environment={"KEY": "wr0ng-key"}) as (pool, _):
        await pool.apply([remote(server.url, engine=EngineKind.OPENAI, key_env="KEY")])
        (replica,) = pool.replicas()
        await until(lambda: replica.state is ReplicaState.BACKOFF)
        assert replica.error is not None
        assert "401" in replica.error
        assert "wr0ng-key" not in replica.error


async def test_a_key_that_is_rotated_in_its_file_is_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    async with EngineServer(key="old") as server, running() as (pool, upstream):
        await pool.apply([remote(server.url, engine=EngineKind.OPENAI, key_file=str(file))])
        await until(lambda: bool(pool.candidates("tiny-chat")))
        (replica,) = pool.replicas()
        file.write_text("new")
        server.key = "new"
        await until(lambda: replica.headers == {"authorization": "Bearer new"})
        await until(lambda: replica.state is ReplicaState.READY)
        assert b"hello" in await ask(upstream, replica, CHAT)


async def test_an_open_breaker_takes_a_replica_out_of_the_candidates() -> None:
    async with EngineServer() as server, running() as (pool, _):
        await pool.apply([remote(server.url)])
        await until(lambda: bool(pool.candidates("tiny-chat")))
        (replica,) = pool.replicas()
        now = asyncio.get_running_loop().time()
        replica.breaker.failed(now, retry_after_s=30)
        assert pool.candidates("tiny-chat") == []
        assert replica.state is ReplicaState.READY
        assert pool.models()[0].ready


async def test_cancelling_the_pool_ends_its_replicas() -> None:
    async with EngineServer() as server, running() as (pool, _):
        await pool.apply([remote(server.url)])
        await until(lambda: bool(pool.candidates("tiny-chat")))
        life = next(task for task in asyncio.all_tasks() if task.get_name() == "pool")
        life.cancel()
        with pytest.raises(asyncio.CancelledError):
            await life
        checked = len(server.asked)
        await asyncio.sleep(3 * QUICK.probe_every_s)  # nothing is to happen, and only time can show that
        assert len(server.asked) == checked


class FaultyEngine:
    """An engine adapter with a bug."""

    async def start(self, within_s: float) -> Endpoint:
        raise ZeroDivisionError

    async def warm(self, within_s: float) -> None: ...

    async def probe(self, within_s: float) -> Endpoint:
        raise ZeroDivisionError

    async def ended(self) -> str:
        raise ZeroDivisionError

    async def stop(self, grace_s: float) -> None: ...


async def test_a_fault_of_ours_ends_the_pool_loudly() -> None:
    clock = SystemClock()
    pool = Pool(lambda _: FaultyEngine(), ids=CountedIds(), clock=clock, jitter=lambda: 0.0, patience=QUICK)
    await pool.apply([remote()])
    with pytest.raises(ExceptionGroup) as fault:
        await pool.run()
    assert fault.value.subgroup(ZeroDivisionError)
