"""The workers as the control process sees them: how they are, what they count, and whether they have followed."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from surplus.bootstrap.instructions import worker_name
from surplus.bootstrap.parts import RESTARTS, WORKERS
from surplus.gateway.refresh import Refresh
from surplus.gateway.standing import Standing
from surplus.gateway.worker import channels
from surplus.gateway.worker.limits import LimitsDesk
from surplus.gateway.worker.standing import WorkerStanding
from surplus.kit.children import Child, Children
from surplus.kit.clock import Clock
from surplus.kit.link import Hub, Peer
from surplus.kit.metrics import Merged
from surplus.serving.announcer import Announcer

FOLLOW_S: Final = 1.0
"""How long a change waits for workers to follow; one that does not is found out by its next look at the database."""
SILENT_S: Final = 5.0
RECALL_EVERY_S: Final = 0.02


@dataclass(kw_only=True, eq=False)
class Fleet(Collector):
    """`hub` and `children` are set when they are there. It is also the metrics of all of them."""

    clock: Clock
    refresh: Refresh
    announcer: Announcer
    limits: LimitsDesk
    merged: Merged
    hub: Hub = field(init=False)
    children: Children = field(init=False)
    draining: bool = False
    standing: Standing = field(default_factory=Standing)
    _reports: dict[str, tuple[channels.Report, float]] = field(default_factory=dict[str, tuple[channels.Report, float]])
    _looks: int = 0
    _following: dict[int, set[str]] = field(default_factory=dict[int, set[str]])
    _followed: asyncio.Event = field(default_factory=asyncio.Event)
    _recalled_at: float = 0.0

    # ---- what workers say

    def joined(self, peer: Peer) -> None:
        """A worker has connected."""
        self.announcer.joined(peer)
        peer.push(channels.STANDING, channels.encode(self.standing))

    def left(self, peer: Peer) -> None:
        """The link to a worker is lost; it may come back."""
        self._has_followed(peer.name, self._looks)

    def report(self, peer: Peer, payload: bytes) -> bytes:
        """Replies to REPORT, with nothing."""
        told = channels.report(payload)
        self._reports[peer.name] = told, self.clock.monotonic()
        self.announcer.in_flight(peer.name, told.replicas)
        self.merged.hear(peer.name, told.metrics)
        return b""

    def reported(self, peer: Peer, payload: bytes) -> None:
        """Hears REPORT."""
        self.report(peer, payload)

    def looked(self, peer: Peer, payload: bytes) -> None:
        """Hears LOOKED."""
        self._has_followed(peer.name, channels.number(payload))

    def ended(self, child: Child) -> None:
        """A worker's process has ended: what it had is free."""
        name = worker_name(child.number, child.pid)
        self._reports.pop(name, None)
        self.merged.retire(name)
        self.limits.gone(name)
        self.announcer.gone(name)

    # ---- what is said to them

    async def follow(self) -> None:
        """Facts have changed: take them up here and in every worker. Raises StoreUnavailable.

        Returns when all have followed, or after a while: one that cannot be reached looks for itself.
        """
        await self.refresh.now()
        names = {peer.name for peer in self.hub.peers}
        if not names:
            return
        self._looks += 1
        number = self._looks
        self._following[number] = names
        self.hub.push(channels.LOOK, channels.encode(number))
        try:
            async with asyncio.timeout(FOLLOW_S):
                while self._following[number]:
                    self._followed.clear()
                    await self._followed.wait()
        except TimeoutError:
            pass
        finally:
            del self._following[number]

    def recall(self) -> None:
        """Money is asked back from slices: have workers look at once, and not more often than it pays."""
        now = self.clock.monotonic()
        if now >= self._recalled_at + RECALL_EVERY_S:
            self._recalled_at = now
            self._looks += 1
            self.hub.push(channels.LOOK, channels.encode(self._looks))

    def tell_standing(self, standing: Standing) -> None:
        """The books stand like this."""
        self.standing = standing
        self.hub.push(channels.STANDING, channels.encode(standing))

    def _has_followed(self, name: str, number: int) -> None:
        for wanted, names in self._following.items():
            if wanted <= number:
                names.discard(name)
        self._followed.set()

    # ---- how they are

    def describe(self) -> Iterable[Metric]:
        """Nothing yet: the workers know what there is."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The metrics of all workers together, and those of this process."""
        yield GaugeMetricFamily("surplus_workers", WORKERS, value=len(self.children.alive))
        restarts = self.children.restarts
        yield CounterMetricFamily("surplus_worker_restarts", RESTARTS, value=restarts)
        yield from self.merged.collect()

    def workers(self) -> list[WorkerStanding]:
        """Every worker that runs, by number."""
        return [self._worker(child) for _, child in sorted(self.children.alive.items())]

    def not_ready(self) -> list[str]:
        """Why this server should get no requests now; nothing as long as one worker takes them."""
        reasons: list[str] = ["shutting down"] if self.draining else []
        if self.refresh.stale:
            reasons.append("the database does not answer")
        workers = self.workers()
        if not any(worker.ready for worker in workers):
            reasons += [f"worker {worker.number}: {'; '.join(worker.why)}" for worker in workers] or ["no worker runs"]
        return reasons

    @property
    def in_flight(self) -> int:
        """Requests being served by all workers, as they last said."""
        return sum(told.in_flight for told, _ in self._reports.values())

    @property
    def journal_lag_bytes(self) -> int:
        """What is not in the database yet of all workers' journals, as they last said."""
        return sum(told.journal_lag_bytes for told, _ in self._reports.values())

    def _worker(self, child: Child) -> WorkerStanding:
        told, at = self._reports.get(worker_name(child.number, child.pid), (None, 0.0))
        if told is None:
            return WorkerStanding(number=child.number, pid=child.pid, why=("starting",))
        silent = self.clock.monotonic() - at > SILENT_S
        return WorkerStanding(
            number=child.number,
            pid=child.pid,
            why=("it says nothing",) if silent else tuple(told.why),
            in_flight=told.in_flight,
            journal_lag_bytes=told.journal_lag_bytes,
        )
