"""Keeps one replica alive: start, warm, watch, try again after a failure; and drain when it is no longer wanted."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from surplus.kit.clock import Clock
from surplus.serving.backoff import DEFAULT_RULES, Backoff, BackoffRules
from surplus.serving.errors import EngineFailed
from surplus.serving.model import ReplicaEvent, ReplicaState
from surplus.serving.ports import Engine
from surplus.serving.replica import Replica

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long things may take (seconds), and how often a health check may fail in a row."""

    start_s: float = 300.0
    warm_s: float = 60.0
    probe_every_s: float = 2.0
    provider_probe_every_s: float = 30.0
    probe_s: float = 2.0
    provider_probe_s: float = 10.0
    probe_failures: int = 3
    drain_s: float = 30.0
    kill_grace_s: float = 5.0
    backoff: BackoffRules = DEFAULT_RULES


DEFAULT_PATIENCE: Final = Patience()


class Supervisor:
    """One replica's life. `run` is it; `drain` ends it."""

    def __init__(
        self, replica: Replica, engine: Engine, *, clock: Clock, jitter: Callable[[], float], patience: Patience
    ) -> None:
        self.replica = replica
        self._engine = engine
        self._clock = clock
        self._patience = patience
        self._backoff = Backoff(jitter, patience.backoff)
        self._drain_asked = asyncio.Event()
        self._drain_by = float("inf")
        self._drain_limit: asyncio.Timeout | None = None
        owned = replica.deployment.engine.owned
        self._probe_every_s = patience.probe_every_s if owned else patience.provider_probe_every_s
        self._probe_s = patience.probe_s if owned else patience.provider_probe_s

    def drain(self, drain_s: float) -> None:
        """Take no new requests, and end when those in flight have, or after `drain_s` seconds. Only ever sooner."""
        self._drain_by = min(self._drain_by, asyncio.get_running_loop().time() + drain_s)
        self._drain_asked.set()
        if self._drain_limit is not None:
            self._drain_limit.reschedule(self._drain_by)

    async def run(self) -> None:
        """Serve until drained. Cancelling it stops the engine by force."""
        grace_s = 0.0
        try:
            await self._until_drain()
            self._advance(ReplicaEvent.DRAINED)
            await self._empty()
            grace_s = self._patience.kill_grace_s
        finally:
            await self._engine.stop(grace_s)
        self._advance(ReplicaEvent.ENDED)

    async def _until_drain(self) -> None:
        serving = asyncio.create_task(self._serve())
        asked = asyncio.create_task(self._drain_asked.wait())
        try:
            await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()  # it never ends by itself: this raises a fault of ours
        finally:
            asked.cancel()
            serving.cancel()
            await asyncio.wait({serving, asked})

    async def _empty(self) -> None:
        try:
            async with asyncio.timeout_at(self._drain_by) as self._drain_limit:
                await self.replica.emptied()
        except TimeoutError:
            in_flight = self.replica.in_flight
            log.warning("a drain took too long; its requests are cut off", extra=self._fields(in_flight=in_flight))
        finally:
            self._drain_limit = None

    async def _serve(self) -> None:
        while True:
            healthy_since = float("inf")
            try:
                await self._start()
                healthy_since = self._clock.monotonic()
                await self._watch()
            except EngineFailed as failure:
                self._failed(failure)
                await self._engine.stop(0.0)
            wait_s = self._backoff.after_failure(self._clock.monotonic() - healthy_since)
            await asyncio.sleep(wait_s)
            self._advance(ReplicaEvent.RETRIED)

    async def _start(self) -> None:
        self.replica.refresh(await self._engine.start(self._patience.start_s))
        self._advance(ReplicaEvent.STARTED)
        await self._engine.warm(self._patience.warm_s)
        self._advance(ReplicaEvent.WARMED)
        self.replica.error = None

    async def _watch(self) -> None:
        """Returns never: raises EngineFailed when the engine ends, or fails several health checks in a row."""
        ended = asyncio.create_task(self._engine.ended())
        failures = 0
        try:
            while True:
                await asyncio.wait({ended}, timeout=self._probe_every_s)
                if ended.done():
                    raise EngineFailed(ended.result())
                try:
                    self.replica.refresh(await self._engine.probe(self._probe_s))
                    failures = 0
                except EngineFailed:
                    failures += 1
                    if failures >= self._patience.probe_failures and not ended.done():
                        raise
        finally:
            ended.cancel()
            await asyncio.wait({ended})

    def _failed(self, failure: EngineFailed) -> None:
        self.replica.error = failure.message
        self.replica.restarts += 1
        self._advance(ReplicaEvent.FAILED)
        log.warning("a replica failed", extra=self._fields(error=failure.message, restarts=self.replica.restarts))

    def _advance(self, event: ReplicaEvent) -> None:
        self.replica.advance(event)
        if self.replica.state in {ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.STOPPED}:
            log.info("a replica changed state", extra=self._fields(state=self.replica.state))

    def _fields(self, **fields: object) -> dict[str, dict[str, object]]:
        deployment = self.replica.deployment
        about = {"replica": self.replica.id, "deployment": deployment.id, "model": deployment.model}
        return {"fields": {**about, **fields}}
