import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, func, select

from surplus.kit.db import Database
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.metering import service
from surplus.metering.model import ModelTotals, Outcome, PricedTotals, Totals
from surplus.metering.tables import hours
from surplus.metering.usage import TokenUsage
from tests.db.metering.records import NOON, a_record, any_record

several_examples = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
organizations = (f"org_x{number}" for number in itertools.count())


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Every statement that any connection executes meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def test_a_record_comes_back_as_it_was_given(database: Database):
    given_records = [
        a_record("req_1"),
        a_record(
            "req_2",
            project=None,
            outcome=Outcome.ABORTED,
            status=499,
            stream=False,
            first_token_at=None,
            engine_request_id=None,
            waste_output=12,
            degraded=True,
            overrun_micro=3,
            cost_rest_grains=GRAINS_PER_MICRO - 1,
            started_at=NOON + 0.123456,
        ),
    ]
    assert database.write_now(service.record, given_records) == 2
    assert database.read_now(service.records, org="org_1") == given_records[::-1]


def test_m1_a_repeated_record_counts_once(database: Database):
    one = a_record("req_1")
    assert database.write_now(service.record, [one, one]) == 1
    assert database.write_now(service.record, [one]) == 0
    assert database.write_now(service.record, [one, a_record("req_2")]) == 1
    assert database.read_now(service.totals, org="org_1") == Totals.over([one]) + Totals.over([one])


def test_m1_a_transaction_that_fails_records_nothing(database: Database):
    def record_and_fail(session) -> None:
        service.record(session, [a_record("req_1")])
        raise KeyError

    with pytest.raises(KeyError):
        database.write_now(record_and_fail)
    assert database.read_now(service.totals, org="org_1") == Totals()
    assert database.write_now(service.record, [a_record("req_1")]) == 1


def test_m7_a_record_of_zero_tokens_is_a_request(database: Database):
    database.write_now(
        service.record, [a_record("req_1", usage=TokenUsage(), cost_micro=0, cost_rest_grains=0, charged_micro=0)]
    )
    assert database.read_now(service.totals, org="org_1") == Totals(requests=1)


@several_examples
@given(st.data())
def test_m1_m2_order_repetition_and_batches_do_not_change_the_totals(database: Database, data: st.DataObject):
    org = next(organizations)
    distinct = [data.draw(any_record(f"{org}_{number}", org)) for number in range(data.draw(st.integers(1, 8)))]
    repeated = data.draw(st.lists(st.sampled_from(distinct), max_size=8))
    arrivals = data.draw(st.permutations(distinct + repeated))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrivals)), max_size=4)))
    new = sum(
        database.write_now(service.record, arrivals[start:end])
        for start, end in itertools.pairwise([0, *cuts, len(arrivals)])
    )
    assert new == len(distinct)
    expected = sum((Totals.over([r]) for r in distinct), Totals())
    assert database.read_now(service.totals, org=org) == expected
    models = sorted({record.model for record in distinct})
    assert database.read_now(service.by_model, org=org) == [
        ModelTotals(model, sum((Totals.over([r]) for r in distinct if r.model == model), Totals())) for model in models
    ]


@several_examples
@given(st.data())
def test_m3_splitting_a_span_of_time_anywhere_splits_its_totals(database: Database, data: st.DataObject):
    org = next(organizations)
    records = [data.draw(any_record(f"{org}_{number}", org)) for number in range(4)]
    database.write_now(service.record, records)
    instants = sorted(data.draw(st.lists(st.floats(NOON - 9000, NOON + 9000), min_size=2, max_size=5)))
    parts = [
        database.read_now(service.totals, org=org, start=start, end=end) for start, end in itertools.pairwise(instants)
    ]
    whole = database.read_now(service.totals, org=org, start=instants[0], end=instants[-1])
    assert sum(parts, Totals()) == whole


