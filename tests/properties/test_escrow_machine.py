"""Escrow under any interleaving of several gateways, lost answers, deaths, clocks and caps: no cent too much is spent,
and nobody is refused while there is money."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from surplus.billing.budgets import Budget, BudgetScope, Period
from surplus.gateway.escrow import bound_micro
from surplus.gateway.ports import HoldRequest, Load, Loaded
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, ReadSession, metadata
from surplus.kit.ids import CountedIds
from surplus.ledger import service as ledger
from surplus.ledger import store as ledger_store
from surplus.ledger.commands import PlaceHold, Transfer
from surplus.ledger.errors import InsufficientFunds
from surplus.ledger.model import Account, Hold, Slice
from tests.properties.escrow_parts import Call, ClockLoop, Fact, Gateway, breathe, open_gateway
from tests.unit.gateway.house import TTL_S, WALLET, House
from tests.unit.gateway.parts import NOW, settled

NAMES = ("gw_1", "gw_2", "gw_3")
KEYS = ("key_1", "key_2")
CAPS = (0, 200, 1500, 4000, 60_000)
CREDIT = (400, 3000, 9000, 100_000)
MICROS = (0, 1, 3, 10, 40, 200)
GRAINS = 9 * 10**12
picks = st.integers(0, 40)
smooth = st.booleans()
wanted = st.one_of(
    st.sampled_from(MICROS), st.sampled_from(MICROS), st.sampled_from(["all", "all and sliced", "one too many"])
)
HOW = ["through", "through", "done", "done", "heard", "lost", "lost later", "done and lost"]
EVENTS = st.one_of(
    st.tuples(st.just("hold"), picks, wanted, st.integers(0, 3), smooth),
    st.tuples(st.just("hold"), picks, wanted, st.integers(0, 3), smooth),
    st.tuples(st.sampled_from(["admit", "release"]), picks),
    st.tuples(
        st.just("settle"),
        picks,
        st.sampled_from(["nothing", "little", "half", "all", "more"]),
        st.sampled_from([0, 1, GRAINS - 1]),
    ),
    st.tuples(st.just("do"), picks, st.sampled_from(["load", "load", "tidy", "poke"]), smooth),
    st.tuples(st.just("call"), picks, picks, st.sampled_from(HOW)),
    st.tuples(st.just("call"), picks, picks, st.sampled_from(HOW)),
    st.tuples(st.just("leave"), picks),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.03, 0.5, 1.1, 6.0])),
)
"""Small things, of which many have to come together."""


class Books:
    """The ledger as it is now."""

    def __init__(self, session: ReadSession) -> None:
        self.accounts: dict[str, Account] = {one.id: one for one in ledger_store.all_accounts(session)}
        self.slices: dict[str, Slice] = {one.id: one for one in ledger_store.all_slices(session)}
        self.holds: list[Hold] = ledger.active_holds(session)


class EscrowMachine(RuleBasedStateMachine):
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=self.template.parent)
        self.path = Path(self.directory.name)
        shutil.copyfile(self.template, self.path / "surplus.db")
        self.database = Database(self.path / "surplus.db")
        self.clock = ManualClock(NOW)
        self.ids = CountedIds()
        self.runner = asyncio.Runner(loop_factory=lambda: ClockLoop(self.clock))
        self.gateways: dict[str, Gateway] = {}
        self.facts: dict[str, Fact] = {}  # of every request that was admitted
        self.requests = 0

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and self.gateways:
                self.all_books_agree_in_the_end()
        finally:
            self.close()

    def close(self) -> None:
        for gateway in self.gateways.values():
            if not gateway.wire.cut:
                gateway.kill()
        self.runner.close()
        self.database.close()
        self.directory.cleanup()

    @initialize(credit=st.sampled_from(CREDIT), caps=st.tuples(*[st.sampled_from(CAPS)] * 3))
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
        gateway = self.gateways[name] = open_gateway(name, self.path, self.database, self.clock, self.ids)

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

    @rule(events=st.lists(EVENTS, min_size=1, max_size=10))
    def things_happen(self, events: list[tuple[Any, ...]]) -> None:
        for name, *facts in events:
            self.runner.run(getattr(self, name)(*facts))
            self.everything_holds()

    # the lives of requests

    async def hold(self, pick: int, wanted: int | str, who: int, smooth: bool) -> None:
        gateway = self.at_work(pick)
        if gateway is None:
            return
        self.requests += 1
        now = self.clock.now()
        over = tuple((self.budgets, self.budgets[:2], self.budgets[:1], [])[who])
        micro = wanted if isinstance(wanted, int) else self.rest(over, now, wanted)
        gateway.ask(HoldRequest(f"req_{self.requests}", "org_1", over, micro, now, now + TTL_S))
        await breathe()
        if smooth:
            await self._through(gateway, pick)
            await self.admit(-1)

    def rest(self, budgets: tuple[Budget, ...], now: float, wanted: str) -> int:
        """What is left in the narrowest account, with what lies in slices or without, or one micro-dollar more."""
        accounts = self.books().accounts
        rests = [0]
        for name, limit in [(WALLET, 0), *((budget.account(now), budget.limit) for budget in budgets)]:
            account = accounts.get(name)
            sliced = account.sliced if account is not None and wanted != "all" else 0
            bound = limit if account is None else account.limit
            if bound is not None:
                rests.append((0 if account is None else account.net) + bound + sliced)
        return max(0, min(rests[1:], default=0)) + (wanted == "one too many")

    async def admit(self, pick: int) -> None:
        found = self.facts_in("held")
        if found:
            gateway, fact = found[pick % len(found)]
            gateway.admit(fact)
            self.facts[fact.entry.request] = fact

    async def release(self, pick: int) -> None:
        found = self.facts_in("held")
        if found:
            gateway, fact = found[pick % len(found)]
            gateway.release(fact)
            await breathe()

    async def settle(self, pick: int, how: str, rest: int) -> None:
        found = self.facts_in("admitted")
        if found:
            gateway, fact = found[pick % len(found)]
            micro = {"nothing": 0, "little": 0, "half": fact.micro // 2, "all": fact.micro, "more": fact.micro + 7}[how]
            grains = micro * GRAINS + (0 if how == "nothing" else rest)
            fact.bound = bound_micro(fact.micro, grains)
            gateway.settle(fact, settled(fact.entry, grains=str(grains)))
            await breathe()

    async def leave(self, pick: int) -> None:
        """A caller leaves while money is asked for."""
        waiting = [task for gateway in self.alive() for task in gateway.asking.values() if not task.done()]
        if waiting:
            waiting[pick % len(waiting)].cancel()
            await breathe()

    async def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await breathe()

    # what gateways do by themselves

    async def do(self, pick: int, what: str, smooth: bool) -> None:
        gateway = self.at_work(pick)
        if gateway is not None:
            await self._do(gateway, what)
            if smooth:
                await self._through(gateway, pick)

    async def _do(self, gateway: Gateway, what: str) -> None:
        {"load": gateway.load, "tidy": gateway.tidy, "poke": gateway.poke}[what]()
        await breathe()

    # what becomes of what they ask

    async def call(self, pick: int, which: int, how: str) -> None:
        """One of the calls that are under way goes on."""
        waiting = [gateway for gateway in self.alive() if gateway.wire.calls]
        if waiting:
            gateway = waiting[pick % len(waiting)]
            call = gateway.wire.next(which)
            if call is not None:
                await self._pass(gateway, call, how)

    async def _through(self, gateway: Gateway, pick: int) -> None:
        """As many calls as a gateway has under way are done and heard, in some order."""
        for _ in list(gateway.wire.calls):
            call = gateway.wire.next(pick)
            if call is not None:
                await self._pass(gateway, call, "through")

    async def _pass(self, gateway: Gateway, call: Call, how: str) -> None:
        if not call.done and how not in {"lost", "lost later"}:
            await self._commit(gateway, call)
        if how in {"lost", "lost later", "done and lost"}:
            call.lose(later=how == "lost later")
        elif how != "done":
            self._hear(gateway, call)
        gateway.wire.sweep()
        if gateway.ready:
            await breathe()
        else:
            await self.starting(gateway)

    async def _commit(self, gateway: Gateway, call: Call) -> None:
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

    @rule(pick=picks, done=st.integers(0, 3))
    def a_gateway_dies(self, pick: int, done: int) -> None:
        """Some of what it asked for is done, which it never hears; the rest was never sent."""
        gateway = self.at_work(pick)
        if gateway is None:
            return

        async def die() -> None:
            gateway.wire.cut = True
            for _ in range(done):
                call = next((call for call in gateway.wire.calls if not call.done), None)
                if call is not None:
                    await self._commit(gateway, call)
            gateway.kill()
            await breathe()

        self.runner.run(die())

    @precondition(lambda self: len(self.alive()) < len(self.gateways))
    @rule(pick=picks)
    def it_starts_again(self, pick: int) -> None:
        dead = [gateway for gateway in self.gateways.values() if gateway.wire.cut]
        self.start(dead[pick % len(dead)].name)

    @rule()
    def a_start_that_failed_is_repeated(self) -> None:
        for gateway in self.alive():
            if not gateway.ready and gateway.loading is not None and gateway.loading.done():
                gateway.kill()
                self.start(gateway.name)

    # the world around them

    @rule(micro=st.sampled_from([1, 500, 20_000]))
    def credit_comes_in(self, micro: int) -> None:
        self.house.do(Transfer(self.ids.new("pay"), "payments", WALLET, micro, "topup", "", NOW), now=self.clock.now())

    @rule(which=st.integers(0, 2), cap=st.sampled_from(CAPS))
    def a_cap_changes(self, which: int, cap: int) -> None:
        self.caps[which] = cap
        self.put_budgets()

    @rule(seconds=st.sampled_from([6.0, 61.0, 40_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.runner.run(breathe())

    @rule(seconds=st.sampled_from([-30.0, -3.0, 3.0]))
    def the_clock_is_set(self, seconds: float) -> None:
        self.clock.step(seconds)
        self.runner.run(breathe())

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

    @invariant()
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
        self.runner.run(self._quiet())
        for gateway, fact in self.facts_in("held"):
            self.runner.run(self._let_go(gateway, fact))
        for _, fact in self.facts_in("admitted"):
            gateway = next(g for g in self.alive() if fact.entry.request in g.facts)
            fact.bound = bound_micro(fact.micro, fact.micro * GRAINS)
            self.runner.run(self._end(gateway, fact))
        for _ in range(4):
            for gateway in self.alive():
                for what in ("load", "poke", "tidy"):
                    self.runner.run(self._do(gateway, what))
                    self.runner.run(self._quiet())
            self.clock.advance(6.0)
        self._check_the_end()

    async def _let_go(self, gateway: Gateway, fact: Fact) -> None:
        gateway.release(fact)
        await breathe()

    async def _end(self, gateway: Gateway, fact: Fact) -> None:
        gateway.settle(fact, settled(fact.entry, micro=fact.micro))
        await breathe()

    async def _quiet(self) -> None:
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
                await self._pass(gateway, call, "through")
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


@pytest.mark.timeout(900)  # a failure is made small before it is shown
def test_escrow_machine(tmp_path: Path) -> None:
    template = tmp_path / "template.db"
    database = Database(template)
    database.migrate(metadata.create_all)
    database.close()
    machine = type("TemplatedEscrowMachine", (EscrowMachine,), {"template": template})
    examples = settings(max_examples=settings.default.max_examples // 5, stateful_step_count=40)
    run_state_machine_as_test(machine, settings=examples)
