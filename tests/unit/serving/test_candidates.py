"""Which replicas a request may go to, and in which order."""

import asyncio
from collections.abc import Sequence

import pytest

from surplus.kit.clock import ManualClock
from surplus.serving.breaker import BreakerRules
from surplus.serving.model import ReplicaEvent, ReplicaState
from surplus.serving.ports import Endpoint
from surplus.serving.replica import Replica, in_order
from tests.unit.serving.deployments import embedded, remote

CLOCK = ManualClock()


def ready(name: str, priority: int = 0, clock: ManualClock = CLOCK) -> Replica:
    replica = Replica(name, embedded(priority=priority), clock, BreakerRules(failures=1, cooldown_s=10.0))
    replica.advance(ReplicaEvent.STARTED)
    replica.advance(ReplicaEvent.WARMED)
    return replica


def names(replicas: Sequence[Replica]) -> str:
    return "".join(replica.id for replica in replicas)


def test_lower_priorities_come_first_whatever_they_are_doing() -> None:
    fallback, first = ready("f", priority=5), ready("p", priority=0)
    with first.lease(), first.lease():
        assert names(in_order([fallback, first], 0)) == "pf"


def test_among_equals_the_one_with_the_fewest_requests_comes_first() -> None:
    a, b, c = ready("a"), ready("b"), ready("c")
    with a.lease(), a.lease(), b.lease():
        for turn in range(6):
            assert names(in_order([a, b, c], turn)) == "cba"


def test_idle_equals_take_turns() -> None:
    replicas = [ready("a"), ready("b"), ready("c")]
    assert [names(in_order(replicas, turn))[0] for turn in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_no_replica_and_one_replica() -> None:
    only = ready("a")
    assert in_order([], 7) == []
    assert in_order([only], 7) == [only]


@pytest.mark.parametrize("event", [ReplicaEvent.FAILED, ReplicaEvent.DRAINED])
def test_only_a_ready_replica_takes_requests(event: ReplicaEvent) -> None:
    replica = Replica("r", embedded(), CLOCK)
    assert not replica.takes(0.0)
    replica.advance(ReplicaEvent.STARTED)
    assert not replica.takes(0.0)
    replica.advance(ReplicaEvent.WARMED)
    assert replica.takes(0.0)
    replica.advance(event)
    assert not replica.takes(0.0)


def test_a_lease_counts_and_gives_back_once() -> None:
    replica = ready("r")
    lease = replica.lease()
    assert replica.in_flight == 0
    lease.__enter__()
    with replica.lease():
        assert replica.in_flight == 2
    lease.__exit__(None, None, None)
    lease.__exit__(None, None, None)
    assert replica.in_flight == 0


def test_the_first_lease_after_a_cool_down_is_the_probe() -> None:
    clock = ManualClock()
    replica = ready("r", clock=clock)
    replica.breaker.failed(clock.monotonic())
    assert not replica.takes(clock.monotonic())
    clock.advance(10)
    with replica.lease():
        assert not replica.takes(clock.monotonic())
    assert replica.takes(clock.monotonic()), "it ended without a verdict"


def test_a_restart_closes_the_breaker_and_keeps_the_count() -> None:
    clock = ManualClock()
    replica = ready("r", clock=clock)
    with replica.lease():
        replica.breaker.failed(clock.monotonic())
        for event in (ReplicaEvent.FAILED, ReplicaEvent.RETRIED, ReplicaEvent.STARTED, ReplicaEvent.WARMED):
            replica.advance(event)
        assert replica.state is ReplicaState.READY
        assert replica.takes(clock.monotonic())
        assert replica.in_flight == 1
    assert replica.in_flight == 0


async def test_emptied_waits_for_the_last_request() -> None:
    replica = ready("r")
    await replica.emptied()
    with replica.lease():
        with replica.lease():
            waiting = asyncio.create_task(replica.emptied())
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    async with asyncio.timeout(5):
        await waiting


def test_a_replica_says_where_it_is_and_never_its_key() -> None:
    replica = Replica("r", remote(), CLOCK)
    endpoint = Endpoint("http://127.0.0.1:9/v1", {"authorization": "Bearer s3cret"}, pid=7)
    replica.refresh(endpoint)
    assert (replica.base_url, replica.root_url, replica.pid) == ("http://127.0.0.1:9/v1", "http://127.0.0.1:9", 7)
    assert replica.headers == {"authorization": "Bearer s3cret"}
    assert "s3cret" not in repr(replica) + repr(endpoint)
