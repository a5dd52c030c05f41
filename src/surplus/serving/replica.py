"""One running engine, as a live object: where it is, what state it is in, and what it is doing."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType

from surplus.kit.clock import Clock
from surplus.serving.breaker import DEFAULT_RULES, NO_PROBE, Breaker, BreakerRules
from surplus.serving.model import Deployment, ReplicaEvent, ReplicaState, advance
from surplus.serving.ports import Endpoint


class Replica:
    """An engine that runs, or is about to.

    `breaker` is told by whoever sends requests what came of them; `lease` tells it when they begin and end. `error` is
    the last failure, in words for the operator; `restarts` counts failures since the beginning, `starts` how often its
    engine came up; `since` is when the present state began (monotonic seconds); `pid` is set where the process is ours.

    `in_flight` are the requests of this process; `elsewhere` are those of others by their names, as last heard.
    """

    def __init__(
        self,
        replica_id: str,
        deployment: Deployment,
        clock: Clock,
        rules: BreakerRules = DEFAULT_RULES,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = replica_id
        self.deployment = deployment
        self.tokenizer = deployment.engine.owned
        self.state = ReplicaState.STARTING
        self.since = clock.monotonic()
        self.error: str | None = None
        self.restarts = 0
        self.starts = 0
        self.in_flight = 0
        self.elsewhere: dict[str, int] = {}
        self.breaker = Breaker(rules)
        self._clock = clock
        self._rules = rules
        self._changed = changed
        self._awaited: set[str] = set()
        self._emptied: asyncio.Event | None = None
        self._endpoint = Endpoint("", {})
        self._move(self._endpoint)

    def __repr__(self) -> str:
        return f"<Replica {self.id} of {self.deployment.id}: {self.state}, {self.in_flight} in flight>"

    def refresh(self, endpoint: Endpoint) -> None:
        """Take over where the engine is, and its present key."""
        if endpoint != self._endpoint:
            self._move(endpoint)
            self._changed()

    def _move(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.base_url = endpoint.base_url
        self.root_url = endpoint.root_url
        self.headers: Mapping[str, str] = endpoint.headers
        self.pid = endpoint.pid

    def advance(self, event: ReplicaEvent) -> None:
        """Go to the next state. Raises IllegalTransition. A new start is a clean sheet for the breaker."""
        self.state = advance(self.state, event)
        self.since = self._clock.monotonic()
        if event is ReplicaEvent.STARTED:
            self.starts += 1
            self.breaker = Breaker(self._rules)
        self._changed()

    def takes(self, now: float) -> bool:
        """Whether a request may be sent to it at `now` (monotonic seconds)."""
        return self.state is ReplicaState.READY and self.breaker.allows(now)

    def lease(self) -> "Lease":
        """Counts one request as in flight from entering to leaving."""
        return Lease(self, self._clock)

    async def emptied(self) -> None:
        """Wait until no request is in flight, here or in a process that is awaited."""
        while self.in_flight or self._awaited:
            self._emptied = asyncio.Event()
            await self._emptied.wait()

    def left(self) -> None:
        """One request is over; for Lease."""
        self.in_flight -= 1
        self._look_whether_empty()

    def await_elsewhere(self, names: Iterable[str]) -> None:
        """These processes may have requests here, until they say `left_elsewhere`."""
        self._awaited.update(names)

    def left_elsewhere(self, name: str) -> None:
        """That process has no more requests here, or has ended."""
        self._awaited.discard(name)
        self.elsewhere.pop(name, None)
        self._look_whether_empty()

    def _look_whether_empty(self) -> None:
        if not self.in_flight and not self._awaited and self._emptied is not None:
            self._emptied.set()


class Lease:
    """One request on one replica. Leaving twice is leaving once."""

    __slots__ = ("_breaker", "_claim", "_clock", "_held", "_replica")

    def __init__(self, replica: Replica, clock: Clock) -> None:
        self._replica = replica
        self._clock = clock
        self._breaker = replica.breaker  # a restarted replica has a new one, which knows nothing of our claim
        self._claim = NO_PROBE
        self._held = False

    def __enter__(self) -> Replica:
        self._claim = self._breaker.started(self._clock.monotonic())
        self._replica.in_flight += 1
        self._held = True
        return self._replica

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:
            self._held = False
            self._breaker.ended(self._claim)
            self._replica.left()


def in_order(replicas: Sequence[Replica], turn: int) -> list[Replica]:
    """By priority, then fewest requests in flight; equals take turns, `turn` counting up with every call."""
    if len(replicas) < 2:
        return list(replicas)
    first = turn % len(replicas)
    return sorted([*replicas[first:], *replicas[:first]], key=_preference)


def _preference(replica: Replica) -> tuple[int, int]:
    return replica.deployment.priority, replica.in_flight
