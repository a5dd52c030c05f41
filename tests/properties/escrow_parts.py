"""Gateways whose every word to the ledger is held up until a test lets it pass, or loses it."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surplus.billing.budgets import Budget
from surplus.gateway.books import LocalBooks
from surplus.gateway.entries import Admitted, Settled, encode
from surplus.gateway.errors import BudgetInFlight, BudgetSpent
from surplus.gateway.escrow import Slice
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.jobs import Loader
from surplus.gateway.ports import FundsCommand, Grant, HoldRequest, Load, Loaded
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database
from surplus.kit.errors import SurplusError, Unavailable
from surplus.kit.ids import CountedIds
from surplus.kit.journal import Journal, Slots
from surplus.ledger.commands import PlaceHold, ReturnSlice
from surplus.ledger.model import Outcome
from tests.unit.gateway.parts import admitted

BREATHS = 40
LOST = "the answer was lost on its way"


class ClockLoop(asyncio.SelectorEventLoop):
    """Its time is that of a clock that a test moves: nothing happens because a test is slow."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._manual = clock

    def time(self) -> float:
        return self._manual.monotonic()


async def breathe() -> None:
    """Let everything run that waits for nothing."""
    for _ in range(BREATHS):
        await asyncio.sleep(0)


@dataclass(eq=False)
class Call:
    """Something a gateway has asked of the books. It is done at one moment, and the answer arrives at another."""

    what: FundsCommand | Load | str
    answer: "asyncio.Future[Any]"
    done: bool = False
    later: bool = False
    result: Any = None

    @property
    def heard(self) -> bool:
        """The answer has arrived, or nobody waits for it any more."""
        return self.answer.done()

    def reply(self) -> None:
        if self.heard:
            return
        if isinstance(self.result, SurplusError):
            self.answer.set_exception(self.result)
        else:
            self.answer.set_result(self.result)

    def lose(self, *, later: bool) -> None:
        """The gateway never hears what became of it; a command may be done `later` all the same."""
        if not self.heard:
            self.answer.set_exception(Unavailable(LOST))
            self.later = later

    @property
    def over(self) -> bool:
        """Nothing will come of it any more."""
        waits = not isinstance(self.what, Load | str) and (self.later or self.answer.cancelled())
        return self.heard and (self.done or not waits)

    def slices(self) -> Iterator[str]:
        """The slices that this is about."""
        match self.what:
            case PlaceHold(wish=wish) if wish is not None:
                yield wish.slice
            case ReturnSlice(name):
                yield name
            case Load(settled=settled, draws=draws):
                yield from (entry.admitted.slice for entry in settled)
                yield from (draw.slice for draw in draws)
            case _:
                return


class Wire:
    """Books whose calls wait for the test. Commands of one gateway are done in their order, as a queue does them."""

    def __init__(self, books: LocalBooks) -> None:
        self._books = books
        self.calls: list[Call] = []
        self.cut = False

    async def apply(self, command: FundsCommand) -> Outcome:
        return await self._ask(command)

    async def load(self, load: Load) -> Loaded:
        return await self._ask(load)

    async def recalled(self, holder: str) -> Sequence[str]:
        return await self._ask(holder)

    async def _ask(self, what: FundsCommand | Load | str) -> Any:
        if self.cut:
            raise asyncio.CancelledError  # the process is no more
        call = Call(what, asyncio.get_running_loop().create_future())
        self.calls.append(call)
        return await call.answer

    def next(self, pick: int) -> Call | None:
        """One of the calls that can go on: of commands that are not done only the first."""
        queue = [call for call in self.calls if not call.done and not isinstance(call.what, Load | str)]
        ready = [call for call in self.calls if call not in queue[1:]]
        return ready[pick % len(ready)] if ready else None

    async def do(self, call: Call) -> None:
        """It happens in the database; the gateway does not know yet."""
        try:
            match call.what:
                case Load():
                    call.result = await self._books.load(call.what)
                case str():
                    call.result = await self._books.recalled(call.what)
                case _:
                    call.result = await self._books.apply(call.what)
        except SurplusError as error:
            call.result = error
        call.done = True

    def sweep(self) -> None:
        """Forget calls of which nothing will come."""
        self.calls = [call for call in self.calls if not call.over]


