"""Three gateways over one ledger: how they go on, what has to hold at every instant, and what in the end."""

import asyncio
import tempfile
from pathlib import Path

from surplus.billing.budgets import BudgetScope, Period
from surplus.gateway.escrow import bound_micro
from surplus.gateway.ports import Load, Loaded
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, ReadSession
from surplus.kit.ids import CountedIds
from surplus.ledger import service as ledger
from surplus.ledger import store as ledger_store
from surplus.ledger.commands import PlaceHold
from surplus.ledger.errors import InsufficientFunds
from surplus.ledger.model import Account, Hold, Slice
from tests.properties.escrow_parts import Call, ClockLoop, Fact, Gateway, breathe, open_gateway
from tests.stores import Stores
from tests.unit.gateway.house import TTL_S, House
from tests.unit.gateway.parts import NOW, settled

NAMES = ("gw_1", "gw_2", "gw_3")
GRAINS = 9 * 10**12


class Books:
    """The ledger as it is now."""

    def __init__(self, session: ReadSession) -> None:
        pages = ledger_store.account_pages(session, 1000)
        self.accounts: dict[str, Account] = {one.id: one for page in pages for one in page}
        self.slices: dict[str, Slice] = {one.id: one for one in ledger_store.all_slices(session)}
        self.holds: list[Hold] = ledger.active_holds(session)


