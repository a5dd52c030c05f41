"""Checks the books at the start and on a schedule, and has nothing sold while they are unsound."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from surplus.gateway import agreement
from surplus.gateway.errors import Draining
from surplus.gateway.standing import Soundness, Standing
from surplus.kit.clock import Clock
from surplus.kit.db import Database, ReadSession
from surplus.kit.errors import SurplusError, Unavailable
from surplus.kit.journal import Journal
from surplus.ledger import checkpoint as checkpoints
from surplus.ledger import service as ledger
from surplus.ledger.checkpoint import Checkpoint
from surplus.ledger.errors import BadCheckpoint
from surplus.ledger.model import Verification
from surplus.ledger.verification import Verifier

log: Final = logging.getLogger(__name__)

LOOK_S: Final = 1.0
HEAD_EVERY_S: Final = 86_400.0
PAGE: Final = 100
"""Entries read at a time: a few milliseconds of one core, which requests have to share."""
PAUSE_S: Final = 0.02
"""Between two pages while requests are served; nothing is served before the first check, which does not pause."""


class Every(NamedTuple):
    """Seconds between two checks of the new entries, and of all of them; 0 is never. The first check always happens."""

    new_s: float
    all_s: float


@dataclass(slots=True, kw_only=True)
class Watch:
    """`file` keeps what the last good check came to, so that the next one reads what is new alone.

    `journal` is that of `gateway`, where this process is one; `told` hears of each standing.
    """

    database: Database
    clock: Clock
    file: Path
    every: Every
    gateway: str = ""
    journal: Journal | None = None
    page: int = PAGE
    pause_s: float = PAUSE_S
    told: Callable[[Standing], None] = lambda _standing: None
    standing: Standing = field(default_factory=Standing)
    _checked: asyncio.Event = field(default_factory=asyncio.Event)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _last: float = 0.0
    _last_all: float = 0.0
    _head_told: float | None = None

    def closed(self) -> Unavailable | None:
        """Why nothing is sold now; None while it is."""
        return self.standing.refusal()

    async def first(self, within_s: float) -> bool:
        """Wait for the first check, but no longer than `within_s` seconds; returns whether it has ended."""
        try:
            async with asyncio.timeout(within_s):
                await self._checked.wait()
        except TimeoutError:
            log.warning("the ledger is being checked; the server sells when that is done")
        return self._checked.is_set()

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            await self.round()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Have `run` end; a check that is under way is given up."""
        self._stopping.set()
        self._wake.set()

    async def round(self) -> None:
        """Do what is due now. A database that does not answer is asked again in the next round."""
        try:
            if self.standing.state is Soundness.UNKNOWN:
                await self.check(whole=False)
                self._checked.set()
            elif self._due(self.every.all_s, self._last_all):
                await self.check(whole=True)
            elif self._due(self.every.new_s, self._last):
                await self.check(whole=False)
            if self._head_told is None or self.clock.monotonic() - self._head_told >= HEAD_EVERY_S:
                await self._tell_head()
        except Draining:
            return
        except SurplusError as error:
            log.warning("the ledger cannot be checked; tried again", extra={"fields": {"why": error.message}})

    def _due(self, every_s: float, last: float) -> bool:
        return self.standing.state is Soundness.SOUND and every_s > 0 and self.clock.monotonic() - last >= every_s

    async def check(self, *, whole: bool = True) -> Verification:
        """Check what is new, or the whole ledger. If it is unsound, nothing is sold from now on.

        Raises StoreUnavailable, and Draining if the server stops meanwhile.
        """
        async with self._one:
            pause_s = 0.0 if self.standing.state is Soundness.UNKNOWN else self.pause_s
            found = await asyncio.to_thread(self._check, whole=whole, pause_s=pause_s)
            before, self.standing = self.standing, self.standing.after(found, self.clock.now())
            self.told(self.standing)
        if self.standing.state is Soundness.UNSOUND and before.state is not Soundness.UNSOUND:
            fields = {"problems": list(found.problems), "head_seq": found.head_seq, "remedy": self.standing.remedy}
            log.critical("the ledger is not sound: nothing more is sold", extra={"fields": fields})
        return found

    def _check(self, *, whole: bool, pause_s: float) -> Verification:
        start = None if whole else self._load()
        now, monotonic = self.clock.now(), self.clock.monotonic()
        full_at = now if start is None else start.full_at
        beside: list[Callable[[ReadSession], Iterator[str]]] = [agreement.hours_agree]
        journal = self.journal
        if journal is not None:
            beside.append(agreement.journal_holds(self.gateway, lambda: journal.end))
        if start is None:
            beside.append(agreement.records_agree)

        def pause() -> None:
            if self._stopping.wait(pause_s):
                message = "this server is shutting down; the check was given up"
                raise Draining(message)

        verifier = Verifier(self.database.read_now, start=start, page=self.page, pause=pause, beside=beside)
        found, checkpoint = verifier.run(full_at=full_at)
        if checkpoint is not None:
            self._store(checkpoint)
        self._last, self._last_all = monotonic, monotonic - max(0.0, now - full_at)
        return found

    def _load(self) -> Checkpoint | None:
        try:
            return checkpoints.decode(self.file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, BadCheckpoint) as error:
            log.warning("the whole ledger is checked", extra={"fields": {"why": str(error)}})
            return None

    def _store(self, checkpoint: bytes) -> None:
        """A check that is lost is made again: nothing waits for the disk, but half a file is never there."""
        beside = self.file.with_name(f"{self.file.name}.new")
        try:
            beside.unlink(missing_ok=True)
            beside.touch(mode=0o600)
            beside.write_bytes(checkpoint)
            beside.replace(self.file)
        except OSError as error:
            log.warning("the check of the ledger was not kept", extra={"fields": {"why": str(error)}})

    async def _tell_head(self) -> None:
        head = await self.database.read(ledger.head)
        self._head_told = self.clock.monotonic()
        log.info("ledger head", extra={"fields": {"seq": head.last_seq, "hash": head.hash}})
