"""Election: of many processes, one does what must be done once; and whoever has been replaced cannot write any more.

An office is held for a time and prolonged by its holder. Clocks may differ and processes may pause, so holding it
proves nothing by itself: every election has a higher token, and a transaction of the holder asks for the token first
(`fence`).
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Column, Float, String, Table, select

from surplus.kit.clock import Clock
from surplus.kit.db import Big, Database, WriteSession, metadata
from surplus.kit.errors import Conflict, SurplusError

P = ParamSpec("P")
T = TypeVar("T")

TTL_S: Final = 10.0
"""How long an office is held without being prolonged: what a crash of its holder costs at most."""

log: Final = logging.getLogger(__name__)

leaders = Table(
    "kit_leader",
    metadata,
    Column("office", String(60), primary_key=True),
    Column("holder", String(60), nullable=False),
    Column("token", Big, nullable=False),
    Column("until_at", Float, nullable=False),
)


class Deposed(Conflict):
    """Another process holds the office by now; nothing was changed."""

    code = "deposed"


def campaign(session: WriteSession, office: str, holder: str, *, now: float, ttl_s: float) -> int | None:
    """Take an office that is free, or prolong one's own until `now` + `ttl_s`; the token, or None if another has it."""
    session.insert_new(leaders, [{"office": office, "holder": "", "token": 0, "until_at": 0.0}])
    (row,) = session.all_for_update(select(leaders).where(leaders.c.office == office))
    if row.holder != holder and now < row.until_at:
        return None
    token = row.token if row.holder == holder and now < row.until_at else row.token + 1
    changes = {"holder": holder, "token": token, "until_at": now + ttl_s}
    session.execute(leaders.update().where(leaders.c.office == office).values(changes))
    return token


def fence(session: WriteSession, office: str, token: int) -> None:
    """Let nobody else be elected before this transaction ends. Raises Deposed if somebody was already."""
    rows = session.all_for_update(select(leaders.c.token).where(leaders.c.office == office))
    if [row.token for row in rows] != [token]:
        message = f"another process has taken over as {office}; this one has to be elected again before it goes on"
        raise Deposed(message)


def resign(session: WriteSession, office: str, token: int) -> None:
    """Leave an office, so that the next one need not wait; nothing, if it is another's by now."""
    mine = (leaders.c.office == office) & (leaders.c.token == token)
    session.execute(leaders.update().where(mine).values({"until_at": 0.0}))


class Office:
    """One process's part in the elections to an office. `token` is None while another process holds it."""

    def __init__(self, database: Database, clock: Clock, name: str, holder: str) -> None:
        self.token: int | None = None
        self._database = database
        self._clock = clock
        self._name = name
        self._holder = holder

    async def campaign(self) -> None:
        """Take the office, or prolong it, if it can be had. Raises StoreUnavailable, and then it is not held."""
        before, self.token = self.token, None
        now = self._clock.now()
        self.token = await self._database.write(campaign, self._name, self._holder, now=now, ttl_s=TTL_S)
        if self.token is not None and self.token != before:
            log.info("elected", extra={"fields": {"office": self._name, "token": self.token}})

    async def write(self, function: Callable[Concatenate[WriteSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(session, ...)` in one transaction, if this process still holds the office. Raises Deposed."""
        token = self.token
        if token is None:
            raise Deposed(f"this process is not the {self._name} now")

        def fenced(session: WriteSession) -> T:
            fence(session, self._name, token)
            return function(session, *args, **kwargs)

        try:
            return await self._database.write(fenced)
        except Deposed:
            self.token = None
            raise

    async def run(self) -> None:
        """Campaign again and again, until cancelled; then resign."""
        try:
            while True:
                try:
                    await self.campaign()
                except SurplusError as error:
                    log.warning("no election", extra={"fields": {"office": self._name, "why": error.message}})
                await asyncio.sleep(TTL_S / 3)
        finally:
            if self.token is not None:
                with suppress(SurplusError):  # the next one waits until the office is free by itself
                    await self._database.write(resign, self._name, self.token)
