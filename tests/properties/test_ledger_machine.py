"""The ledger against an independent auditor, under any sequence of commands, clocks and restarts."""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from surplus.kit import outbox
from surplus.kit.db import Database, ReadSession, WriteSession, metadata
from surplus.kit.errors import IdempotencyConflict
from surplus.ledger import service, tables
from surplus.ledger.commands import Command, OpenAccount, PlaceHold, PostHold, SetLimit, Transfer, VoidHold
from surplus.ledger.errors import BadCommand, InsufficientFunds, UnknownAccount, UnknownHold
from surplus.ledger.evolve import legs
from surplus.ledger.model import (
    AccountKind,
    Expired,
    LimitSet,
    Opened,
    Placed,
    Posted,
    Scope,
    Transferred,
    Voided,
)
from tests.properties.auditor import GRAINS, TOO_MUCH, Answer, Auditor

START = 1_800_000_000.0
WALLETS = {"wallet:a": 0, "wallet:b": 300}  # opening limits
BUDGETS = {"budget:x": 400, "budget:y": 1000, "budget:soft": None}
ALL = (*WALLETS, *BUDGETS)
ENDINGS = {"post", "void", "expire"}
HOLD = tables.entries.c.keys().index("hold")

amounts = st.integers(0, 600)
limits = st.one_of(st.integers(0, 900), st.none())
numbers = st.integers(0, 10**6)
costs = st.tuples(st.sampled_from(["nothing", "below", "at", "above"]), st.integers(1, GRAINS - 1))
operations = st.one_of(
    st.tuples(st.just("place"), st.sampled_from(list(WALLETS)), st.sets(st.sampled_from(list(BUDGETS))), amounts,
              st.integers(1, 90)),
    st.tuples(st.just("post"), numbers, costs),
    st.tuples(st.just("void"), numbers),
    st.tuples(st.just("top up"), st.sampled_from(list(WALLETS)), st.one_of(st.integers(1, 2000), st.just(TOO_MUCH))),
    st.tuples(st.just("refund"), st.sampled_from(list(WALLETS)), st.integers(1, 500)),
    st.tuples(st.just("limit"), st.sampled_from(ALL), limits),
    st.tuples(st.just("repeat"), numbers),
    st.tuples(st.just("contradict"), numbers),
)  # fmt: skip


IN_THE_AUDITORS_WORDS: dict[type, Callable[..., Answer]] = {
    Placed: lambda found: ("placed", found.state.value, found.first),
    Posted: lambda found: ("posted", found.charged_micro, found.overrun_micro, found.first),
    Voided: lambda found: ("voided", found.first),
    Expired: lambda _: ("expired",),
    Transferred: lambda found: ("moved", found.first),
    LimitSet: lambda found: ("limit", found.limit, found.first),
    InsufficientFunds: lambda found: ("short", found.account, False),
    UnknownAccount: lambda found: ("unknown", found.account, False),
    UnknownHold: lambda found: ("unknown", found.hold, False),
    IdempotencyConflict: lambda found: ("conflict", found.param),
    BadCommand: lambda _: ("bad",),
}


