"""What has to happen by itself every second: holds expire, limits are forgotten, alerts told, idle money given back.

What is done once for all processes is done by the one that holds the office.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from surplus.gateway.funds import EscrowFunds
from surplus.gateway.limits import Limiter
from surplus.gateway.settlement import Ledgered
from surplus.kit import outbox
from surplus.kit.clock import Clock
from surplus.kit.db import Database, WriteSession
from surplus.kit.election import Office
from surplus.kit.errors import SurplusError
from surplus.ledger import service as ledger
from surplus.metering import service as metering

log: Final = logging.getLogger(__name__)

EVERY_S: Final = 1.0
ROOM_EVERY_S: Final = 3600.0
"""How often the place for usage records of the coming month is looked after."""
CONTROL: Final = "control"
"""The office of the process that does what is done once."""
ALERTS: Final = "alerts"
"""The outbox consumer that writes what happened into the log."""


@dataclass(slots=True, kw_only=True)
class Tidying:
    """For each process that takes requests: a round a second; a round that fails is tried again."""

    ledgered: Ledgered
    funds: EscrowFunds
    _room_at: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.ledgered.flush()
            try:
                await self.funds.tidy()
            except SurplusError as error:
                log.warning("idle money could not be given back", extra={"fields": {"why": error.message}})


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """For each process that writes to the database: a round a second; a round that fails is tried again."""

    database: Database
    clock: Clock
    office: Office
    limiter: Limiter
    _room_at: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.limiter.sweep(self.clock.monotonic())
            try:
                if self.office.token is not None:
                    await self._once_for_all()
            except SurplusError as error:
                log.warning("upkeep failed and is tried again", extra={"fields": {"why": error.message}})

    async def _once_for_all(self) -> None:
        if self.clock.now() >= self._room_at:
            await self.office.write(metering.make_room, now=self.clock.now())
            self._room_at = self.clock.now() + ROOM_EVERY_S
        if await self.database.read(ledger.any_due, now=self.clock.now()):
            await self.office.write(ledger.apply, [], now=self.clock.now())
        if await self.database.read(outbox.pending, ALERTS, limit=1):
            await self.office.write(_tell)


def _tell(session: WriteSession) -> None:
    for message in outbox.claim(session, ALERTS):
        log.warning(message.topic, extra={"fields": {"alert": message.topic, **message.body}})
        outbox.mark(session, ALERTS, message.seq)
