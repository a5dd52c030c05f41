"""The books of a process that writes to the database itself."""

from collections.abc import Sequence

from surplus.gateway import service
from surplus.gateway.ports import FundsCommand, Load, Loaded
from surplus.kit.clock import Clock
from surplus.kit.db import Database, GroupCommit, WriteSession
from surplus.kit.errors import SurplusError
from surplus.ledger import service as ledger
from surplus.ledger.model import Outcome


class LocalBooks:
    """Ledger commands of many requests share a commit."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._group: GroupCommit[FundsCommand, Outcome] = GroupCommit(database, self._apply)

    def _apply(self, session: WriteSession, commands: Sequence[FundsCommand]) -> Sequence[Outcome | SurplusError]:
        return ledger.apply(session, commands, now=self._clock.now())

    async def apply(self, command: FundsCommand) -> Outcome:
        """Do it, durably, with others in one commit."""
        return await self._group.submit(command)

    async def load(self, load: Load) -> Loaded:
        """Do all of it in one transaction."""
        return await self._database.write(service.load, load, now=self._clock.now())

    async def recalled(self, holder: str) -> Sequence[str]:
        """The slices of a process that have to give back what is idle."""
        return await self._database.read(ledger.recalled, holder)