class LedgerMachine(RuleBasedStateMachine):
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=self.template.parent)
        self.path = Path(self.directory.name) / "ledger.db"
        shutil.copyfile(self.template, self.path)
        self.database = Database(self.path)
        self.auditor = Auditor()
        self.now = START
        self.sent: list[Command] = []
        self.log: list[tuple[object, ...]] = []
        self.nets: dict[str, int] = {}

    def teardown(self) -> None:
        self.database.close()
        self.directory.cleanup()

    @initialize(micro=st.integers(1, 3000))
    def begin(self, micro: int) -> None:
        opening = OpenAccount("open a", "wallet:a", AccountKind.WALLET, WALLETS["wallet:a"])
        assert self.database.write_now(service.apply, [opening], now=self.now) == [Opened("wallet:a", 0, first=True)]
        self.auditor.limits["wallet:a"] = 0
        self.apply([Transfer("first", "payments", "wallet:a", micro, "", "", START)])

    # commands

    @rule(chosen=st.lists(operations, min_size=1, max_size=6))
    def batch(self, chosen: list[tuple[object, ...]]) -> None:
        commands: list[Command] = []
        for operation in chosen:
            commands += self.command(operation, len(self.sent) + len(commands))
        self.apply(commands)

    def command(self, operation: tuple[object, ...], number: int) -> list[Command]:
        match operation:
            case ("place", str(wallet), set(names), int(amount), int(ttl)):
                budgets = tuple(Scope(name, AccountKind.BUDGET, BUDGETS[name]) for name in sorted(names, reverse=True))
                scope = Scope(wallet, AccountKind.WALLET, WALLETS[wallet])
                return [PlaceHold(f"h{number}", scope, budgets, amount, self.now + ttl, "")]
            case ("post", int(pick), (str(how), int(rest))):
                hold, amount = self.some_hold(pick)
                micro = {"nothing": 0, "below": amount // 2, "at": amount, "above": amount + pick % 50 + 1}[how]
                return [PostHold(hold, micro * GRAINS + (rest if how != "nothing" else 0), "revenue:tokens", "", START)]
            case ("void", int(pick)):
                return [VoidHold(self.some_hold(pick)[0], "")]
            case ("top up", str(wallet), int(amount)):
                return [Transfer(f"t{number}", "payments", wallet, amount, "", "", START)]
            case ("refund", str(wallet), int(amount)):
                return [Transfer(f"t{number}", wallet, "payments", amount, "", "", START)]
            case ("limit", str(account), limit):
                assert limit is None or isinstance(limit, int)
                return [SetLimit(f"s{number}", account, limit)]
            case ("repeat", int(pick)):
                return [self.sent[pick % len(self.sent)]]
            case ("contradict", int(pick)):
                return [contradiction(self.sent[pick % len(self.sent)])]
            case _:
                raise AssertionError(operation)

    def some_hold(self, pick: int) -> tuple[str, int]:
        """A hold of before, mostly an open one; or one that was never placed."""
        open_ones = [name for name, hold in self.auditor.holds.items() if hold.ends == "placed"]
        names = (open_ones if pick % 4 else list(self.auditor.holds)) or ["h-none"]
        name = names[pick // 4 % len(names)]
        return name, self.auditor.holds[name].amount if name in self.auditor.holds else 0

    def apply(self, commands: list[Command]) -> None:
        answers = self.database.write_now(service.apply, commands, now=self.now)
        self.auditor.sweep(self.now)
        for command, outcome in zip(commands, answers, strict=True):
            expected = self.expected(command)
            assert IN_THE_AUDITORS_WORDS[type(outcome)](outcome) == expected, (command, outcome)
            if isinstance(outcome, LimitSet):
                self.nets[outcome.account] = self.auditor.net(outcome.account, self.now)
        self.sent += commands

    def expected(self, command: Command) -> Answer:
        auditor = self.auditor
        match command:
            case PlaceHold():
                scopes = [(scope.account, scope.limit) for scope in (command.wallet, *command.budgets)]
                return auditor.place(command.hold, scopes, command.amount_micro, command.deadline, self.now)
            case PostHold():
                return auditor.post(command.hold, command.grains)
            case VoidHold():
                return auditor.void(command.hold)
            case Transfer():
                return auditor.move(command.key, command.debit, command.credit, command.amount_micro, self.now)
            case SetLimit():
                return auditor.limit(command.key, command.account, command.limit)
            case OpenAccount():
                raise AssertionError(command)

    # the world

    @rule(seconds=st.integers(1, 60))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(seconds=st.integers(1, 40))
    def the_clock_steps_back(self, seconds: int) -> None:
        self.now -= seconds

    @rule()
    def l3_rebuild(self) -> None:
        before = self.database.read_now(dump)
        self.database.write_now(service.rebuild)
        assert self.database.read_now(dump) == before

    @rule()
    def l10_reopen(self) -> None:
        self.database.close()
        self.database = Database(self.path)

    @rule(chosen=st.lists(operations, min_size=1, max_size=3))
    def l10_a_transaction_fails(self, chosen: list[tuple[object, ...]]) -> None:
        commands = [command for operation in chosen for command in self.command(operation, len(self.sent))]

        def fail(session: WriteSession) -> None:
            service.apply(session, commands, now=self.now)
            raise InterruptedError

        with pytest.raises(InterruptedError):
            self.database.write_now(fail)

    # what holds at every instant

    @invariant()
    def l2_l7_the_log_only_grows(self) -> None:
        log = self.database.read_now(dump)["ledger_entry"]
        assert log[: len(self.log)] == self.log
        assert [row[0] for row in log] == list(range(1, len(log) + 1))
        self.log = log

    @invariant()
    def l9_the_log_proves_itself(self) -> None:
        found = self.database.read_now(service.verify)
        assert found.ok, found.problems
        assert found.entries == len(self.log)

    @invariant()
    def l1_l3_accounts_are_what_the_auditor_says(self) -> None:
        accounts = self.database.read_now(dump)["ledger_account"]
        totals: defaultdict[str, int] = defaultdict(int)
        for name, _, currency, limit, _, credits_, debits, _, carry in accounts:
            totals[currency] += credits_ - debits
            assert (credits_, debits) == (self.auditor.credits(name), self.auditor.debits(name)), name
            assert (limit, carry) == (self.auditor.limits[name], self.auditor.costs.get(name, 0) % GRAINS), name
        assert set(totals.values()) <= {0}
        assert {row[0] for row in accounts} == set(self.auditor.limits)

    @invariant()
    def h3_h4_balances_are_what_the_auditor_says(self) -> None:
        balances = self.database.read_now(service.balances, self.auditor.limits, now=self.now)
        for name, found in balances.items():
            assert found.held == self.auditor.held(name, self.now), name
            if found.limit is not None:
                assert found.credits + found.limit == found.available + found.held + found.debits

    @invariant()
    def l4_h5_nothing_is_used_beyond_a_limit(self) -> None:
        """But for what was in use when a limit was lowered; that never grows."""
        for name, _, _, limit, _, credits_, debits, held, _ in self.database.read_now(dump)["ledger_account"]:
            net = credits_ - debits - held
            assert limit is None or net >= min(-limit, self.nets.get(name, -limit)), name
            self.nets[name] = net

    @invariant()
    def h2_holds_end_as_the_auditor_says_and_once(self) -> None:
        holds = self.database.read_now(dump)["ledger_hold"]
        found = {row[0]: (row[1], row[7], row[8]) for row in holds}
        assert found == {name: (h.ends, h.charged, h.overrun) for name, h in self.auditor.holds.items()}
        ended = [row[HOLD] for row in self.log if row[1] in ENDINGS]
        assert len(ended) == len(set(ended))

    @invariant()
    def h6_every_overrun_was_told(self) -> None:
        told = {m.body["hold"]: m.body["overrun_micro"] for m in self.database.read_now(outbox.pending, "t", limit=999)}
        assert told == {name: hold.overrun for name, hold in self.auditor.holds.items() if hold.overrun}

    @invariant()
    def l3_the_entries_of_an_account_add_up_to_its_balance(self) -> None:
        for name in self.auditor.limits:
            entries = self.database.read_now(service.entries, name, limit=10_000)
            moved = sum(leg.delta for entry in entries for leg in legs(entry) if leg.account == name)
            assert moved == self.auditor.credits(name) - self.auditor.debits(name), name


def contradiction(command: Command) -> Command:
    """Another command under the key of this one."""
    match command:
        case PlaceHold():
            return PlaceHold(
                command.hold, command.wallet, command.budgets, command.amount_micro + 1, command.deadline, ""
            )
        case PostHold():
            return PostHold(command.hold, command.grains + 1, command.revenue, "", command.event_at)
        case Transfer():
            credit, event_at = command.credit, command.event_at
            return Transfer(command.key, command.debit, credit, command.amount_micro % 7 + 2001, "", "", event_at)
        case SetLimit():
            return SetLimit(command.key, command.account, (command.limit or 0) + 1)
        case OpenAccount() | VoidHold():
            return command


def dump(session: ReadSession) -> dict[str, list[tuple[object, ...]]]:
    found = (tables.entries, tables.batches, tables.accounts, tables.holds)
    return {
        table.name: [tuple(row) for row in session.all(select(table).order_by(*table.primary_key.columns))]
        for table in found
    }


@pytest.mark.timeout(600)  # a failure is made small before it is shown
def test_ledger_machine(tmp_path: Path) -> None:
    template = tmp_path / "template.db"
    database = Database(template)
    database.migrate(metadata.create_all)
    database.close()
    machine = type("TemplatedLedgerMachine", (LedgerMachine,), {"template": template})
    examples = settings(max_examples=settings.default.max_examples // 2, stateful_step_count=25)
    run_state_machine_as_test(machine, settings=examples)
