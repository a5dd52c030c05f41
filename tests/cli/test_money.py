"""Budgets, credit, balance, usage, records and invoices."""

import pytest

from surplus.metering.usage import TokenUsage
from tests.cli.conftest import Command

USED = TokenUsage(uncached=100_000, cache_read=20_000, output=50_000)
CHARGED = "0.220000"  # 120,000 input tokens at 1 dollar a million and 50,000 output tokens at 2


def test_budgets_are_set_listed_and_deleted(surplus: Command, org: str) -> None:
    assert "has no budget" in surplus.ok("budget", "list", "--org", org)
    surplus.ok("project", "create", "apollo", "--org", org)
    key = surplus.json("key", "create", "--org", org, "--name", "ci")["id"]
    shown = surplus.ok("budget", "set", "--org", org, "--project", "apollo", "--cap", "5", "--period", "month")
    assert "project apollo, per month, hard" in shown
    made = surplus.json("budget", "set", "--org", org, "--key", key, "--cap", "1", "--period", "day", "--soft")
    assert (made["scope"], made["scope_id"], made["hard"], made["left"]) == ("key", key, False, "1.000000")
    surplus.ok("budget", "set", "--org", org, "--cap", "9", "--period", "forever")
    listed = surplus.ok("budget", "list", "--org", org)
    assert "project apollo, per month, hard" in listed
    assert "key ci, per day, soft" in listed
    assert "organization, for good, hard" in listed
    assert len(surplus.json("budget", "list", "--org", org)) == 3
    assert "is deleted" in surplus.ok("budget", "delete", made["id"], "--org", org)
    other = surplus.json("budget", "list", "--org", org)[0]["id"]
    assert surplus.json("budget", "delete", other, "--org", org)["id"] == other
    assert len(surplus.json("budget", "list", "--org", org)) == 1


def test_budgets_are_refused(surplus: Command, org: str) -> None:
    surplus.refused("budget", "set", "--org", org, "--project", "nowhere", "--cap", "1", "--period", "day")
    surplus.refused("budget", "list", "--org", "nobody")
    surplus.refused("budget", "delete", "bud_none", "--org", org)
    both = ("--project", "a", "--key", "b")
    assert "give one" in surplus.bad("budget", "set", "--org", org, *both, "--cap", "1", "--period", "day")
    assert "'year'" in surplus.bad("budget", "set", "--org", org, "--cap", "1", "--period", "year")
    assert "--cap" in surplus.bad("budget", "set", "--org", org, "--cap", "lots", "--period", "day")
    surplus.bad("budget", "list")
    surplus.bad("budget", "delete", "--org", org)


def test_credit_is_added_once_per_idempotency_key(surplus: Command, org: str) -> None:
    shown = surplus.ok("credit", "add", "2.5", "--org", org, "--note", "bank transfer 7")
    assert "12.500000" in shown
    again = ("credit", "add", "1", "--org", org, "--idempotency-key", "payment-8")
    assert surplus.json(*again)["available"] == "13.500000"
    assert surplus.json(*again)["available"] == "13.500000"
    other = ("credit", "add", "2", "--org", org, "--idempotency-key", "payment-8")
    assert "409" in surplus.refused(*other)
    assert "more than nothing" in surplus.bad("credit", "add", "0", "--org", org)
    surplus.bad("credit", "add", "-5", "--org", org)
    surplus.bad("credit", "add", "5")


def test_the_credit_limit_counts_as_available(surplus: Command, org: str) -> None:
    assert "15.000000" in surplus.ok("credit", "limit", "5", "--org", org)
    limited = surplus.json("credit", "limit", "1", "--org", org)
    assert limited == {"available": "11.000000", "held": "0.000000", "settled": "0.000000", "credit": "11.000000"}
    surplus.refused("credit", "limit", "1", "--org", "nobody")
    assert "negative" in surplus.bad("credit", "limit", "--org", org, "--", "-1")


def test_a_balance_has_the_promised_fields_and_lines_up(surplus: Command, org: str) -> None:
    assert surplus.json("balance", "--org", org) == {
        "available": "10.000000",
        "held": "0.000000",
        "settled": "0.000000",
    }
    lines = surplus.ok("balance", "--org", org).splitlines()
    assert [line.split()[0] for line in lines] == ["available", "held", "settled", "credit"]
    assert len({len(line) for line in lines}) == 1
    assert "no organization 'nobody'" in surplus.refused("balance", "--org", "nobody")
    surplus.bad("balance")


@pytest.fixture
def sku(surplus: Command, org: str) -> str:
    """A model of this test with a price."""
    surplus.ok("price", "set", org, "--input", "1", "--output", "2")
    return org


def test_usage_and_records_and_the_invoice_tell_the_same(surplus: Command, org: str, sku: str) -> None:
    ids = {each["name"]: each["id"] for each in surplus.json("org", "list")}
    key = surplus.json("key", "create", "--org", org)["id"]
    assert "has used nothing" in surplus.ok("usage", "--org", org)
    assert "no request" in surplus.ok("record", "list", "--org", org)
    request = surplus.served.use(ids[org], key, sku, USED)

    expected = {
        "requests": 1,
        "input_tokens": 120_000,
        "cached_input_tokens": 20_000,
        "cache_write_tokens": 0,
        "output_tokens": 50_000,
        "charged": CHARGED,
    }
    assert surplus.json("usage", "--org", org) == expected
    assert surplus.json("usage", "--org", org, "--key", key, "--from", "-7d", "--to", "+1d") == expected
    shown = surplus.ok("usage", "--org", org, "--from", "2020-01-01")
    assert "from 2020-01-01 00:00:00Z to now" in shown
    assert shown.splitlines()[-1].split() == ["ALL", "1", "120,000", "20,000", "50,000", CHARGED]

    assert request in surplus.ok("record", "list", "--org", org)
    (record,) = surplus.json("record", "list", "--org", org, "--limit", "5")
    assert (record["id"], record["charged"]) == (request, CHARGED)
    assert surplus.json("record", "list", "--org", org, "--before", request) == []

    bill = surplus.ok("invoice", "--org", org)
    assert bill.splitlines()[-1].split() == ["TOTAL", "-", "-", "-", CHARGED]
    assert surplus.json("invoice", "--org", org)["total"] == CHARGED
    assert surplus.json("invoice", "--org", org, "--month", "2020-01")["lines"] == []
    assert surplus.json("balance", "--org", org)["settled"] == CHARGED


def test_reports_are_refused(surplus: Command, org: str) -> None:
    surplus.refused("usage", "--org", "nobody")
    surplus.refused("usage", "--org", org, "--project", "nowhere")
    surplus.refused("record", "list", "--org", "nobody")
    surplus.refused("invoice", "--org", "nobody")
    assert "--from" in surplus.bad("usage", "--org", org, "--from", "yesterday")
    assert "offset" in surplus.bad("usage", "--org", org, "--to", "2026-11-21T09:00:00")
    assert "--limit" in surplus.bad("record", "list", "--org", org, "--limit", "1001")
    assert "2026-13" in surplus.bad("invoice", "--org", org, "--month", "2026-13")
