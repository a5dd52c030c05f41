"""What a sound log cannot contain."""

import pytest
from msgspec.structs import replace

from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger.audit import flaw
from surplus.ledger.commands import VoidHold
from surplus.ledger.evolve import State, evolve
from surplus.ledger.model import Entry, EntryKind
from tests.unit.ledger.book import NOW, WALLET, budget, funded, place, post


def sound_log() -> list[Entry]:
    book = funded(1000)
    book.do(place("h1", 100, budget("a", 100)))
    book.do(post("h1", 150, grains=5))
    book.do(place("h2", 10))
    book.do(VoidHold("h2", ""))
    book.do(place("h3", 10))
    book.now = NOW + 60
    book.do(post("h3", 4))
    return book.log


def replay(log: list[Entry]) -> list[str]:
    state = State(0)
    for entry in log:
        problem = flaw(state, entry)
        if problem is not None:
            return [problem]
        evolve(state, entry)
    return []


def test_a_sound_log_has_no_flaw() -> None:
    assert replay(sound_log()) == []


@pytest.mark.parametrize("cut", range(1, len(sound_log())))
def test_l7_a_missing_entry_is_found(cut: int) -> None:
    log = sound_log()
    assert replay(log[: cut - 1] + log[cut:]) == [f"follows seq {cut - 1}: entries are missing"]


def first(kind: EntryKind) -> int:
    return next(index for index, entry in enumerate(sound_log()) if entry.kind is kind)


@pytest.mark.parametrize(
    ("kind", "changes", "problem"),
    [
        (EntryKind.TRANSFER, {"account": "wallet:nobody"}, "which is not open"),
        (EntryKind.TRANSFER, {"currency": "USD/budget"}, "whose currency is USD"),
        (EntryKind.TRANSFER, {"account": WALLET.account, "counter": "payments"}, "which has less"),
        (EntryKind.OPEN, {"account_kind": "purse"}, "no kind of account"),
        (EntryKind.OPEN, {"currency": "EUR"}, "opens wallet:org_1 in 'EUR'"),
        (EntryKind.PLACE, {"amount_micro": 1001}, "which has less"),
        (EntryKind.PLACE, {"scopes": ("wallet:nobody",)}, "which is not open"),
        (EntryKind.PLACE, {"hold": "h9"}, "is not that of hold h9"),
        (EntryKind.POST, {"amount_micro": 99}, "where 100 + 50 is due"),
        (EntryKind.POST, {"overrun_micro": 0}, "where 100 + 50 is due"),
        (EntryKind.POST, {"cost_micro": 149}, "where 100 + 49 is due"),
        (EntryKind.POST, {"rest_grains": GRAINS_PER_MICRO}, "no amount"),
        (EntryKind.POST, {"cost_micro": -1}, "no amount"),
        (EntryKind.POST, {"scopes": (WALLET.account,)}, "other accounts"),
        (EntryKind.POST, {"counter": "revenue:unknown"}, "which is not open"),
        (EntryKind.POST, {"hold": "h7", "key": "post:h7"}, "never placed"),
        (EntryKind.POST, {"kind": EntryKind.LATE}, "is placed, not expired"),
        (EntryKind.VOID, {"hold": "h1", "key": "void:h1"}, "is posted, not placed"),
        (EntryKind.EXPIRE, {"event_at": NOW}, "another instant than its deadline"),
        (EntryKind.EXPIRE, {"hold": "h2", "key": "expire:h2"}, "is voided, not placed"),
        (EntryKind.LATE, {"kind": EntryKind.POST}, "is expired, not placed"),
        (EntryKind.LATE, {"overrun_micro": 3}, "where 0 + 4 is due"),
    ],
)
def test_an_entry_that_was_changed_is_found(kind: EntryKind, changes: dict[str, object], problem: str) -> None:
    log = sound_log()
    index = first(kind)
    log[index] = replace(log[index], **changes)
    found = replay(log)
    assert found
    assert problem in found[0]


@pytest.mark.parametrize("kind", [EntryKind.OPEN, EntryKind.PLACE, EntryKind.POST, EntryKind.VOID, EntryKind.EXPIRE])
def test_h2_an_entry_that_happens_twice_is_found(kind: EntryKind) -> None:
    log = sound_log()
    again = replace(log[first(kind)], seq=len(log) + 1)
    assert replay([*log, again])
