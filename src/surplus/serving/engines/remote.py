"""Engines that somebody else starts and stops: our own behind a URL, and other providers."""

import asyncio
from collections.abc import Mapping
from typing import Final

from surplus.serving.engines.credentials import Credential
from surplus.serving.engines.http import ask
from surplus.serving.errors import EngineFailed, EngineMisconfigured
from surplus.serving.model import Deployment
from surplus.serving.ports import Endpoint
from surplus.serving.upstream import Upstream

_REFUSED: Final = frozenset({401, 403})


class RemoteEngine:
    """Watched, never started or stopped: "up" is an answer to a health check."""

    def __init__(self, deployment: Deployment, *, upstream: Upstream, environment: Mapping[str, str]) -> None:
        assert deployment.url is not None
        self._url = deployment.url
        self._kind = deployment.engine
        self._credential = Credential(deployment, environment)
        self._upstream = upstream

    async def start(self, within_s: float) -> Endpoint:
        return await self.probe(within_s)

    async def warm(self, within_s: float) -> None:
        """Nothing: whoever started it has warmed it, and a provider's tokens cost money."""

    async def probe(self, within_s: float) -> Endpoint:
        endpoint = Endpoint(self._url, self._credential.headers())
        if self._kind.owned:
            url, path = endpoint.root_url, "/health"
        else:
            url, path = endpoint.base_url, "/models"
        try:
            async with asyncio.timeout(within_s):
                said = await ask(self._upstream, url, path, headers=endpoint.headers, within_s=within_s)
        except TimeoutError as error:
            raise EngineFailed(f"{url}{path} gave no answer within {within_s:g} s") from error
        if said.status in _REFUSED:
            hint = "check the key that key_env or key_file names"
            raise EngineMisconfigured(f"{url}{path} answered {said.status}: it does not accept our key; {hint}")
        if said.status != 200 and (self._kind.owned or said.status >= 500):
            # A provider that has no list of models, or limits how often it is asked, still answers: it is up.
            raise EngineFailed(f"{url}{path} answered {said.status}; the engine is not healthy")
        return endpoint

    async def ended(self) -> str:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def stop(self, grace_s: float) -> None:
        """Nothing: it is not ours to stop."""
