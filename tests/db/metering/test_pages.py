import pytest

from surplus.kit.db import Database
from surplus.kit.errors import BadRequest
from surplus.metering import service
from surplus.metering.errors import UnknownRecord
from tests.db.metering.records import NOON, a_record


def test_pages_join_without_gap_or_repetition(database: Database):
    same_instant = [a_record(f"req_{name}", started_at=NOON) for name in "adcbe"]
    other = [a_record("req_0", started_at=NOON + 5), a_record("req_z", started_at=NOON - 5)]
    database.write_now(service.record, [*same_instant, *other, a_record("req_y", org="org_2")])
    seen: list[str] = []
    before = None
    while page := database.read_now(service.records, org="org_1", before=before, limit=3):
        seen += [record.id for record in page]
        before = seen[-1]
    assert seen == ["req_0", "req_e", "req_d", "req_c", "req_b", "req_a", "req_z"]


def test_a_record_that_arrives_late_does_not_move_a_page(database: Database):
    database.write_now(service.record, [a_record(f"req_{n}", started_at=NOON + n) for n in range(4)])
    first = database.read_now(service.records, org="org_1", limit=2)
    database.write_now(service.record, [a_record("req_9", started_at=NOON + 9)])
    second = database.read_now(service.records, org="org_1", before=first[-1].id, limit=2)
    assert [record.id for record in first + second] == ["req_3", "req_2", "req_1", "req_0"]


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_refused(database: Database, limit: int):
    with pytest.raises(BadRequest, match="1 to 1000"):
        database.read_now(service.records, org="org_1", limit=limit)


def test_the_record_of_another_organization_is_no_place_to_start_from(database: Database):
    database.write_now(service.record, [a_record("req_1", org="org_2")])
    with pytest.raises(UnknownRecord, match="req_1"):
        database.read_now(service.records, org="org_1", before="req_1")
