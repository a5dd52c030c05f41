"""Usage records for tests."""

from typing import Any

from hypothesis import strategies as st

from surplus.kit.money import GRAINS_PER_MICRO
from surplus.metering.model import Outcome, UsageRecord
from surplus.metering.usage import TokenUsage

NOON = 1_800_014_400.0
"""Twelve o'clock UTC: the start of an hour."""


def a_record(record_id: str, **changes: Any) -> UsageRecord:
    """A completed chat request of org_1, with whatever is given instead."""
    facts: dict[str, Any] = {
        "org": "org_1",
        "project": "proj_1",
        "key": "key_1",
        "model": "tiny",
        "deployment": "tiny-local",
        "sku": "tiny",
        "price_version": "price_1",
        "endpoint": "/v1/chat/completions",
        "stream": True,
        "outcome": Outcome.COMPLETED,
        "status": 200,
        "usage": TokenUsage(uncached=100, cache_read=20, cache_write=3, output=40, reasoning=10),
        "waste_output": 0,
        "cost_micro": 7,
        "cost_rest_grains": 5,
        "charged_micro": 7,
        "overrun_micro": 0,
        "degraded": False,
        "started_at": NOON,
        "first_token_at": NOON + 0.25,
        "ended_at": NOON + 1.5,
        "engine_request_id": "cmpl-1",
    }
    return UsageRecord(id=record_id, **{**facts, **changes})


def usages(most: int = 10_000) -> st.SearchStrategy[TokenUsage]:
    """Any token usage."""
    tokens = st.integers(0, most)
    return st.builds(
        lambda uncached, read, write, output, part: TokenUsage(uncached, read, write, output, min(part, output)),
        *[tokens] * 5,
    )


def any_record(record_id: str, org: str) -> st.SearchStrategy[UsageRecord]:
    """A record of `org` with any consumption, in any of some projects, keys, models and hours."""
    return st.builds(
        a_record,
        st.just(record_id),
        org=st.just(org),
        project=st.sampled_from([None, "proj_1", "proj_2"]),
        key=st.sampled_from(["key_1", "key_2"]),
        model=st.sampled_from(["tiny", "large"]),
        price_version=st.sampled_from(["price_1", "price_2"]),
        usage=usages(),
        waste_output=st.integers(0, 50),
        cost_micro=st.integers(0, 10**9),
        cost_rest_grains=st.integers(0, GRAINS_PER_MICRO - 1),
        charged_micro=st.integers(0, 10**9),
        overrun_micro=st.integers(0, 10),
        degraded=st.booleans(),
        started_at=st.floats(NOON - 7200, NOON + 7200),
    )
