"""The ledger against an independent auditor, under any sequence of commands, clocks and restarts."""

import json
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from surplus.kit import outbox
from surplus.kit.db import Database, ReadSession, WriteSession
from surplus.ledger import service, tables
from surplus.ledger.commands import Command, OpenAccount, SetLimit, Transfer
from surplus.ledger.evolve import legs
from surplus.ledger.model import AccountKind, LimitSet, Opened
from tests.properties import ledger_operations as random
from tests.properties.auditor import GRAINS, Auditor, Recall
from tests.stores import Stores

HOLD = tables.entries.c.keys().index("hold")
POOR = 3000
ENDINGS = {"post", "void", "expire"}

Rows = list[tuple[Any, ...]]
Operations = list[tuple[Any, ...]]


def some(operations: st.SearchStrategy[tuple[Any, ...]]) -> st.SearchStrategy[Operations]:
    return st.lists(operations, min_size=1, max_size=5)


def dump(session: ReadSession) -> dict[str, Rows]:
    """Every row of every ledger table, in the order of its primary key."""
    found = (tables.entries, tables.batches, tables.accounts, tables.holds, tables.slices, tables.slice_scopes)
    return {
        table.name: [tuple(row) for row in session.all(select(table).order_by(*table.primary_key.columns))]
        for table in found
    }


