"""Journals that nobody writes any more: of workers that there are no longer, or that were still leaving at the start.

They are loaded to the end, and what their requests held is settled or given back.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from surplus.bootstrap.data import LOCK, SLOTS, journal_directory, journals, known_gateway
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.jobs import Loader
from surplus.gateway.ports import Books
from surplus.gateway.processes import Roll
from surplus.kit.clock import Clock
from surplus.kit.db import Database
from surplus.kit.errors import SurplusError
from surplus.kit.ids import Ids
from surplus.kit.journal import Journal, JournalLocked, Slots

log: Final = logging.getLogger(__name__)

EVERY_S: Final = 1.0


def is_free(directory: Path) -> bool:
    """Whether no process has the journal in `directory` open."""
    file = directory / LOCK
    if not file.exists():
        return True
    descriptor = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def first_free(data: Path, taken: Set[int] = frozenset()) -> int:
    """The lowest number of a journal that nobody has open, and that is not among `taken`."""
    number = 1
    while number in taken or not is_free(journal_directory(data, number)):
        number += 1
    return number


@dataclass(slots=True, kw_only=True)
class Leftovers:
    """Looks for them again and again, for an earlier process may still be at work on its last requests.

    `in_use` are the numbers of the journals that processes of this run have. `loading` is being loaded now.
    """

    data: Path
    database: Database
    books: Books
    roll: Roll
    clock: Clock
    ids: Ids
    in_use: Callable[[], Set[int]]
    loading: int | None = None
    _done: set[int] = field(default_factory=set[int])

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for number in list(journals(self.data)):
                if number not in self._done and number not in self.in_use():
                    await self._try(number)
            await asyncio.sleep(EVERY_S)

    async def _try(self, number: int) -> None:
        self.loading = number
        try:
            await self._load(journal_directory(self.data, number))
            self._done.add(number)
        except JournalLocked:  # its process is still there
            pass
        except SurplusError as error:
            fields = {"journal": number, "why": error.message}
            log.warning("the journal of an earlier process could not be loaded", extra={"fields": fields})
        finally:
            self.loading = None

    async def _load(self, directory: Path) -> None:
        journal = Journal.open(directory)
        try:
            slots = Slots.open(directory / SLOTS, 1)
            try:
                gateway = known_gateway(directory)
                funds = EscrowFunds(self.books, self.clock, self.ids, gateway)
                loader = Loader(
                    gateway=gateway,
                    database=self.database,
                    books=self.books,
                    funds=funds,
                    journal=journal,
                    clock=self.clock,
                    gather_s=0.0,
                )
                await loader.recover(slots)
                await self.roll.leave(gateway)
            finally:
                slots.close()
        finally:
            journal.close()
