"""All replicas of this server: which ones there should be, which ones can take a request, and their supervision."""

import asyncio
from collections.abc import Callable, Sequence

from surplus.kit.clock import Clock
from surplus.kit.ids import Ids
from surplus.serving.breaker import DEFAULT_RULES, BreakerRules
from surplus.serving.model import Deployment, ModelInfo, ReplicaState
from surplus.serving.ports import Engine
from surplus.serving.replica import Lease, Replica, in_order
from surplus.serving.supervisor import DEFAULT_PATIENCE, Patience, Supervisor

__all__ = ["Lease", "Pool", "Replica"]

_Place = tuple[str, int]
"""Which of a deployment's replicas: its id, and a number from 0."""


class Pool:
    """The replicas of all deployments. `apply` says what should run; `run` makes it so until `stop`.

    `make_engine` gives a replica its engine; `jitter` gives numbers from 0 to 1.
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
    ) -> None:
        self._make_engine = make_engine
        self._ids = ids
        self._clock = clock
        self._jitter = jitter
        self._patience = patience
        self._breaker_rules = breaker_rules
        self._turn = 0
        self._deployments: dict[str, list[Deployment]] = {}
        self._by_model: dict[str, list[Replica]] = {}
        self._wanted: dict[_Place, Supervisor] = {}
        self._leaving: set[Supervisor] = set()
        self._unborn: list[Supervisor] = []
        self._changed = asyncio.Event()
        self._stopping = False
        self._running = False
        self._stopped = asyncio.Event()

    def candidates(self, model: str, *, embeddings: bool = False) -> list[Replica]:
        """Replicas that can take a request for `model` now, the best first; `embeddings` asks for that ability."""
        now = self._clock.monotonic()
        able = [
            replica
            for replica in self._by_model.get(model, ())
            if replica.takes(now) and (replica.deployment.embeddings or not embeddings)
        ]
        self._turn += 1
        return in_order(able, self._turn)

    def models(self) -> list[ModelInfo]:
        """Every model that has a deployment, whether or not a replica of it is ready, by name."""
        return [self._info(model) for model in sorted(self._deployments)]

    def deployments(self, model: str) -> list[Deployment]:
        """All deployments of a model that are not draining, the preferred one first; [] for an unknown model."""
        return list(self._deployments.get(model, ()))

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
        self._deployments = {}
        for deployment in sorted(alive, key=lambda each: (each.priority, each.created_at, each.id)):
            self._deployments.setdefault(deployment.model, []).append(deployment)
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
        replica = Replica(self._ids.new("replica"), deployment, self._clock, self._breaker_rules)
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
        self._by_model = {}
        for supervisor in self._wanted.values():
            self._by_model.setdefault(supervisor.replica.deployment.model, []).append(supervisor.replica)

    def _info(self, model: str) -> ModelInfo:
        deployments = self._deployments[model]
        return ModelInfo(
            id=model,
            created=min(deployment.created_at for deployment in deployments),
            context=deployments[0].context,
            embeddings=any(deployment.embeddings for deployment in deployments),
            ready=any(replica.state is ReplicaState.READY for replica in self._by_model.get(model, ())),
        )
