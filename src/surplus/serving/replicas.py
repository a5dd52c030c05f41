"""All replicas of this server: which ones there should be, which ones can take a request, and their supervision."""

import asyncio
from collections.abc import Callable, Sequence

from surplus.kit.clock import Clock
from surplus.kit.ids import Ids
from surplus.serving.breaker import DEFAULT_RULES, BreakerRules
from surplus.serving.directory import Directory
from surplus.serving.model import Deployment
from surplus.serving.ports import Engine
from surplus.serving.replica import Lease, Replica
from surplus.serving.supervisor import DEFAULT_PATIENCE, Patience, Supervisor

__all__ = ["Lease", "Pool", "Replica"]

_Place = tuple[str, int]
"""Which of a deployment's replicas: its id, and a number from 0."""


class Pool(Directory):
    """The replicas of all deployments. `apply` says what should run; `run` makes it so until `stop`.

    `make_engine` gives a replica its engine; `jitter` gives numbers from 0 to 1; `changed` is called after each change
    that others may want to know of.
    """

    def __init__(
        self,
        make_engine: Callable[[Deployment], Engine],
        *,
        ids: Ids,
        clock: Clock,
        jitter: Callable[[], float],
        patience: Patience = DEFAULT_PATIENCE,
        breaker_rules: BreakerRules = DEFAULT_RULES,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(clock)
        self._make_engine = make_engine
        self._ids = ids
        self._jitter = jitter
        self._patience = patience
        self._breaker_rules = breaker_rules
        self._told = changed
        self._alive: list[Deployment] = []
        self._wanted: dict[_Place, Supervisor] = {}
        self._leaving: set[Supervisor] = set()
        self._unborn: list[Supervisor] = []
        self._changed = asyncio.Event()
        self._stopping = False
        self._running = False
        self._stopped = asyncio.Event()

    def replicas(self) -> list[Replica]:
        """Every replica, also those that are leaving."""
        return [supervisor.replica for supervisor in (*self._wanted.values(), *self._leaving)]

    async def apply(self, deployments: Sequence[Deployment]) -> None:
        """Make these the deployments that run.

        What is missing is started; what is gone or draining takes no more requests from now on, and ends when those in
        flight have, or after the patience for drains; the rest is left alone. Returns before all that has happened.
        """
        if self._stopping:
            return
        alive = [deployment for deployment in deployments if not deployment.draining]
        wanted = {(each.id, number): each for each in alive for number in range(each.replicas)}
        for place in self._wanted.keys() - wanted.keys():
            self._drain(place, self._patience.drain_s)
        for place, deployment in wanted.items():
            if place not in self._wanted:
                self._wanted[place] = self._newborn(deployment)
        self._alive = alive
        self._index()
        self._changed.set()

    async def run(self) -> None:
        """Supervise until `stop`. Cancelling it stops every engine by force, with whatever is in flight."""
        self._running = True
        try:
            async with asyncio.TaskGroup() as lives:
                while not self._stopping:
                    self._changed.clear()
                    for supervisor in self._unborn:
                        lives.create_task(self._live(supervisor))
                    self._unborn.clear()
                    await self._changed.wait()
        finally:
            self._running = False
            self._stopped.set()

    async def stop(self, drain_s: float) -> None:
        """Drain everything, waiting at most `drain_s` seconds for requests in flight; then `run` returns."""
        self._stopping = True
        for place in list(self._wanted):
            self._drain(place, drain_s)
        for supervisor in self._leaving:
            supervisor.drain(drain_s)
        self._index()
        self._changed.set()
        if self._running:
            await self._stopped.wait()

    def _newborn(self, deployment: Deployment) -> Supervisor:
        replica = Replica(self._ids.new("replica"), deployment, self._clock, self._breaker_rules, self._told)
        engine = self._make_engine(deployment)
        supervisor = Supervisor(replica, engine, clock=self._clock, jitter=self._jitter, patience=self._patience)
        self._unborn.append(supervisor)
        return supervisor

    def _drain(self, place: _Place, drain_s: float) -> None:
        supervisor = self._wanted.pop(place)
        if supervisor in self._unborn:
            self._unborn.remove(supervisor)
            return
        self._leaving.add(supervisor)
        supervisor.drain(drain_s)

    async def _live(self, supervisor: Supervisor) -> None:
        await supervisor.run()
        self._leaving.discard(supervisor)

    def _index(self) -> None:
        self._list(self._alive, [supervisor.replica for supervisor in self._wanted.values()])
        self._told()
