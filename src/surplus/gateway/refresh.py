"""Keeps what the data plane holds in memory in step with the database: keys, budgets, prices, deployments.

Whoever changes facts, in whatever process, raises a revision number with them; this looks at the numbers, several times
a second, and after each change made through this process's own API. A revoked key stops within that time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from surplus.billing import service as billing
from surplus.gateway.access import Access
from surplus.gateway.tariffs import Tariffs
from surplus.identity import service as identity
from surplus.kit import revisions
from surplus.kit.clock import Clock
from surplus.kit.db import Database
from surplus.kit.errors import SurplusError
from surplus.ledger import service as ledger
from surplus.serving import service as serving
from surplus.serving.model import Deployment
from surplus.serving.replicas import Pool

log: Final = logging.getLogger(__name__)

EVERY_S: Final = 0.25


@dataclass(slots=True, kw_only=True)
class Refresh:
    """`stale` is True while the database does not answer: what is in memory may be out of date.

    `pool` is the one that is looked after in this process, if any; `runs` says which deployments it is for.
    """

    database: Database
    clock: Clock
    access: Access
    tariffs: Tariffs
    pool: Pool | None
    answer_recalls: Callable[[], Awaitable[None]]
    runs: Callable[[Deployment], bool]
    stale: bool = False
    _seen: Mapping[str, int] = field(default_factory=dict[str, int])
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def now(self) -> None:
        """Look once. Raises StoreUnavailable."""
        async with self._lock:
            numbers = await self.database.read(revisions.read)
            changed = {topic for topic in numbers if numbers[topic] != self._seen.get(topic)}
            if changed & {identity.TOPIC, billing.TOPIC}:
                self.access.forget()
            if ledger.RECALL_TOPIC in changed:
                await self.answer_recalls()
            if billing.TOPIC in changed:
                await self.tariffs.load(self.clock.now())
            if self.pool is not None and serving.TOPIC in changed:
                deployments = await self.database.read(serving.list_deployments)
                await self.pool.apply([one for one in deployments if self.runs(one)])
            self._seen = numbers

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.now()
                self.stale = False
            except SurplusError as error:
                if not self.stale:
                    fields = {"why": error.message}
                    log.warning("keys, prices and deployments cannot be refreshed", extra={"fields": fields})
                self.stale = True
            await asyncio.sleep(EVERY_S)
