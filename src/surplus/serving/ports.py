"""The port to an engine: how a replica is started, watched and stopped, whatever it runs on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an engine answers. `base_url` ends in `/v1`; `headers` carry its key; `pid` is that of our own process."""

    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    pid: int | None = None

    @property
    def root_url(self) -> str:
        """The engine's own surface: `/health`, `/tokenize`, `/metrics`."""
        return self.base_url.removesuffix("/v1")


class Engine(Protocol):
    """One engine. Its supervisor makes one call at a time (but for `ended`); after `stop`, `start` may come again.

    Every failure is an EngineFailed whose message is fit for the operator; EngineMisconfigured where waiting alone will
    not help. No message holds a key.
    """

    async def start(self, within_s: float) -> Endpoint:
        """Bring it up; returns when it says it is healthy. Raises EngineFailed, after `within_s` seconds at the latest.

        A start that failed or was cancelled may leave things behind until `stop` is called.
        """
        ...

    async def warm(self, within_s: float) -> None:
        """Make it ready for its first request, where that costs us nothing. Raises EngineFailed."""
        ...

    async def probe(self, within_s: float) -> Endpoint:
        """Ask whether it is healthy; returns the endpoint, whose key may have changed. Raises EngineFailed."""
        ...

    async def ended(self) -> str:
        """Wait until it has ended by itself, and say how; for ever where that cannot be seen."""
        ...

    async def stop(self, grace_s: float) -> None:
        """End what is ours of it: politely, and after `grace_s` seconds by force. Harmless when nothing runs."""
        ...
