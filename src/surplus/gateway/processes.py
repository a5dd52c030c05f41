"""Who is at work: every gateway says several times a minute that it is there, so that one that is lost is noticed.

A gateway that is silent keeps what it holds: its journal may have settlements that nobody else knows of. It ends when
the gateway starts again, or when the operator gives its journal up.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Final, Protocol

from surplus.gateway import store
from surplus.gateway.model import Process
from surplus.kit.clock import Clock
from surplus.kit.db import Database, ReadSession, WriteSession
from surplus.kit.errors import Conflict, NotFound, SurplusError
from surplus.ledger import service as ledger
from surplus.ledger.commands import ReturnSlice, VoidHold

log: Final = logging.getLogger(__name__)

BEAT_S: Final = 5.0
HOLDS_MAX: Final = 100_000


class UnknownGateway(NotFound):
    """No gateway has this name."""

    code = "unknown_gateway"


class GatewayAtWork(Conflict):
    """A gateway that is there cannot be given up."""

    code = "gateway_at_work"


@dataclass(frozen=True, slots=True)
class Standing:
    """A gateway, and the micro-dollars in its slices."""

    process: Process
    sliced_micro: int


def beat(session: WriteSession, process: Process) -> None:
    """The gateway is there."""
    store.put_process(session, process)


def standings(session: ReadSession) -> list[Standing]:
    """All gateways, by name."""
    return [Standing(one, _sliced(session, one.name)) for one in store.processes(session)]


def leave(session: WriteSession, name: str) -> None:
    """The gateway has ended in good order."""
    store.drop_process(session, name)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was freed: micro-dollars of slices, and how many holds of requests."""

    sliced_micro: int
    holds: int


def forget(session: WriteSession, name: str, *, now: float) -> Forgotten:
    """Give up a lost gateway and its journal: what it holds is freed, and what only its journal knows is not charged.

    Should its journal be loaded after all, the operator bears the cost. Raises UnknownGateway, GatewayAtWork.
    """
    session.exclusive(ledger.LOCK)  # what is freed is what it holds when it is freed
    process = store.process(session, name)
    if process is None:
        raise UnknownGateway(f"there is no gateway {name!r}; `surplus gateway list` shows those there are")
    if not process.lost(now):
        message = f"{name} was heard of {now - process.seen_at:.0f} s ago on {process.host}; stop it first"
        raise GatewayAtWork(message)
    sliced = _sliced(session, name)
    holds = ledger.active_holds(session, ref_prefix=f"{name}/", limit=HOLDS_MAX)
    returns = [ReturnSlice(one.id, 0) for one in ledger.slices_of(session, name)]
    ledger.apply(session, [*returns, *(VoidHold(hold.id, "its gateway was given up") for hold in holds)], now=now)
    store.drop_process(session, name)
    return Forgotten(sliced, len(holds))


def _sliced(session: ReadSession, name: str) -> int:
    return sum(one.amount for one in ledger.slices_of(session, name))


class Roll(Protocol):
    """Where it is written down which gateways there are: here, or by another process."""

    async def beat(self, process: Process) -> None:
        """The gateway is there. Raises Unavailable."""
        ...

    async def leave(self, name: str) -> None:
        """The gateway has ended in good order. Raises Unavailable."""
        ...


class LocalRoll:
    """The roll of a process that writes to the database itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, process: Process) -> None:
        """The gateway is there."""
        await self._database.write(beat, process)

    async def leave(self, name: str) -> None:
        """The gateway has ended in good order."""
        await self._database.write(leave, name)


class Presence:
    """Says that a gateway is there, again and again."""

    def __init__(self, roll: Roll, clock: Clock, process: Process) -> None:
        self._roll = roll
        self._clock = clock
        self._process = process

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._process = replace(self._process, seen_at=self._clock.now())
            try:
                await self._roll.beat(self._process)
            except SurplusError as error:
                log.warning("nobody hears of this gateway", extra={"fields": {"why": error.message}})
            await asyncio.sleep(BEAT_S)

    async def leave(self) -> None:
        """The gateway ends in good order."""
        try:
            await self._roll.leave(self._process.name)
        except SurplusError as error:  # it counts as lost then, until it starts again
            log.warning("nobody hears that this gateway has ended", extra={"fields": {"why": error.message}})
