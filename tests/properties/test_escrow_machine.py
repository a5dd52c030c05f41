"""Escrow under any interleaving of several gateways, lost answers, deaths, clocks and caps: no cent too much is spent,
and nobody is refused while there is money."""

import sys
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

from surplus.billing.budgets import Budget
from surplus.gateway.escrow import bound_micro
from surplus.gateway.ports import HoldRequest
from surplus.ledger.commands import Transfer
from tests.properties.escrow_parts import Gateway, breathe
from tests.properties.escrow_world import GRAINS, World
from tests.stores import Stores
from tests.unit.gateway.house import TTL_S, WALLET
from tests.unit.gateway.parts import NOW, settled

CAPS = (0, 200, 1500, 4000, 60_000)
CREDIT = (400, 3000, 9000, 100_000)
MICROS = (0, 1, 3, 10, 40, 200)
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


class EscrowMachine(World, RuleBasedStateMachine):
    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and self.gateways:
                self.all_books_agree_in_the_end()
        finally:
            self.close()

    @initialize(credit=st.sampled_from(CREDIT), caps=st.tuples(*[st.sampled_from(CAPS)] * 3))
    def a_world(self, credit: int, caps: tuple[int, int, int]) -> None:
        self.begin(credit, caps)

    @invariant()
    def everything_holds_always(self) -> None:
        self.everything_holds()

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
            await self.act(gateway, what)
            if smooth:
                await self._through(gateway, pick)

    # what becomes of what they ask

    async def call(self, pick: int, which: int, how: str) -> None:
        """One of the calls that are under way goes on."""
        waiting = [gateway for gateway in self.alive() if gateway.wire.calls]
        if waiting:
            gateway = waiting[pick % len(waiting)]
            call = gateway.wire.next(which)
            if call is not None:
                await self.pass_on(gateway, call, how)

    async def _through(self, gateway: Gateway, pick: int) -> None:
        """As many calls as a gateway has under way are done and heard, in some order."""
        for _ in list(gateway.wire.calls):
            call = gateway.wire.next(pick)
            if call is not None:
                await self.pass_on(gateway, call, "through")

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
                    await self.commit(gateway, call)
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


@pytest.mark.timeout(900)  # a failure is made small before it is shown
def test_escrow_machine(stores: Stores, tmp_path: Path) -> None:
    machine = type("EscrowMachineOnAStore", (EscrowMachine,), {"stores": stores, "folder": tmp_path})
    examples = settings(max_examples=settings.default.max_examples // stores.cost // 5, stateful_step_count=40)
    run_state_machine_as_test(machine, settings=examples)
