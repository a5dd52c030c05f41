"""What can answer now: deployments and replicas by model, whoever looks after the engines."""

from collections.abc import Iterable

from surplus.kit.clock import Clock
from surplus.serving.model import Deployment, ModelInfo, ReplicaState
from surplus.serving.replica import Replica, in_order


class Directory:
    """Finds replicas for requests. Nothing is in it until `_list` says what is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turn = 0
        self._deployments: dict[str, list[Deployment]] = {}
        self._by_model: dict[str, list[Replica]] = {}

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

    async def able(self, model: str, *, embeddings: bool = False) -> bool:
        """Whether there are candidates, or will be in a moment."""
        return bool(self.candidates(model, embeddings=embeddings))

    def models(self) -> list[ModelInfo]:
        """Every model that has a deployment, whether or not a replica of it is ready, by name."""
        return [self._info(model) for model in sorted(self._deployments)]

    def deployments(self, model: str) -> list[Deployment]:
        """All deployments of a model that are not draining, the preferred one first; [] for an unknown model."""
        return list(self._deployments.get(model, ()))

    def listed(self) -> list[Replica]:
        """Every replica that may become a candidate: not those that are leaving."""
        return [replica for replicas in self._by_model.values() for replica in replicas]

    def _list(self, deployments: Iterable[Deployment], replicas: Iterable[Replica]) -> None:
        """From now on there are these; `deployments` are not draining, `replicas` not leaving."""
        self._deployments, self._by_model = {}, {}
        for deployment in sorted(deployments, key=lambda each: (each.priority, each.created_at, each.id)):
            self._deployments.setdefault(deployment.model, []).append(deployment)
        for replica in replicas:
            self._by_model.setdefault(replica.deployment.model, []).append(replica)

    def _info(self, model: str) -> ModelInfo:
        deployments = self._deployments[model]
        return ModelInfo(
            id=model,
            created=min(deployment.created_at for deployment in deployments),
            context=deployments[0].context,
            embeddings=any(deployment.embeddings for deployment in deployments),
            ready=any(replica.state is ReplicaState.READY for replica in self._by_model.get(model, ())),
        )
