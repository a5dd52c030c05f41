"""After a crash: settled requests are exact, interrupted ones have one record, and nothing is held for nobody."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from surplus.billing.budgets import Budget
from surplus.billing.errors import UnknownPriceVersion
from surplus.gateway.entries import encode
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database
from surplus.ledger import service as ledger
from surplus.ledger.commands import DrawSlice
from surplus.ledger.model import AccountKind, Scope
from surplus.metering.model import Outcome
from surplus.metering.usage import TokenUsage
from tests.unit.gateway import gateway_child as child
from tests.unit.gateway import loading
from tests.unit.gateway.house import GATEWAY, WALLET, House
from tests.unit.gateway.parts import NOW, admitted, settled


class Ruins:
    """What a process left behind, and the next one that puts it right."""

    def __init__(self, data: Path, house: House) -> None:
        self.data, self.house = data, house

    async def recover(self) -> int:
        """One start of the next process, up to the moment where it would listen."""
        journal, slots = child.open_journal(self.data)
        loader = loading.loader(journal, self.house.database, None, None, ManualClock(NOW + 60))
        try:
            interrupted = await loader.recover(slots)
            assert (loader.lag_bytes, slots.in_use, slots.survivors()) == (0, 0, [])
            return interrupted
        finally:
            slots.close()
            journal.close()

    def leave(self, *written: object, flight: dict[str, dict[str, int]] | None = None) -> None:
        """A journal with these entries, and slots with these figures, of a process that has ended."""
        journal, slots = child.open_journal(self.data)
        for entry in written:
            journal.append(encode(entry))  # type: ignore[arg-type]
        figures = dict.fromkeys(
            ("uncached", "cache_read", "cache_write", "output", "delivered_bytes", "delivered_events"), 0
        )
        for request, given in (flight or {}).items():
            slots.claim(request).update(**{**figures, **given})
        slots.close()
        journal.close()


@pytest.fixture
def ruins(database: Database, tmp_path: Path) -> Ruins:
    house = House(database, credit_micro=10_000_000_000)
    house.publish()
    return Ruins(tmp_path, house)


async def test_an_interrupted_request_is_charged_by_the_last_figures_in_its_slot(ruins: Ruins) -> None:
    ruins.house.hold("req_1", 1000)
    figures = {"uncached": 10, "cache_read": 4, "cache_write": 2, "output": 6, "delivered_bytes": 600}
    ruins.leave(admitted("req_1"), flight={"req_1": figures})
    assert await ruins.recover() == 1
    record = ruins.house.record("req_1")
    assert record.usage == TokenUsage(10, 4, 2, 6)
    assert (record.outcome, record.status, record.degraded, record.waste_output) == (Outcome.INTERRUPTED, 500, True, 0)
    assert record.charged_micro == record.cost_micro == 10 * 2 + 4 * 1 + 2 * 3 + 6 * 8
    assert (record.started_at, record.ended_at) == (NOW, NOW + 60)
    ruins.house.check()


async def test_an_interrupted_request_without_a_slot_has_a_record_and_costs_nothing(ruins: Ruins) -> None:
    ruins.house.hold("req_1", 1000)
    ruins.leave(admitted("req_1"))
    assert await ruins.recover() == 1
    record = ruins.house.record("req_1")
    assert (record.usage, record.charged_micro) == (TokenUsage(), 0)
    assert ruins.house.held() == []


async def test_a_slot_of_a_request_that_was_settled_changes_nothing(ruins: Ruins) -> None:
    ruins.house.hold("req_1", 1000)
    ruins.leave(admitted("req_1"), settled(admitted("req_1"), micro=50), flight={"req_1": {"output": 99}})
    assert await ruins.recover() == 0
    assert (ruins.house.record("req_1").charged_micro, ruins.house.record("req_1").usage.output) == (50, 5)


async def test_a_slot_of_a_request_that_was_never_admitted_has_no_record(ruins: Ruins) -> None:
    ruins.house.hold("req_1", 1000)
    ruins.leave(flight={"req_1": {"output": 0}})
    assert await ruins.recover() == 0
    assert ruins.house.records() == []
    assert ruins.house.held() == []
    assert ruins.house.balance().available == 10_000_000_000


async def test_holds_of_others_are_left_alone(ruins: Ruins) -> None:
    ruins.house.hold("contract_1", 1000, ref="contract_1")
    ruins.house.hold("req_9", 1000, ref="gateway-other/req_9")
    ruins.leave()
    await ruins.recover()
    assert sorted(ruins.house.held()) == ["contract_1", "req_9"]


def draw(ruins: Ruins, name: str, holder: str = GATEWAY) -> None:
    """A slice of 10,000 micro-dollars."""
    ruins.house.do(DrawSlice(name, holder, Scope(WALLET, AccountKind.WALLET, 0), (), 10_000, 100))


async def test_slices_are_given_back_after_their_requests_were_charged(ruins: Ruins) -> None:
    draw(ruins, "slice_1")
    draw(ruins, "slice_other", "gw_other")
    first, second = (admitted(f"req_{number}", slice="slice_1", held_micro=100) for number in (1, 2))
    ruins.leave(first, settled(first, micro=60), second, flight={"req_2": {"output": 5}})
    assert await ruins.recover() == 1
    assert [ruins.house.record(f"req_{number}").charged_micro for number in (1, 2)] == [60, 40]
    assert [ruins.house.record(f"req_{number}").overrun_micro for number in (1, 2)] == [0, 0]
    assert ruins.house.database.read_now(ledger.slices_of, GATEWAY) == []
    assert [one.amount for one in ruins.house.database.read_now(ledger.slices_of, "gw_other")] == [10_000]
    ruins.house.check()


async def test_slices_stay_while_the_journal_cannot_be_loaded(ruins: Ruins) -> None:
    """Whoever cannot tell what its requests cost must not free what they hold."""
    draw(ruins, "slice_1")
    entry = admitted("req_1", slice="slice_1", held_micro=100, price_version="price_lost")
    ruins.leave(entry)
    with pytest.raises(UnknownPriceVersion):
        await ruins.recover()
    assert [one.amount for one in ruins.house.database.read_now(ledger.slices_of, GATEWAY)] == [10_000]


async def test_recovering_again_changes_nothing(ruins: Ruins) -> None:
    for number in range(3):
        ruins.house.hold(f"req_{number}", 1000)
    ruins.leave(*(admitted(f"req_{number}") for number in range(3)), flight={"req_1": {"output": 5}})
    assert await ruins.recover() == 3
    before = ruins.house.dump()
    assert await ruins.recover() == 0
    assert ruins.house.dump() == before


async def test_a_crash_during_recovery_is_recovered_from(ruins: Ruins) -> None:
    """The first recovery ends after it has written its endings and before it has loaded them."""
    ruins.house.hold("req_1", 1000)
    ruins.leave(admitted("req_1"), flight={"req_1": {"output": 5}})
    journal, slots = child.open_journal(ruins.data)
    loader = loading.loader(journal, ruins.house.database, None, None, ManualClock(NOW))
    (entry,) = (await loader._unsettled()).values()
    journal.append(encode(await loader._interrupted(entry, slots.survivors()[0])))
    slots.close()
    journal.close()
    assert await ruins.recover() == 0, "it is settled, but not loaded"
    assert ruins.house.record("req_1").usage.output == 5
    ruins.house.check()


async def test_a_price_that_is_unknown_stops_the_start(ruins: Ruins) -> None:
    ruins.house.hold("req_1", 1000)
    ruins.leave(admitted("req_1", price_version="price_unknown"))
    with pytest.raises(UnknownPriceVersion):
        await ruins.recover()
    assert ruins.house.records() == []
    assert ruins.house.held() == ["req_1"]


@dataclass
class Said:
    """What the killed process had reported, which is no more than what it had done."""

    admitted: set[str] = field(default_factory=set)
    delivered: Counter[str] = field(default_factory=Counter)
    settled: dict[str, int] = field(default_factory=dict)


def killed_after(reports: int, data: Path, seed: int, said: Said) -> None:
    """Start the child, kill it once it has made that many reports, and write down all that it said."""
    command = [sys.executable, child.__file__, str(data), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as worker:
        assert worker.stdout is not None
        heard = b""
        while heard.count(b"\n") < reports:
            more = os.read(worker.stdout.fileno(), 65536)
            assert more, "the child ended by itself"
            heard += more
        worker.send_signal(signal.SIGKILL)
        while more := os.read(worker.stdout.fileno(), 65536):
            heard += more
    assert worker.returncode == -signal.SIGKILL
    for line in heard.decode().splitlines():
        kind, request, *rest = line.split()
        if kind == "a":
            said.admitted.add(request)
        elif kind == "d":
            said.delivered[request] = int(rest[0])
        else:
            said.settled[request] = int(rest[0])


@pytest.mark.parametrize("cap", [5_000_000_000, 14_900], ids=["in slices", "near the cap"])
@pytest.mark.parametrize("run", range(2))
async def test_a_gateway_that_is_killed_owes_nobody_anything(ruins: Ruins, run: int, cap: int) -> None:
    """Within 128 of the largest hold of its cap, a budget has no slices."""
    budget: Budget = ruins.house.budget(cap)
    said = Said()
    for life in range(2):
        killed_after(random.Random(run * 10 + life).randrange(1, 400), ruins.data, run * 2 + life, said)
        await ruins.recover()
        check(ruins, said)
        before = ruins.house.dump()
        assert await ruins.recover() == 0
        assert ruins.house.dump() == before
    assert ruins.house.balance(budget.account(NOW)).debits == ruins.house.balance().debits > 0


def check(ruins: Ruins, said: Said) -> None:
    """Every request that was reported is in the books, and every one in the books is as it was reported."""
    ruins.house.check()
    records = {record.id: record for record in ruins.house.records()}
    assert said.admitted <= records.keys()
    assert said.settled.keys() <= said.admitted
    for request, record in records.items():
        settled_at, delivered = said.settled.get(request), said.delivered[request]
        if settled_at is not None:
            assert (record.outcome, record.degraded) == (Outcome.COMPLETED, False)
            assert record.usage == TokenUsage(uncached=child.INPUT, output=settled_at)
        assert delivered <= record.usage.output <= delivered + 1, "no token is in its slot before it is made"
        assert record.outcome in {Outcome.COMPLETED, Outcome.INTERRUPTED}
        assert record.charged_micro == record.cost_micro == record.usage.input * 2 + record.usage.output * 8
    assert ruins.house.held() == []
    assert ruins.house.balance().held == 0
    assert ruins.house.database.read_now(ledger.slices_of, GATEWAY) == []
