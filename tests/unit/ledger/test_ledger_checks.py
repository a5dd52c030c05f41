"""Commands that no ledger could accept."""

import pytest
from msgspec.structs import replace

from surplus.kit.money import GRAINS_PER_MICRO, MAX_MICRO
from surplus.ledger.checks import NAME_MAX, NOTE_MAX, check
from surplus.ledger.commands import Command, OpenAccount, PostHold, SetLimit, Transfer, VoidHold
from surplus.ledger.errors import BadCommand
from surplus.ledger.model import AccountKind
from tests.unit.ledger.book import NOW, WALLET, budget, place

OPEN = OpenAccount("k", "wallet:a", AccountKind.WALLET, 0)
LIMIT = SetLimit("k", "wallet:a", 0)
MOVE = Transfer("k", "a", "b", 1, "", "", NOW)
PLACE = place("h", 1, budget("a", 1))
POST = PostHold("h", 0, "revenue:x", "", NOW)
VOID = VoidHold("h", "")


@pytest.mark.parametrize("command", [OPEN, LIMIT, MOVE, PLACE, POST, VOID])
def test_the_least_of_every_command_is_accepted(command: Command) -> None:
    check(command)


@pytest.mark.parametrize(
    ("command", "param"),
    [
        (replace(OPEN, key=""), "key"),
        (replace(OPEN, key="open:wallet:a"), "key"),
        (replace(OPEN, account=""), "account"),
        (replace(OPEN, limit=-1), "limit"),
        (replace(OPEN, limit=MAX_MICRO), "limit"),
        (replace(OPEN, kind=AccountKind.REVENUE), "limit"),
        (replace(OPEN, account="overrun"), "account"),
        (replace(LIMIT, key="post:h1"), "key"),
        (replace(LIMIT, limit=-1), "limit"),
        (replace(LIMIT, account="a" * (NAME_MAX + 1)), "account"),
        (replace(MOVE, key="hold:h1"), "key"),
        (replace(MOVE, key="a\nb"), "key"),
        (replace(MOVE, credit="a"), "credit"),
        (replace(MOVE, debit=""), "debit"),
        (replace(MOVE, amount_micro=0), "amount_micro"),
        (replace(MOVE, amount_micro=-5), "amount_micro"),
        (replace(MOVE, code="x" * (NOTE_MAX + 1)), "code"),
        (replace(MOVE, ref="\ud800"), "ref"),
        (replace(MOVE, ref="\x00"), "ref"),
        (replace(MOVE, event_at=float("nan")), "event_at"),
        (replace(MOVE, event_at=NOW * 1000), "event_at"),
        (replace(PLACE, hold=""), "hold"),
        (replace(PLACE, amount_micro=-1), "amount_micro"),
        (replace(PLACE, amount_micro=MAX_MICRO), "amount_micro"),
        (replace(PLACE, deadline=float("inf")), "deadline"),
        (replace(PLACE, deadline=float("nan")), "deadline"),
        (replace(PLACE, wallet=budget("a", 1)), "wallet"),
        (replace(PLACE, budgets=(WALLET,)), "budgets"),
        (replace(PLACE, budgets=PLACE.budgets * 2), "budgets"),
        (replace(PLACE, budgets=(budget("x", 1),), wallet=replace(WALLET, account="budget:x")), "budgets"),
        (replace(PLACE, wallet=replace(WALLET, account="payments")), "account"),
        (replace(POST, grains=-1), "grains"),
        (replace(POST, grains=(MAX_MICRO - 1) * GRAINS_PER_MICRO + 1), "grains"),
        (replace(POST, revenue=""), "revenue"),
        (replace(POST, revenue="overrun"), "revenue"),
        (replace(POST, event_at=-1.0), "event_at"),
        (replace(VOID, hold="x" * (NAME_MAX + 1)), "hold"),
        (replace(VOID, reason="x" * (NOTE_MAX + 1)), "reason"),
    ],
)
def test_what_is_out_of_range_is_refused_and_named(command: Command, param: str) -> None:
    with pytest.raises(BadCommand) as refusal:
        check(command)
    assert refusal.value.param == param


def test_l8_the_largest_cost_that_fits_is_accepted() -> None:
    check(replace(POST, grains=(MAX_MICRO - 1) * GRAINS_PER_MICRO))
