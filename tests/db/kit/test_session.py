import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, String, Table, UniqueConstraint, bindparam, delete, exc, insert, select, update

from surplus.kit.db import Big, Database, ReadSession, WriteSession, metadata

own = MetaData(naming_convention=metadata.naming_convention)
counters = Table(
    "counter",
    own,
    Column("zone", String(20), primary_key=True),
    Column("name", String(20), primary_key=True),
    Column("number", Big, nullable=False),
    Column("note", String(20)),
    UniqueConstraint("note"),
)


@pytest.fixture(autouse=True)
def tables(database: Database) -> None:
    database.migrate(own.create_all)


def rows(session: ReadSession) -> list[tuple[object, ...]]:
    return [tuple(row) for row in session.all(select(counters).order_by(counters.c.zone, counters.c.name))]


def row(name: str, number: int, note: str | None = None, zone: str = "z") -> dict[str, object]:
    return {"zone": zone, "name": name, "number": number, "note": note}


def test_a_statement_runs_once_per_row_and_tells_how_many_it_touched(database: Database) -> None:
    def work(session: WriteSession) -> list[int]:
        change = update(counters).where(counters.c.name == bindparam("which")).values(number=bindparam("to"))
        return [
            session.execute(insert(counters), [row("a", 1), row("b", 2)]),
            session.execute(change, [{"which": "a", "to": 10}, {"which": "b", "to": 20}, {"which": "c", "to": 30}]),
            session.execute(delete(counters).where(counters.c.name == "b")),
        ]

    assert database.write_now(work) in ([2, 2, 1], [-1, 2, 1])
    assert database.read_now(rows) == [("z", "a", 10, None)]


def test_no_rows_is_no_statement(database: Database) -> None:
    def work(session: WriteSession) -> int:
        session.execute(insert(counters), row("a", 1))
        session.insert_new(counters, [])
        session.upsert(counters, [], add=["number"])
        return session.execute(insert(counters), []) + session.execute(delete(counters), [])

    assert database.write_now(work) == 0
    assert database.read_now(rows) == [("z", "a", 1, None)]


def test_insert_new_leaves_rows_whose_key_is_there_as_they_are(database: Database) -> None:
    database.write_now(WriteSession.insert_new, counters, [row("a", 1, "first"), row("b", 2)])
    database.write_now(WriteSession.insert_new, counters, [row("a", 9), row("c", 9, "first"), row("d", 4, "own")])
    assert database.read_now(rows) == [("z", "a", 1, "first"), ("z", "b", 2, None), ("z", "d", 4, "own")]


def test_upsert_inserts_replaces_and_adds(database: Database) -> None:
    database.write_now(WriteSession.upsert, counters, [row("a", 1, "x"), row("b", 1)], add=["number"])
    again = [row("a", 10, "y"), row("c", 3), row("a", 100, "z")]
    database.write_now(WriteSession.upsert, counters, again, add=["number"], replace=["note"])
    assert database.read_now(rows) == [("z", "a", 111, "z"), ("z", "b", 1, None), ("z", "c", 3, None)]


def test_rows_can_be_read_for_a_change_and_all_dropped(database: Database) -> None:
    def work(session: WriteSession) -> list[str]:
        session.execute(insert(counters), [row("b", 2), row("a", 1)])
        locked = session.all_for_update(select(counters.c.name).order_by(counters.c.zone, counters.c.name))
        session.drop_rows(counters)
        return [one.name for one in locked]

    assert database.write_now(work) == ["a", "b"]
    assert database.read_now(rows) == []


def test_first_and_scalar_answer_none_where_there_is_nothing(database: Database) -> None:
    query = select(counters.c.number, counters.c.name).where(counters.c.name == bindparam("which"))
    assert database.read_now(ReadSession.first, query, {"which": "a"}) is None
    assert database.read_now(ReadSession.scalar, query, {"which": "a"}) is None
    database.write_now(WriteSession.execute, insert(counters), row("a", 7))
    assert tuple(database.read_now(ReadSession.first, query, {"which": "a"})) == (7, "a")
    assert database.read_now(ReadSession.scalar, query, {"which": "a"}) == 7


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(-(2**63), 2**63 - 1))
def test_integers_keep_64_bits(database: Database, number: int) -> None:
    database.write_now(WriteSession.upsert, counters, [row("a", number)], replace=["number"])
    assert database.read_now(rows)[0][2] == number


def test_the_schema_s_constraints_have_stable_names() -> None:
    assert {constraint.name for constraint in counters.constraints} == {
        "pk_counter",
        "uq_counter_note",
    }


def test_two_rows_with_one_key_are_refused(database: Database) -> None:
    with pytest.raises(exc.IntegrityError):
        database.write_now(WriteSession.execute, insert(counters), [row("a", 1), row("a", 2)])
    assert database.read_now(rows) == []
