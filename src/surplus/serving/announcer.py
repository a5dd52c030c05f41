"""Tells the processes that send requests what the pool knows, and hears from them how its replicas do."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from surplus.kit.clock import Clock
from surplus.kit.link import Hub, Peer
from surplus.serving import news
from surplus.serving.breaker import NO_PROBE, Breaker, BreakerState
from surplus.serving.model import ReplicaState
from surplus.serving.replica import Replica
from surplus.serving.replicas import Pool


@dataclass(frozen=True, slots=True)
class _Probe:
    """The one probe that may be under way to a replica: who sends it, and what the breaker knows it by."""

    name: str
    breaker: Breaker
    claim: int


class Announcer:
    """One pool, announced on a hub: `changed` is for the pool to call, the rest for the hub."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool: Pool | None = None
        self._hub: Hub | None = None
        self._due = False
        self._draining: set[str] = set()
        self._probes: dict[str, _Probe] = {}

    def begin(self, pool: Pool, hub: Hub) -> None:
        """From now on `changed` has something to tell, and someone to tell it to."""
        self._pool, self._hub = pool, hub
        self.changed()

    def changed(self) -> None:
        """Something has changed in the pool; all changes of one turn of the loop are told together."""
        if self._pool is None or self._hub is None:
            return
        draining = {each.id: each for each in self._pool.replicas() if each.state is ReplicaState.DRAINING}
        for name in draining.keys() - self._draining:  # whoever knows it may have sent it a request just now
            draining[name].await_elsewhere(peer.name for peer in self._hub.peers)
        self._draining = set(draining)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._announce)

    def joined(self, peer: Peer) -> None:
        """A process has connected: it hears everything."""
        peer.push(news.POOL, self._news())

    def gone(self, name: str) -> None:
        """A process has ended: nothing of it is at any replica."""
        for replica in self._replicas():
            replica.left_elsewhere(name)
        for replica, probe in list(self._probes.items()):
            if probe.name == name:
                self._end_probe(replica)

    def in_flight(self, name: str, counts: dict[str, int]) -> None:
        """So many requests of a process are at replicas, by their ids."""
        for replica in self._replicas():
            replica.elsewhere[name] = counts.get(replica.id, 0)

    def probe(self, peer: Peer, payload: bytes) -> bytes:
        """Replies to `news.PROBE`."""
        replica = self._find(payload)
        now = self._clock.monotonic()
        if replica is None or replica.breaker.state(now) is BreakerState.CLOSED:
            return news.encode(news.ProbeAnswer(granted=False, closed=replica is not None))
        claim = replica.breaker.started(now)
        if claim != NO_PROBE:
            self._probes[replica.id] = _Probe(peer.name, replica.breaker, claim)
        return news.encode(news.ProbeAnswer(granted=claim != NO_PROBE, closed=False))

    def returned(self, peer: Peer, payload: bytes) -> None:
        """Hears `news.RETURNED`."""
        probe = self._probes.get(payload.decode())
        if probe is not None and probe.name == peer.name:
            self._end_probe(payload.decode())

    def breaker(self, peer: Peer, payload: bytes) -> None:
        """Hears `news.BREAKER`, and tells everyone else."""
        told = news.breaker_news(payload)
        replica = self._find(told.replica.encode())
        if replica is None or self._hub is None:
            return
        if told.open_for_s is None:
            replica.breaker.closed_elsewhere()
        else:
            replica.breaker.opened_elsewhere(self._clock.monotonic() + told.open_for_s, told.openings)
        self._hub.push(news.BREAKER, payload, but=peer)

    def left(self, peer: Peer, payload: bytes) -> None:
        """Hears `news.LEFT`."""
        replica = self._find(payload)
        if replica is not None:
            replica.left_elsewhere(peer.name)

    def _end_probe(self, replica: str) -> None:
        probe = self._probes.pop(replica)
        probe.breaker.ended(probe.claim)

    def _replicas(self) -> Iterable[Replica]:
        return () if self._pool is None else self._pool.replicas()

    def _find(self, payload: bytes) -> Replica | None:
        wanted = payload.decode()
        return next((replica for replica in self._replicas() if replica.id == wanted), None)

    def _announce(self) -> None:
        self._due = False
        if self._hub is not None:
            self._hub.push(news.POOL, self._news())

    def _news(self) -> bytes:
        pool = self._pool
        if pool is None:
            return news.encode(news.PoolNews([], []))
        listed = {replica.id for replica in pool.listed()}
        deployments = [deployment for model in pool.models() for deployment in pool.deployments(model.id)]
        replicas = [self._of(replica, listed=replica.id in listed) for replica in pool.replicas()]
        return news.encode(news.PoolNews(deployments, replicas))

    def _of(self, replica: Replica, *, listed: bool) -> news.ReplicaNews:
        until = replica.breaker.open_until
        return news.ReplicaNews(
            id=replica.id,
            deployment=replica.deployment,
            state=replica.state,
            starts=replica.starts,
            listed=listed,
            base_url=replica.base_url,
            headers=dict(replica.headers),
            pid=replica.pid,
            open_for_s=None if until is None else max(0.0, until - self._clock.monotonic()),
            openings=replica.breaker.openings,
        )
