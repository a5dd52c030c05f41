"""Processes that share replicas: one looks after them, two send requests, all over real links."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from surplus.kit.clock import SystemClock
from surplus.kit.ids import CountedIds
from surplus.kit.link import Hub, Link
from surplus.kit.link.server import bind
from surplus.serving import mirror as mirror_module
from surplus.serving import news
from surplus.serving.announcer import Announcer
from surplus.serving.breaker import BreakerRules, BreakerState
from surplus.serving.mirror import Mirror
from surplus.serving.model import ReplicaState
from surplus.serving.ports import Endpoint
from surplus.serving.replicas import Pool
from tests.unit.kit.link.ends import eventually
from tests.unit.serving.deployments import embedded

CLOCK = SystemClock()
RULES = BreakerRules(failures=1, cooldown_s=0.05)


class Quiet:
    """An engine that is there at once."""

    async def start(self, within_s: float) -> Endpoint:
        return Endpoint("http://127.0.0.1:9/v1", {"authorization": "Bearer of the engine"}, 42)

    async def warm(self, within_s: float) -> None: ...

    async def probe(self, within_s: float) -> Endpoint:
        return await self.start(within_s)

    async def ended(self) -> str:
        await asyncio.Event().wait()
        return ""

    async def stop(self, grace_s: float) -> None: ...


@dataclass
class World:
    pool: Pool
    announcer: Announcer
    hub: Hub
    path: Path
    mirrors: list[Mirror]
    stack: AsyncExitStack
    gone: list[str]

    async def mirror(self, name: str) -> Mirror:
        made = Mirror(CLOCK, RULES)
        link = Link(
            self.path,
            name,
            b"",
            topics={news.POOL: made.hear, news.BREAKER: made.hear_breaker},
            jitter=random.random,
            down=made.lost,
        )
        made.begin(link)
        running = asyncio.create_task(link.run())
        self.stack.push_async_callback(asyncio.wait, {running})
        self.stack.callback(running.cancel)
        self.mirrors.append(made)
        await eventually(lambda: made.models() or not self.pool.models())
        return made


@asynccontextmanager
async def world(path: Path) -> AsyncIterator[World]:
    announcer = Announcer(CLOCK)
    pool = Pool(
        lambda _: Quiet(),
        ids=CountedIds(),
        clock=CLOCK,
        jitter=random.random,
        breaker_rules=RULES,
        changed=announcer.changed,
    )
    hub = Hub(
        calls={},
        replies={news.PROBE: announcer.probe},
        hears={news.BREAKER: announcer.breaker, news.RETURNED: announcer.returned, news.LEFT: announcer.left},
        admits=lambda _name, _token: True,
        joined=announcer.joined,
        left=lambda _peer: None,
    )
    announcer.begin(pool, hub)
    running = asyncio.create_task(pool.run())
    async with AsyncExitStack() as stack:
        sock = stack.enter_context(bind(path))
        await hub.listen(sock)
        made = World(pool, announcer, hub, path, [], stack, [])
        await pool.apply([embedded(id="dep_1", model="tiny")])
        await eventually(lambda: pool.candidates("tiny"))
        yield made
        await pool.stop(1.0)
        await running
        await hub.close()


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "link.sock") as made:
        yield made


def only(mirror: Mirror):
    (replica,) = mirror.candidates("tiny")
    return replica


async def both(shared: World) -> tuple[Mirror, Mirror]:
    one, two = await shared.mirror("one"), await shared.mirror("two")
    await eventually(lambda: one.candidates("tiny") and two.candidates("tiny"))
    return one, two


async def test_a_mirror_knows_what_the_pool_knows_and_follows_it(shared: World) -> None:
    one, two = await both(shared)
    (original,) = shared.pool.replicas()
    for mirror in (one, two):
        replica = only(mirror)
        assert (replica.id, replica.pid, replica.root_url) == (original.id, 42, "http://127.0.0.1:9")
        assert replica.headers == original.headers
        assert mirror.models() == shared.pool.models()
        assert mirror.deployments("tiny") == shared.pool.deployments("tiny")
    await shared.pool.apply([])
    await eventually(lambda: not one.candidates("tiny") and not two.candidates("tiny"))
    assert one.models() == []


async def test_a_replica_is_not_ended_while_another_process_has_requests_there(shared: World) -> None:
    one, _ = await both(shared)
    (original,) = shared.pool.replicas()
    lease = only(one).lease()
    with lease:
        await shared.pool.apply([])
        await eventually(lambda: original.state is ReplicaState.DRAINING)
        await eventually(lambda: original._awaited == {"one"}, "the idle one to say so")
        assert original.state is ReplicaState.DRAINING
    await eventually(lambda: original.state is ReplicaState.STOPPED)


async def test_nor_for_the_sake_of_a_process_that_has_ended(shared: World) -> None:
    one, _ = await both(shared)
    (original,) = shared.pool.replicas()
    with only(one).lease():
        await shared.pool.apply([])
        await eventually(lambda: original._awaited == {"one"})
        shared.announcer.gone("one")
        await eventually(lambda: original.state is ReplicaState.STOPPED)


async def test_a_breaker_that_opens_in_one_process_opens_in_all(shared: World) -> None:
    one, two = await both(shared)
    (original,) = shared.pool.replicas()
    seen = only(two)
    only(one).breaker.failed(CLOCK.monotonic(), retry_after_s=30.0)
    assert one.candidates("tiny") == []
    await eventually(lambda: two.candidates("tiny") == [])
    assert original.breaker.state(CLOCK.monotonic()) is BreakerState.OPEN
    late = await shared.mirror("late")
    assert late.candidates("tiny") == []
    assert seen.breaker.state(CLOCK.monotonic()) is BreakerState.OPEN


async def test_one_process_probes_and_its_verdict_is_everybodys(shared: World) -> None:
    one, two = await both(shared)
    replica = only(one)
    replica.breaker.failed(CLOCK.monotonic())
    await eventually(lambda: two.candidates("tiny") == [])
    await eventually(lambda: one.candidates("tiny"), "a permit to probe")
    assert not await two.able("tiny")
    with replica.lease():
        assert one.candidates("tiny") == []
        assert not await two.able("tiny")
        replica.breaker.succeeded(CLOCK.monotonic())
    assert one.candidates("tiny")
    await eventually(lambda: two.candidates("tiny"))
    assert shared.pool.candidates("tiny")


async def test_a_request_that_finds_the_only_replica_due_for_a_probe_waits_for_its_permit(shared: World) -> None:
    one, _ = await both(shared)
    replica = only(one)
    replica.breaker.failed(CLOCK.monotonic())
    await eventually(lambda: replica.breaker.state(CLOCK.monotonic()) is BreakerState.HALF_OPEN)
    assert await one.able("tiny")
    assert only(one) is replica


@pytest.mark.parametrize("how", ["unused", "without a verdict", "its process ended"])
async def test_a_probe_that_comes_to_nothing_is_anothers(
    shared: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "PERMIT_S", 0.05)
    monkeypatch.setattr(mirror_module, "ASK_AGAIN_S", 0.0)
    one, two = await both(shared)
    replica = only(one)
    replica.breaker.failed(CLOCK.monotonic())
    await eventually(lambda: two.candidates("tiny") == [])
    await eventually(lambda: one.candidates("tiny"))
    if how == "without a verdict":
        with replica.lease():
            pass
    elif how == "its process ended":
        shared.announcer.gone("one")
    await eventually(lambda: two.candidates("tiny"), "the permit of another")


async def test_after_a_lost_link_everything_is_said_anew(shared: World) -> None:
    one, two = await both(shared)
    for peer in shared.hub.peers:
        if peer.name == "one":
            peer.cut()
    only(two).breaker.failed(CLOCK.monotonic(), retry_after_s=30.0)
    await eventually(lambda: one.candidates("tiny") == [], "news of the breaker")
