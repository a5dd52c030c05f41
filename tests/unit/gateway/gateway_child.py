"""The process that is killed in the tests of recovery: admits, streams and settles until it is gone.

Run as a script with a data directory. Each line that it writes says what has become true by then:
`a REQUEST`, `d REQUEST TOKENS` (delivered), `s REQUEST TOKENS` (settled).
"""

import asyncio
import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from surplus.billing import service as billing
from surplus.billing.budgets import Budget
from surplus.gateway.books import LocalBooks
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.jobs import Fsync
from surplus.gateway.ports import HoldRequest
from surplus.gateway.settlement import Ending, Settlement
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database
from surplus.kit.ids import RandomIds
from surplus.kit.journal import Journal, Slots
from surplus.metering.model import Outcome
from surplus.metering.usage import TokenUsage
from tests.unit.gateway.house import GATEWAY, TTL_S
from tests.unit.gateway.loading import ledgered, loader
from tests.unit.gateway.parts import NOW, admitted, dollars

SLOTS = 8
INPUT = 7
SEGMENT_BYTES = 4096
MOST_TOKENS = 12


def open_journal(data: Path) -> tuple[Journal, Slots]:
    return Journal.open(data / "journal", segment_bytes=SEGMENT_BYTES), Slots.open(data / "slots", SLOTS)


def say(kind: str, *facts: object) -> None:
    os.write(1, f"{kind} {' '.join(map(str, facts))}\n".encode())


class Gateway:
    """A gateway without HTTP and engines: everything that touches disk is real."""

    def __init__(self, data: Path, budget: Budget) -> None:
        clock = ManualClock(NOW)
        self.database = Database(data / "surplus.db")
        self.journal, self.slots = open_journal(data)
        books = LocalBooks(self.database, clock)
        self.funds = EscrowFunds(books, clock, RandomIds(clock), GATEWAY)
        self.loader = loader(self.journal, self.database, books, self.funds, clock, gather_s=0.001)
        self.fsync = Fsync(self.journal, self.loader, 0.001)
        self.ledgered = ledgered(self.journal, self.fsync.ring, self.funds)
        self.clock, self.budget = clock, budget

    async def serve(self, request: str, tokens: int) -> None:
        """One request of `tokens` tokens, of which each is in its slot before it is delivered."""
        most = INPUT * 3 + MOST_TOKENS * 8
        grant = await self.funds.hold(HoldRequest(request, "org_1", (self.budget,), most, NOW, NOW + TTL_S))
        slot = self.slots.claim(request)
        entry = admitted(request, slice=grant.slice, held_micro=grant.micro if grant.slice else 0)
        self.ledgered.admit(entry)
        say("a", request)
        settlement = Settlement(
            entry, dollars(version="price_1"), lease=None, slot=slot, clock=self.clock, ledgered=self.ledgered
        )
        for made in range(1, tokens + 1):
            slot.update(
                uncached=INPUT, cache_read=0, cache_write=0, output=made, delivered_bytes=made, delivered_events=made
            )
            say("d", request, made)
            await asyncio.sleep(0)
        settlement.settle(Ending(Outcome.COMPLETED, 200, TokenUsage(uncached=INPUT, output=tokens)))
        say("s", request, tokens)

    async def work(self, worker: int, seed: int) -> None:
        lengths = random.Random(seed * 100 + worker)
        number = 0
        while True:
            await self.serve(f"req_{seed}_{worker}_{number}", lengths.randrange(1, MOST_TOKENS + 1))
            number += 1

    async def run(self, seed: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.loader.run())
            tasks.create_task(self.fsync.run())
            for worker in range(4):
                tasks.create_task(self.work(worker, seed))


def the_budget(data: Path) -> Budget:
    database = Database(data / "surplus.db")
    (budget,) = database.read_now(billing.budgets_of, "org_1", None, "key_1")
    database.close()
    return budget


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    asyncio.run(Gateway(directory, the_budget(directory)).run(int(sys.argv[2])))