def test_m3_hours_are_half_open_and_a_request_belongs_to_the_hour_of_its_admission(database: Database):
    database.write_now(
        service.record,
        [
            a_record("req_1", started_at=NOON - 0.000001, ended_at=NOON + 60),
            a_record("req_2", started_at=NOON),
            a_record("req_3", started_at=NOON + 3599.999999),
            a_record("req_4", started_at=NOON + 3600),
        ],
    )

    def requests(start: float | None, end: float | None) -> int:
        return database.read_now(service.totals, org="org_1", start=start, end=end).requests

    assert requests(NOON, NOON + 3600) == 2
    assert requests(None, NOON) == 1
    assert requests(NOON + 3600, None) == 1
    assert requests(None, None) == 4


def test_totals_are_kept_apart_by_organization_project_and_key(database: Database):
    database.write_now(
        service.record,
        [
            a_record("req_1"),
            a_record("req_2", project="proj_2", key="key_2"),
            a_record("req_3", project=None, key="key_3"),
            a_record("req_4", org="org_2"),
        ],
    )

    def requests(**of: str) -> int:
        return database.read_now(service.totals, **of).requests

    assert requests(org="org_1") == 3
    assert requests(org="org_1", project="proj_1") == 1
    assert requests(org="org_1", key="key_3") == 1
    assert requests(org="org_1", project="proj_1", key="key_2") == 0
    assert requests(org="org_3") == 0


def test_totals_speak_of_all_input_and_of_the_cached_part(database: Database):
    database.write_now(service.record, [a_record("req_1"), a_record("req_2", waste_output=9, degraded=True)])
    totals = database.read_now(service.totals, org="org_1")
    assert (totals.requests, totals.degraded, totals.waste_output) == (2, 1, 9)
    assert (totals.input_tokens, totals.cached_input_tokens, totals.cache_write_tokens) == (246, 40, 6)
    assert (totals.output_tokens, totals.usage.reasoning) == (80, 20)
    assert (totals.charged_micro, totals.cost_grains) == (14, 14 * GRAINS_PER_MICRO + 10)


def test_consumption_is_kept_apart_by_price_version(database: Database):
    old, new = a_record("req_1"), a_record("req_2", price_version="price_2")
    database.write_now(service.record, [old, new])
    assert database.read_now(service.by_price, org="org_1") == [
        PricedTotals("tiny", "tiny", "price_1", Totals.over([old])),
        PricedTotals("tiny", "tiny", "price_2", Totals.over([new])),
    ]


def test_exact_cost_stays_exact_where_a_sum_of_grains_would_not_fit_64_bits(database: Database):
    most = GRAINS_PER_MICRO - 1

    def add_a_million(session) -> None:
        session.execute(hours.update().values(cost_pico=999_999 * 10**6, cost_grains=8_999_999 * 10**6, requests=10**6))

    database.write_now(service.record, [a_record("req_1", cost_micro=0, cost_rest_grains=most)])
    database.write_now(add_a_million)
    database.write_now(service.record, [a_record("req_2", cost_micro=0, cost_rest_grains=most)])
    assert database.read_now(service.totals, org="org_1").cost_grains == (10**6 + 1) * most
    assert (10**6 + 1) * most > 2**62


def test_five_hundred_records_take_few_statements_and_few_rows(database: Database):
    batch = [a_record(f"req_{number:04}", key=f"key_{number % 7}") for number in range(500)]
    database.write_now(service.make_room, now=NOON)
    with counted_statements() as seen:
        assert database.write_now(service.record, batch) == 500
    assert len(seen) < 8
    assert database.read_now(lambda session: session.scalar(select(func.count()).select_from(hours))) == 7


def test_more_records_than_one_statement_can_name(database: Database):
    batch = [a_record(f"req_{number}") for number in range(service.BATCH_MAX + 1)]
    assert database.write_now(service.record, batch + batch[:3]) == len(batch)
    assert database.read_now(service.totals, org="org_1").requests == len(batch)
