"""The bill that finance is shown, worked out by the code: the same, to the last digit."""

import re
from decimal import Decimal

from surplus.billing.rating import Price, PriceSheet, TokenClass
from surplus.kit.money import GRAINS_PER_MICRO, settle
from surplus.metering.usage import TokenUsage
from tests.docs.test_links import ROOT

PAGE = (ROOT / "docs" / "finance" / "reading-a-bill.md").read_text()
SHEET = PriceSheet(
    "tiny-chat",
    "price_0",
    0.0,
    {
        TokenClass.INPUT: Price.per_million("2.50"),
        TokenClass.CACHE_READ: Price.per_million("0.25"),
        TokenClass.CACHE_WRITE: Price.per_million("2.50"),
        TokenClass.OUTPUT: Price.per_million("10.00"),
    },
)


def rows(first: str) -> list[list[str]]:
    """The cells of the rows of the page's tables whose first cell begins so."""
    found = re.findall(rf"^\| ({first}.*) \|$", PAGE, re.MULTILINE)
    return [[cell.strip(" *") for cell in row.split("|")] for row in found]


def number(cell: str) -> Decimal:
    """The number that a cell begins with: 1097 of `1,097 times 10`."""
    found = re.match(r"[0-9,.]+", cell)
    assert found is not None
    return Decimal(found[0].replace(",", ""))


def micro(grains: int) -> Decimal:
    return Decimal(grains) / GRAINS_PER_MICRO


def test_every_request_costs_and_carries_what_the_page_says() -> None:
    requests = rows("…")
    assert len(requests) == 4
    carry, total = 0, 0
    for _, fresh, cached, output, exact, with_carry, charged, carried_on in requests:
        usage = TokenUsage(uncached=int(number(fresh)), cache_read=int(number(cached)), output=int(number(output)))
        grains = SHEET.grains(usage)
        assert number(exact) == micro(grains)
        assert number(with_carry) == micro(carry + grains)
        charge, carry = settle(carry, grains)
        assert (number(charged), number(carried_on)) == (charge, micro(carry))
        total += charge
    assert f"**{total:,}**" in PAGE


def test_the_lines_are_the_requests_put_together() -> None:
    sums = [sum(number(request[column]) for request in rows("…")) for column in (1, 2, 3)]
    lines = [rows(name)[-1] for name in ("input", "cache read", "output")]
    assert [number(line[1]) for line in lines] == sums
    assert all(number(line[3]) == number(line[1]) * number(line[2]) for line in lines)
    assert sum(number(line[3]) for line in lines) == sum(number(request[4]) for request in rows("…"))
