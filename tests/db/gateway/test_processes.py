from dataclasses import replace

import pytest

from surplus.gateway import processes
from surplus.gateway.model import LOST_S, Process
from surplus.gateway.processes import GatewayAtWork, UnknownGateway
from surplus.kit.db import Database
from surplus.ledger import service as ledger
from surplus.ledger.commands import DrawSlice, OpenAccount, PlaceHold, Transfer
from surplus.ledger.model import AccountKind, Drawn, Placed, Scope

NOW = 1_800_000_000.0
WALLET = Scope("wallet:org_1", AccountKind.WALLET, 0)
ONE = Process("gw_1", "host-a", 17, "gateway", "0.1.0", NOW, NOW)


def fund(database: Database) -> None:
    """A wallet of a dollar; 20,000 micro-dollars in a slice, 900 in a hold, both of gw_1, and a hold of gw_2."""
    outcomes = database.write_now(
        ledger.apply,
        [
            OpenAccount("open", WALLET.account, AccountKind.WALLET, 0),
            Transfer("pay", "payments", WALLET.account, 1_000_000, "credit", "", NOW),
            DrawSlice("slice_1", "gw_1", WALLET, (), 20_000, 900),
            PlaceHold("req_1", WALLET, (), 900, NOW + 600, "gw_1/req_1"),
            PlaceHold("req_2", WALLET, (), 50, NOW + 600, "gw_2/req_2"),
        ],
        now=NOW,
    )
    assert [type(one) for one in outcomes[2:]] == [Drawn, Placed, Placed]


def test_a_gateway_is_seen_with_what_it_has_set_aside(database: Database) -> None:
    fund(database)
    database.write_now(processes.beat, ONE)
    database.write_now(processes.beat, replace(ONE, seen_at=NOW + 5))
    database.write_now(processes.beat, replace(ONE, name="gw_2"))
    first, second = database.read_now(processes.standings)
    assert (first.process.seen_at, first.sliced_micro, second.sliced_micro) == (NOW + 5, 20_000, 0)
    assert not first.process.lost(NOW + 5 + LOST_S)
    assert first.process.lost(NOW + 5.1 + LOST_S)


def test_a_lost_gateway_is_given_up_with_all_it_holds_and_no_other(database: Database) -> None:
    fund(database)
    database.write_now(processes.beat, ONE)
    freed = database.write_now(processes.forget, "gw_1", now=NOW + LOST_S + 1)
    assert (freed.sliced_micro, freed.holds) == (20_000, 1)
    balance = database.read_now(ledger.balance, WALLET.account, now=NOW)
    assert (balance.available, balance.held) == (1_000_000 - 50, 50)
    assert database.read_now(processes.standings) == []
    assert database.read_now(ledger.verify).ok


def test_a_gateway_at_work_is_not_given_up(database: Database) -> None:
    fund(database)
    database.write_now(processes.beat, ONE)
    with pytest.raises(GatewayAtWork, match="host-a"):
        database.write_now(processes.forget, "gw_1", now=NOW + LOST_S)
    with pytest.raises(UnknownGateway):
        database.write_now(processes.forget, "gw_3", now=NOW)
    assert database.read_now(ledger.balance, WALLET.account, now=NOW).available == 1_000_000 - 20_950 + 20_000


def test_a_gateway_that_ended_in_good_order_is_gone(database: Database) -> None:
    database.write_now(processes.beat, ONE)
    database.write_now(processes.leave, "gw_1")
    assert database.read_now(processes.standings) == []