class World:
    """Three gateways over one ledger, and all that can be said of them from outside."""

    stores: Stores
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.place = self.stores.place()
        self.database = Database(self.place)
        self.directory = tempfile.TemporaryDirectory(dir=self.folder)
        self.clock = ManualClock(NOW)
        self.ids = CountedIds()
        self.runner = asyncio.Runner(loop_factory=lambda: ClockLoop(self.clock))
        self.gateways: dict[str, Gateway] = {}
        self.facts: dict[str, Fact] = {}  # of every request that was admitted
        self.requests = 0

    def close(self) -> None:
        for gateway in self.gateways.values():
            if not gateway.wire.cut:
                gateway.kill()
        self.runner.close()
        self.database.close()
        self.stores.forget(self.place)
        self.directory.cleanup()

    def begin(self, credit: int, caps: tuple[int, int, int]) -> None:
        self.house = House(self.database, credit)
        self.house.publish()
        self.caps = list(caps)
        self.put_budgets()
        for name in NAMES:
            self.start(name)

    # the parts of the world

    def put_budgets(self) -> None:
        """A day's budget of the organization, one of the project without end, and one of the key."""
        day, project, key = self.caps
        self.budgets = [
            self.house.budget(day, period=Period.DAY, now=self.clock.now()),
            self.house.budget(project, BudgetScope.PROJECT, "project_1", now=self.clock.now()),
            self.house.budget(key, BudgetScope.KEY, "key_1", now=self.clock.now()),
        ]

    def start(self, name: str) -> None:
        gateway = self.gateways[name] = open_gateway(
            name, Path(self.directory.name), self.database, self.clock, self.ids
        )

        async def first_steps() -> None:
            gateway.start()
            await self.starting(gateway)

        self.runner.run(first_steps())

    async def starting(self, gateway: Gateway) -> None:
        """What a start reads it reads itself: wait until it asks the books for something, or is over."""
        await breathe()
        while gateway.loading is not None and not gateway.ready:
            if gateway.loading.done() or gateway.wire.calls:
                break
            await asyncio.sleep(0)
        await breathe()

    def alive(self) -> list[Gateway]:
        return [gateway for gateway in self.gateways.values() if not gateway.wire.cut]

    def at_work(self, pick: int) -> Gateway | None:
        ready = [gateway for gateway in self.alive() if gateway.ready]
        return ready[pick % len(ready)] if ready else None

    def books(self) -> Books:
        return self.database.read_now(Books)

    def facts_in(self, *states: str) -> list[tuple[Gateway, Fact]]:
        return [(g, fact) for g in self.alive() for fact in g.facts.values() if fact.state in states]

    async def act(self, gateway: Gateway, what: str) -> None:
        {"load": gateway.load, "tidy": gateway.tidy, "poke": gateway.poke}[what]()
        await breathe()

    async def pass_on(self, gateway: Gateway, call: Call, how: str) -> None:
        if not call.done and how not in {"lost", "lost later"}:
            await self.commit(gateway, call)
        if how in {"lost", "lost later", "done and lost"}:
            call.lose(later=how == "lost later")
        elif how != "done":
            self._hear(gateway, call)
        gateway.wire.sweep()
        if gateway.ready:
            await breathe()
        else:
            await self.starting(gateway)

    async def commit(self, gateway: Gateway, call: Call) -> None:
        """It happens in the database."""
        await gateway.wire.do(call)
        match call.what, call.result:
            case Load(settled=entries), Loaded():
                for entry in entries:
                    self.facts[entry.admitted.request].state = "loaded"
            case PlaceHold(final=False), InsufficientFunds():
                self.nobody_is_refused_while_there_is_money(call.what)
            case _:
                pass

    def _hear(self, gateway: Gateway, call: Call) -> None:
        call.reply()
        if isinstance(call.what, Load) and isinstance(call.result, Loaded):
            for entry in call.what.settled:
                gateway.facts.pop(entry.admitted.request, None)

    # what holds at every instant

    def nobody_is_refused_while_there_is_money(self, command: PlaceHold) -> None:
        """Counting as money what lies idle in slices, but for slices of the dead and those that something moves."""
        books = self.books()
        idle = {name: self.idle(one) for name, one in books.slices.items()}
        short: list[str] = []
        for scope in (command.wallet, *command.budgets):
            account = books.accounts.get(scope.account)
            limit = scope.limit if account is None else account.limit
            if limit is None:
                continue
            net = 0 if account is None else account.net
            spare = sum(idle[name] for name, one in books.slices.items() if scope.account in one.scopes)
            if net + spare + limit < command.amount_micro:
                short.append(scope.account)
        assert short, (command, idle, books.accounts)

    def idle(self, one: Slice) -> int:
        gateway = self.gateways[one.holder]
        if gateway.wire.cut or not gateway.ready or gateway.moves(one.id):
            return 0
        return one.amount - sum(
            f.micro for f in gateway.facts.values() if f.entry.slice == one.id and f.state != "loaded"
        )

    def everything_holds(self) -> None:
        if not self.gateways:
            return
        books = self.books()
        self.no_cap_is_passed(books)
        for gateway in self.alive():
            if gateway.ready:
                self.memory_is_within_the_ledger(gateway, books)
                self.what_is_granted_is_what_requests_hold(gateway)

    def no_cap_is_passed(self, books: Books) -> None:
        """What was paid and what requests can still cost, of the living and of the dead."""
        open_facts = {fact.entry.request: fact for g in self.gateways.values() for fact in g.facts.values()}
        open_facts |= self.facts
        for account in books.accounts.values():
            assert account.floor is None or account.net >= account.floor, account
            placed = sum(hold.amount for hold in books.holds if account.id in hold.scopes)
            granted = sum(
                fact.bound if fact.state == "settled" else fact.micro
                for fact in open_facts.values()
                if account.id in fact.scopes and fact.entry.slice and fact.state != "loaded"
            )
            assert account.held >= placed + granted
            assert account.floor is None or account.credits - account.debits - placed - granted >= account.floor

    def memory_is_within_the_ledger(self, gateway: Gateway, books: Books) -> None:
        for name, one in gateway.funds._by_id.items():
            facts = [fact for fact in gateway.facts.values() if fact.entry.slice == name]
            unheard = sum(fact.bound for fact in facts if fact.state == "loaded")
            stored = books.slices[name].amount if name in books.slices else 0
            assert one.amount - unheard <= stored, name
            assert 0 <= one.granted <= one.amount, name

    def what_is_granted_is_what_requests_hold(self, gateway: Gateway) -> None:
        for name, one in gateway.funds._by_id.items():
            facts = [fact for fact in gateway.facts.values() if fact.entry.slice == name]
            held = sum(fact.micro for fact in facts if fact.state in {"held", "admitted"})
            assert one.granted == held + sum(fact.bound for fact in facts if fact.state in {"settled", "loaded"}), name

    # the end

    def all_books_agree_in_the_end(self) -> None:
        for gateway in list(self.gateways.values()):
            if gateway.wire.cut or not gateway.ready:
                if not gateway.wire.cut:
                    gateway.kill()
                self.start(gateway.name)
        self.runner.run(self.quiet())
        for gateway, fact in self.facts_in("held"):
            self.runner.run(self._let_go(gateway, fact))
        for _, fact in self.facts_in("admitted"):
            gateway = next(g for g in self.alive() if fact.entry.request in g.facts)
            fact.bound = bound_micro(fact.micro, fact.micro * GRAINS)
            self.runner.run(self._end(gateway, fact))
        for _ in range(4):
            for gateway in self.alive():
                for what in ("load", "poke", "tidy"):
                    self.runner.run(self.act(gateway, what))
                    self.runner.run(self.quiet())
            self.clock.advance(6.0)
        self._check_the_end()

    async def _let_go(self, gateway: Gateway, fact: Fact) -> None:
        gateway.release(fact)
        await breathe()

    async def _end(self, gateway: Gateway, fact: Fact) -> None:
        gateway.settle(fact, settled(fact.entry, micro=fact.micro))
        await breathe()

    async def quiet(self) -> None:
        """Everything that was asked is done and heard."""
        for _ in range(2000):
            await breathe()
            busy = [gateway for gateway in self.alive() if gateway.wire.calls]
            if not busy:
                if all(task.done() for gateway in self.alive() for task in gateway.asking.values()):
                    return
                self.clock.advance(0.3)  # somebody waits for the money of others
            for gateway in busy:
                call = gateway.wire.next(0)
                assert call is not None
                await self.pass_on(gateway, call, "through")
        raise AssertionError([gateway.wire.calls for gateway in self.alive()])

    def _check_the_end(self) -> None:
        self.clock.advance(2 * TTL_S)  # holds whose end was not heard of end at their deadline
        self.house.do(now=self.clock.now())
        books = self.books()
        assert (books.slices, books.holds) == ({}, [])
        assert [gateway.funds._by_id for gateway in self.alive()] == [{}] * len(NAMES)
        proof = self.database.read_now(ledger.verify)
        assert proof.ok, proof.problems
        records = {record.id: record for record in self.house.records()}
        assert records.keys() == self.facts.keys()
        for name, record in records.items():
            actual, fact = record.charged_micro + record.overrun_micro, self.facts[name]
            expired = not fact.entry.slice and record.charged_micro == 0
            assert record.charged_micro == min(actual, fact.micro) or expired, (record, fact)
        paid = sum(record.charged_micro for record in records.values())
        assert self.house.balance(at=self.clock.now()).debits == paid
        assert self.house.balance(at=self.clock.now()).held == 0
