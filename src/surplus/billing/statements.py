"""A statement: what an organization used in a month, line by line, exact, and how that became what it paid. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from surplus.billing.errors import BadMonth, UnknownPriceVersion
from surplus.billing.rating import PriceSheet, TokenClass
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.metering.model import PricedTotals

_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class StatementLine:
    """Tokens of one class of one model at one published price.

    `unit_price` is decimal dollars per million tokens; `grains` is the exact cost, nothing rounded.
    """

    model: str
    sku: str
    price_version: str
    token_class: TokenClass
    quantity: int
    unit_price: str
    grains: int


class AdjustmentName(StrEnum):
    """Why the exact cost and the amount charged differ."""

    OVERRUN = "not charged (above the hold)"
    CARRIED_ON = "carried to the next charge"
    CARRIED_IN = "carried from earlier charges"
    METERED_OTHERWISE = "metered at another price"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A named difference: `grains` are added to the lines, and are negative for what is not charged here."""

    name: AdjustmentName
    grains: int


@dataclass(frozen=True, slots=True)
class Statement:
    """Lines and adjustments; together they are exactly `charged_micro`, what the ledger took from the wallet.

    `month` is None for all time. `exact_grains` is the sum of the lines; `carry_grains` is how much the wallet's carry
    grew (it is below one micro-dollar, and can shrink within a month).
    """

    org: str
    month: str | None
    requests: int
    lines: tuple[StatementLine, ...]
    adjustments: tuple[Adjustment, ...]
    exact_grains: int
    charged_micro: int
    overrun_micro: int
    carry_grains: int


def month_range(month: str) -> tuple[float, float]:
    """The instants `[start, end)` of a UTC month such as `2026-11`. Raises BadMonth on anything else."""
    match = _MONTH.fullmatch(month)
    if match is None or match[1] in ("0000", "9999"):
        raise BadMonth(f"{month!r} is not a month; write it as 2026-11", param="month")
    year, number = int(match[1]), int(match[2])
    start = datetime(year, number, 1, tzinfo=UTC)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return start.timestamp(), end.timestamp()


def draft(org: str, month: str | None, consumed: Sequence[PricedTotals], sheets: Mapping[str, PriceSheet]) -> Statement:
    """The statement of what was consumed; `sheets` by version. Raises UnknownPriceVersion if one is missing."""
    lines = tuple(line for part in consumed for line in _lines(part, sheets))
    exact = sum(line.grains for line in lines)
    metered = sum(part.totals.cost_grains for part in consumed)
    charged = sum(part.totals.charged_micro for part in consumed)
    overrun = sum(part.totals.overrun_micro for part in consumed)
    carry = metered - (charged + overrun) * GRAINS_PER_MICRO
    differences = (
        Adjustment(AdjustmentName.METERED_OTHERWISE, metered - exact),
        Adjustment(AdjustmentName.OVERRUN, -overrun * GRAINS_PER_MICRO),
        Adjustment(AdjustmentName.CARRIED_ON if carry > 0 else AdjustmentName.CARRIED_IN, -carry),
    )
    return Statement(
        org=org,
        month=month,
        requests=sum(part.totals.requests for part in consumed),
        lines=lines,
        adjustments=tuple(difference for difference in differences if difference.grains),
        exact_grains=exact,
        charged_micro=charged,
        overrun_micro=overrun,
        carry_grains=carry,
    )


def _lines(part: PricedTotals, sheets: Mapping[str, PriceSheet]) -> list[StatementLine]:
    sheet = sheets.get(part.price_version)
    if sheet is None:
        message = (
            f"usage of {part.model!r} was recorded at price version {part.price_version!r}, which the price book does "
            "not have; no statement can be made until it is found: check the database with `surplus doctor`"
        )
        raise UnknownPriceVersion(message)
    return [
        StatementLine(
            part.model, part.sku, part.price_version, line.token_class, line.quantity, str(line.price), line.grains
        )
        for line in sheet.lines(part.totals.usage)
    ]