@dataclass(eq=False)
class Fact:
    """A request that holds money, and what has become of it. `micro` was held, out of a slice or of the ledger."""

    entry: Admitted
    scopes: tuple[str, ...]
    micro: int
    state: str = "held"  # admitted, settled, loaded
    bound: int = 0
    heard: bool = False


@dataclass(eq=False)
class Gateway:
    """One process, from its start to its end; the files stay for the next one of its name."""

    name: str
    wire: Wire
    funds: EscrowFunds
    loader: Loader
    journal: Journal
    slots: Slots
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    facts: dict[str, Fact] = field(default_factory=dict)
    asking: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    refused: list[SurplusError] = field(default_factory=list)
    ready: bool = False
    loading: "asyncio.Task[None] | None" = None
    tidying: "asyncio.Task[None] | None" = None
    answering: "asyncio.Task[None] | None" = None

    def start(self) -> None:
        self.loading = self.spawn(self._recover())

    async def _recover(self) -> None:
        await self.loader.recover(self.slots)
        self.ready = True

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[None]":
        async def try_it() -> None:
            try:
                await work
            except Unavailable:  # as everybody who calls it in earnest does, to try again
                return

        task = asyncio.get_running_loop().create_task(try_it())
        self.tasks.add(task)
        return task

    def load(self) -> None:
        self.journal.sync()
        if self.loading is None or self.loading.done():
            self.loading = self.spawn(self.loader.load_batch())

    def tidy(self) -> None:
        if self.tidying is None or self.tidying.done():
            self.tidying = self.spawn(self.funds.tidy())

    def poke(self) -> None:
        if self.answering is None or self.answering.done():
            self.answering = self.spawn(self.funds.answer_recalls())

    def ask(self, request: HoldRequest) -> None:
        self.asking[request.request] = self.spawn(self._hold(request))

    async def _hold(self, request: HoldRequest) -> None:
        try:
            grant = await self.funds.hold(request)
        except (BudgetSpent, BudgetInFlight) as error:
            self.refused.append(error)
            return
        budgets: Sequence[Budget] = request.budgets
        scopes = (f"wallet:{request.org}", *(budget.account(request.at) for budget in budgets))
        held = grant.micro if grant.slice else 0
        entry = admitted(request.request, at=request.at, slice=grant.slice, held_micro=held)
        self.facts[request.request] = Fact(entry, scopes, grant.micro)

    def release(self, fact: Fact) -> None:
        del self.facts[fact.entry.request]
        self.funds.release(fact.entry.request, Grant(fact.entry.slice, fact.micro))

    def admit(self, fact: Fact) -> None:
        self.journal.append(encode(fact.entry))
        fact.state = "admitted"

    def settle(self, fact: Fact, entry: Settled) -> None:
        self.journal.append(encode(entry))
        self.funds.settled(entry, int(entry.grains))
        fact.state = "settled"

    def slice(self, name: str) -> Slice | None:
        return self.funds._by_id.get(name)

    def moves(self, name: str) -> bool:
        """Whether something about a slice is on its way, so that nobody knows what is idle in it."""
        one = self.slice(name)
        return one is None or one.doubtful or any(name in call.slices() for call in self.wire.calls)

    def kill(self) -> None:
        """Nothing that is left here says another word to the books."""
        self.wire.cut = True
        for task in (*self.tasks, *self.funds._background):
            task.cancel()
        self.slots.close()
        self.journal.close()


def open_gateway(name: str, directory: Path, database: Database, clock: ManualClock, ids: CountedIds) -> Gateway:
    wire = Wire(LocalBooks(database, clock))
    funds = EscrowFunds(wire, clock, ids, name)
    (directory / name).mkdir(exist_ok=True)
    journal = Journal.open(directory / name, segment_bytes=65_536)
    slots = Slots.open(directory / name / "slots", 2)
    loader = Loader(
        gateway=name, database=database, books=wire, funds=funds, journal=journal, clock=clock, gather_s=0.0
    )
    return Gateway(name, wire, funds, loader, journal, slots)
