"""The pool as a process sees it that only sends requests: its replicas are looked after elsewhere."""

import asyncio
from typing import Final

from surplus.kit.clock import Clock
from surplus.kit.link import Link, LinkLost
from surplus.serving import news
from surplus.serving.breaker import DEFAULT_RULES, Breaker, BreakerRules
from surplus.serving.directory import Directory
from surplus.serving.joint_breaker import JointBreaker
from surplus.serving.model import ReplicaState
from surplus.serving.ports import Endpoint
from surplus.serving.replica import Replica

PERMIT_S: Final = 1.0
"""How long a permit to send a probe waits for a request to send; then another process may have it."""
ASK_AGAIN_S: Final = 0.25


class Mirror(Directory):
    """Follows the news that come over a link."""

    def __init__(self, clock: Clock, breaker_rules: BreakerRules = DEFAULT_RULES) -> None:
        super().__init__(clock)
        self._rules = breaker_rules
        self._link: Link | None = None
        self._known: dict[str, Replica] = {}
        self._anew = True
        self._refused_at: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}

    def begin(self, link: Link) -> None:
        """Use this link to ask and to tell."""
        self._link = link

    def lost(self) -> None:
        """The link was lost: what comes next over it is said anew, breakers included."""
        self._anew = True

    def replicas(self) -> list[Replica]:
        """Every replica that is known here."""
        return list(self._known.values())

    async def able(self, model: str, *, embeddings: bool = False) -> bool:
        if self.candidates(model, embeddings=embeddings):
            return True
        asking = [task for each in self._by_model.get(model, ()) if (task := self._asking.get(each.id)) is not None]
        if asking:  # the only replicas there are may be due for a probe
            await asyncio.wait(asking)
        return bool(self.candidates(model, embeddings=embeddings))

    def hear(self, payload: bytes) -> None:
        """Hears `news.POOL`."""
        told = news.pool_news(payload)
        known = {each.id: self._follow(each) for each in told.replicas}
        self._known, self._anew = known, False
        self._list(told.deployments, [known[each.id] for each in told.replicas if each.listed])
        for name, replica in known.items():
            if replica.state is ReplicaState.DRAINING and name not in self._leaving:
                self._leaving[name] = asyncio.create_task(self._leave(replica))
                self._leaving[name].add_done_callback(lambda _task, name=name: self._leaving.pop(name))

    def hear_breaker(self, payload: bytes) -> None:
        """Hears `news.BREAKER`."""
        told = news.breaker_news(payload)
        replica = self._known.get(told.replica)
        if replica is not None:
            self._set_breaker(replica.breaker, told.open_for_s, told.openings)

    def _follow(self, told: news.ReplicaNews) -> Replica:
        replica = self._known.get(told.id)
        if replica is None:
            replica = Replica(told.id, told.deployment, self._clock, self._rules)
        if self._anew or told.starts != replica.starts or told.id not in self._known:
            replica.breaker = self._breaker(told.id)
            self._set_breaker(replica.breaker, told.open_for_s, told.openings)
        replica.state, replica.starts = told.state, told.starts
        replica.refresh(Endpoint(told.base_url, told.headers, told.pid))
        return replica

    def _breaker(self, replica: str) -> JointBreaker:
        return JointBreaker(self._rules, replica, link=lambda: self._link, ask=self._ask)

    def _set_breaker(self, breaker: Breaker, open_for_s: float | None, openings: int) -> None:
        if open_for_s is None:
            breaker.closed_elsewhere()
        else:
            breaker.opened_elsewhere(self._clock.monotonic() + open_for_s, openings)

    async def _leave(self, replica: Replica) -> None:
        """Say when the last request of ours has left a replica that is draining; asked again, it is said again."""
        await replica.emptied()
        if self._link is not None:
            self._link.tell(news.LEFT, replica.id.encode())

    def _ask(self, replica: str, now: float) -> None:
        """Ask for a permit to send the probe, unless that was refused just now."""
        if replica in self._asking or now < self._refused_at.get(replica, 0.0) + ASK_AGAIN_S:
            return
        self._asking[replica] = asyncio.create_task(self._ask_for(replica))
        self._asking[replica].add_done_callback(lambda _task: self._asking.pop(replica))

    async def _ask_for(self, name: str) -> None:
        replica = self._known.get(name)
        if replica is None or self._link is None:
            return
        breaker = replica.breaker
        try:
            answer = news.probe_answer(await self._link.call(news.PROBE, name.encode()))
        except LinkLost:
            answer = news.ProbeAnswer(granted=False, closed=False)
        if answer.closed:
            breaker.closed_elsewhere()
        elif answer.granted and isinstance(breaker, JointBreaker):
            breaker.permit(self._clock.monotonic() + PERMIT_S)
            asyncio.get_running_loop().call_later(PERMIT_S, breaker.lapse)
        else:
            self._refused_at[name] = self._clock.monotonic()