class LedgerMachine(RuleBasedStateMachine):
    stores: Stores

    def __init__(self) -> None:
        super().__init__()
        self.place = self.stores.place()
        self.database = Database(self.place)
        self.auditor = Auditor()
        self.writer = random.Writer(self.auditor)
        self.now: float = random.START
        self.log: Rows = []
        self.nets: dict[str, int] = {}

    def teardown(self) -> None:
        self.database.close()
        self.stores.forget(self.place)

    @initialize(micro=st.one_of(st.integers(1, POOR), st.integers(POOR, 100_000)))
    def begin(self, micro: int) -> None:
        opening = OpenAccount("open a", "wallet:a", AccountKind.WALLET, 0)
        assert self.database.write_now(service.apply, [opening], now=self.now) == [Opened("wallet:a", 0, first=True)]
        self.auditor.limits["wallet:a"] = 0
        self.apply([Transfer("first", "payments", "wallet:a", micro, "", "", random.START)])
        if micro > POOR:  # slices are possible
            self.apply([SetLimit(f"rich {name}", name, micro // 3) for name in random.WALLETS])

    # commands

    @rule(chosen=some(random.anything))
    def mixed_batch(self, chosen: Operations) -> None:
        self.apply(self.writer.write(chosen, self.now))

    @rule(chosen=some(random.places))
    def h1_place(self, chosen: Operations) -> None:
        self.apply(self.writer.write(chosen, self.now))

    @rule(chosen=some(random.settlements))
    def h2_settle(self, chosen: Operations) -> None:
        self.apply(self.writer.write(chosen, self.now))

    @rule(chosen=some(random.slices))
    def draw_and_give_back(self, chosen: Operations) -> None:
        self.apply(self.writer.write(chosen, self.now))

    @rule(number=st.integers(0, 3), micro=st.integers(0, 60))
    def tell_what_is_granted(self, number: int, micro: int) -> None:
        """Also of slices that are gone, which leaves no trace."""
        self.database.write_now(service.grant, {f"s{number}": micro})
        if f"s{number}" in self.auditor.lots:
            self.auditor.granted[f"s{number}"] = micro

    @rule(chosen=some(random.money))
    def move_money(self, chosen: Operations) -> None:
        self.apply(self.writer.write(chosen, self.now))

    @rule(chosen=some(random.echoes))
    def l6_say_it_again(self, chosen: Operations) -> None:
        self.apply(self.writer.write(chosen, self.now))

    def apply(self, commands: list[Command]) -> None:
        answers = self.database.write_now(service.apply, commands, now=self.now)
        self.auditor.sweep(self.now)
        for command, outcome in zip(commands, answers, strict=True):
            expected = random.expect(self.auditor, command, self.now)
            assert random.IN_THE_AUDITORS_WORDS[type(outcome)](outcome) == expected, (command, outcome)
            if isinstance(outcome, LimitSet):
                self.nets[outcome.account] = self.auditor.net(outcome.account, self.now)
        self.auditor.committed()
        self.writer.sent += commands

    # the world

    @rule(seconds=st.integers(-30, 30))
    def l7_the_clock_moves_or_steps_back(self, seconds: int) -> None:
        self.now += seconds

    @rule(nudge=st.sampled_from([-0.5, 0, 0.5]))
    def h4_a_deadline_is_near(self, nudge: float) -> None:
        deadlines = [hold.deadline for hold in self.auditor.holds.values() if hold.ends == "placed"]
        self.now = min(deadlines, default=self.now) + nudge

    @rule(reopen=st.booleans())
    def l3_l10_rebuild_or_reopen(self, *, reopen: bool) -> None:
        before = self.database.read_now(dump)
        if reopen:
            self.database.close()
            self.database = Database(self.place)
        else:
            self.database.write_now(service.rebuild)
        assert self.database.read_now(dump) == before

    @rule(chosen=some(random.anything))
    def l10_a_transaction_fails(self, chosen: Operations) -> None:
        commands = self.writer.write(chosen, self.now)

        def fail(session: WriteSession) -> None:
            service.apply(session, commands, now=self.now)
            raise InterruptedError

        with pytest.raises(InterruptedError):
            self.database.write_now(fail)

    # what holds at every instant

    @invariant()
    def everything_holds(self) -> None:
        found = self.database.read_now(dump)
        self.l2_l7_the_log_only_grows(found["ledger_entry"])
        self.l1_l3_accounts_are_what_the_auditor_says(found["ledger_account"])
        self.l4_h5_nothing_is_used_beyond_a_limit(found["ledger_account"])
        self.slices_are_what_the_auditor_says(found["ledger_slice"], found["ledger_slice_scope"])
        self.h2_holds_end_as_the_auditor_says_and_once(found["ledger_hold"])
        self.h3_h4_balances_are_what_the_auditor_says()
        self.h6_every_overrun_was_told()
        self.l9_the_log_proves_itself()

    def l2_l7_the_log_only_grows(self, log: Rows) -> None:
        assert log[: len(self.log)] == self.log
        assert [row[0] for row in log] == list(range(1, len(log) + 1))
        self.log = log

    def l1_l3_accounts_are_what_the_auditor_says(self, accounts: Rows) -> None:
        totals: defaultdict[str, int] = defaultdict(int)
        for name, _, currency, limit, _, credits_, debits, _, carry, sliced, _, at, scarce in accounts:
            totals[currency] += credits_ - debits
            assert (credits_, debits) == (self.auditor.credits(name), self.auditor.debits(name)), name
            recall = self.auditor.recalls.get(name, Recall(0, 0, 0))
            assert (sliced, at, scarce) == (self.auditor.sliced(name), recall.at, recall.needed), name
            assert (limit, carry) == (self.auditor.limits[name], self.auditor.costs.get(name, 0) % GRAINS), name
        assert set(totals.values()) <= {0}
        assert {row[0] for row in accounts} == set(self.auditor.limits)

    def l4_h5_nothing_is_used_beyond_a_limit(self, accounts: Rows) -> None:
        """But for what was in use when a limit was lowered; that never grows."""
        for name, _, _, limit, _, credits_, debits, held, *_ in accounts:
            net = credits_ - debits - held
            assert limit is None or net >= min(-limit, self.nets.get(name, -limit)), name
            self.nets[name] = net

    def slices_are_what_the_auditor_says(self, slices: Rows, scopes: Rows) -> None:
        found = {row[0]: (row[1], row[2], row[3], bool(row[5])) for row in slices}
        assert found == {
            name: (lot.holder, json.dumps(lot.scopes, separators=(",", ":")), lot.amount, lot.returned)
            for name, lot in self.auditor.lots.items()
        }
        assert scopes == sorted((scope, name) for name, lot in self.auditor.lots.items() for scope in lot.scopes)
        for holder in ("gw0", "gw1", "gw2"):
            assert self.database.read_now(service.recalled, holder) == self.auditor.to_give_back(holder)
            mine = [name for name, lot in sorted(self.auditor.lots.items()) if lot.holder == holder]
            assert [one.id for one in self.database.read_now(service.slices_of, holder)] == mine

    def h2_holds_end_as_the_auditor_says_and_once(self, holds: Rows) -> None:
        found = {row[0]: (row[1], row[7], row[8]) for row in holds}
        assert found == {name: (h.ends, h.charged, h.overrun) for name, h in self.auditor.holds.items()}
        assert all(row[9] == row[4] for row in holds if row[1] == "expired")
        ended = [row[HOLD] for row in self.log if row[1] in ENDINGS]
        assert len(ended) == len(set(ended))

    def h3_h4_balances_are_what_the_auditor_says(self) -> None:
        balances = self.database.read_now(service.balances, self.auditor.limits, now=self.now)
        for name, found in balances.items():
            assert found.held == self.auditor.held(name, self.now), name
            if found.limit is not None:
                assert found.credits + found.limit == found.available + found.held + found.debits

    def h6_every_overrun_was_told(self) -> None:
        told: Counter[str] = Counter()
        for message in self.database.read_now(outbox.pending, "t", limit=999):
            told[message.body["hold"]] += message.body["overrun_micro"]
        overruns = {name: hold.overrun for name, hold in self.auditor.holds.items()} | self.auditor.overruns
        assert told == {name: micro for name, micro in overruns.items() if micro}

    def l9_the_log_proves_itself(self) -> None:
        found = self.database.read_now(service.verify)
        assert found.ok, found.problems
        assert found.entries == len(self.log)

    @rule(name=st.sampled_from([*random.WALLETS, *random.BUDGETS, "overrun", "budgeted", "revenue:tokens"]))
    def l3_the_entries_of_an_account_add_up_to_its_balance(self, name: str) -> None:
        if name in self.auditor.limits:
            entries = self.database.read_now(service.entries, name, limit=10_000)
            moved = sum(leg.delta for entry in entries for leg in legs(entry) if leg.account == name)
            assert moved == self.auditor.credits(name) - self.auditor.debits(name)


@pytest.mark.timeout(600)  # a failure is made small before it is shown
def test_ledger_machine(stores: Stores) -> None:
    machine = type("LedgerMachineOnAStore", (LedgerMachine,), {"stores": stores})
    examples = settings(max_examples=settings.default.max_examples // stores.cost // 2, stateful_step_count=40)
    run_state_machine_as_test(machine, settings=examples)
