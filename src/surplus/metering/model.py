"""What a request consumed, and how consumption adds up."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import msgspec

from surplus.kit.money import GRAINS_PER_MICRO
from surplus.metering.usage import TokenUsage


class Outcome(StrEnum):
    """How a request ended."""

    COMPLETED = "completed"
    ABORTED = "aborted"  # the client left
    FAILED = "failed"  # the upstream failed
    INTERRUPTED = "interrupted"  # we crashed


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one request consumed and what it cost. `id` is the request's id and counts once, however often it is given.

    The exact cost is `cost_micro` micro-dollars and `cost_rest_grains` grains (less than a micro-dollar). Of it
    `charged_micro` was taken from the wallet and `overrun_micro` is the operator's loss; the rest is in the wallet's
    carry. `waste_output` are tokens that our own engine generated and that nobody was charged for, 0 unless known.
    """

    id: str
    org: str
    project: str | None
    key: str
    model: str
    deployment: str
    sku: str
    price_version: str
    endpoint: str
    stream: bool
    outcome: Outcome
    status: int
    usage: TokenUsage
    waste_output: int = 0
    cost_micro: int
    cost_rest_grains: int
    charged_micro: int
    overrun_micro: int
    degraded: bool
    started_at: float
    first_token_at: float | None
    ended_at: float
    engine_request_id: str | None

    def __post_init__(self) -> None:
        assert 0 <= self.cost_rest_grains < GRAINS_PER_MICRO
        assert min(self.waste_output, self.cost_micro, self.charged_micro, self.overrun_micro) >= 0

    @property
    def cost_grains(self) -> int:
        """The exact cost."""
        return self.cost_micro * GRAINS_PER_MICRO + self.cost_rest_grains


@dataclass(frozen=True, slots=True)
class Bucket:
    """What consumption is summed by. `hour` is the epoch second at which the UTC hour of admission starts."""

    hour: int
    org: str
    project: str  # empty where a key belongs to no project: part of a primary key cannot be null
    key: str
    model: str
    sku: str
    price_version: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Consumption of any number of requests."""

    requests: int = 0
    degraded: int = 0
    usage: TokenUsage = field(default_factory=TokenUsage)
    waste_output: int = 0
    cost_grains: int = 0
    charged_micro: int = 0
    overrun_micro: int = 0

    @classmethod
    def over(cls, records: Sequence[UsageRecord]) -> Self:
        """The consumption of these requests."""
        usages = [record.usage for record in records]
        return cls(
            requests=len(records),
            degraded=sum(record.degraded for record in records),
            usage=TokenUsage(
                sum(usage.uncached for usage in usages),
                sum(usage.cache_read for usage in usages),
                sum(usage.cache_write for usage in usages),
                sum(usage.output for usage in usages),
                sum(usage.reasoning for usage in usages),
            ),
            waste_output=sum(record.waste_output for record in records),
            cost_grains=sum(record.cost_grains for record in records),
            charged_micro=sum(record.charged_micro for record in records),
            overrun_micro=sum(record.overrun_micro for record in records),
        )

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.requests + other.requests,
            self.degraded + other.degraded,
            self.usage + other.usage,
            self.waste_output + other.waste_output,
            self.cost_grains + other.cost_grains,
            self.charged_micro + other.charged_micro,
            self.overrun_micro + other.overrun_micro,
        )

    @property
    def input_tokens(self) -> int:
        """All input tokens; the cached and the cache-written ones are among them."""
        return self.usage.input

    @property
    def cached_input_tokens(self) -> int:
        """Input tokens that came from a prefix cache."""
        return self.usage.cache_read

    @property
    def cache_write_tokens(self) -> int:
        """Input tokens that were written to a prefix cache at a price of their own."""
        return self.usage.cache_write

    @property
    def output_tokens(self) -> int:
        """Output tokens, reasoning included."""
        return self.usage.output


@dataclass(frozen=True, slots=True)
class ModelTotals:
    """Consumption of one model."""

    model: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class PricedTotals:
    """Consumption of one model at one version of a price."""

    model: str
    sku: str
    price_version: str
    totals: Totals


def grouped(records: Iterable[UsageRecord]) -> dict[Bucket, Totals]:
    """The consumption of different records per bucket; their order does not matter.

    A record is summed by the instant of its admission, like its price and its budgets.
    """
    together: defaultdict[tuple[int, str, str, str, str, str, str], list[UsageRecord]] = defaultdict(list)
    for record in records:
        hour, project = int(record.started_at // 3600) * 3600, record.project or ""
        name = (hour, record.org, project, record.key, record.model, record.sku, record.price_version)
        together[name].append(record)
    return {Bucket(*name): Totals.over(some) for name, some in together.items()}
