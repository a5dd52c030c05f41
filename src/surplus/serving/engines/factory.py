"""Chooses the engine of a deployment."""

from collections.abc import Mapping

from surplus.kit.ids import Ids
from surplus.serving.engines.llamacpp import LlamaCpp, LlamaSettings
from surplus.serving.engines.remote import RemoteEngine
from surplus.serving.model import Deployment
from surplus.serving.ports import Engine
from surplus.serving.upstream import Upstream


class Engines:
    """Makes engines. `environment` is where keys named by `key_env` are looked up."""

    def __init__(
        self, *, upstream: Upstream, ids: Ids, environment: Mapping[str, str], llama: LlamaSettings | None = None
    ) -> None:
        self._upstream = upstream
        self._ids = ids
        self._environment = environment
        self._llama = llama or LlamaSettings()

    def __call__(self, deployment: Deployment) -> Engine:
        """A new engine for one replica; nothing is started yet."""
        if deployment.engine.embedded:
            return LlamaCpp(deployment, upstream=self._upstream, ids=self._ids, settings=self._llama)
        return RemoteEngine(deployment, upstream=self._upstream, environment=self._environment)
