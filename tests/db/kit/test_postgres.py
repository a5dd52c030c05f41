"""What a store in PostgreSQL promises beyond what every store does."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import exc, insert, select, text

from surplus.kit.db import Database, ReadSession, StoreUnavailable, WriteSession, health
from surplus.kit.errors import BadRequest, BadSetting
from surplus.metering import service as metering
from tests.db.kit.test_database import count, own, put, things
from tests.db.metering.records import NOON, a_record
from tests.postgres import LOCKED, PASSWORD, Cluster
from tests.stores import PostgresStores, opened

pytestmark = pytest.mark.slow


@pytest.fixture
def database(postgres: PostgresStores) -> Iterator[Database]:
    with opened(postgres) as database:
        database.migrate(own.create_all)
        yield database


def settings(session: ReadSession) -> dict[str, str]:
    names = (
        "transaction_isolation",
        "transaction_read_only",
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "synchronous_commit",
        "application_name",
        "client_encoding",
    )
    return {name: session.scalar(text(f"SELECT current_setting('{name}')")) for name in names}


def test_how_readers_and_the_writer_work(database: Database) -> None:
    both = {
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "1min",
        "synchronous_commit": "on",  # though these clusters have it off
        "application_name": "surplus",
        "client_encoding": "UTF8",
    }
    reads = {"transaction_isolation": "repeatable read", "transaction_read_only": "on", "statement_timeout": "10min"}
    writes = {"transaction_isolation": "read committed", "transaction_read_only": "off", "statement_timeout": "1min"}
    assert database.read_now(settings) == {**both, **reads}
    assert database.write_now(settings) == {**both, **writes}


def test_an_operator_names_connections_in_the_url(postgres: PostgresStores, database: Database) -> None:
    named = Database(
        postgres.cluster.text(str(database.location.database)) + "?application_name=eu-1&connect_timeout=2"
    )
    assert named.read_now(settings)["application_name"] == "eu-1"
    named.close()


# connections that die


def kill(cluster: Cluster) -> None:
    """End every connection of a client, as an administrator or a proxy does."""
    cluster.sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'surplus'")


def test_a_connection_that_died_while_idle_costs_no_transaction(database: Database, cluster: Cluster) -> None:
    database.write_now(put, 1)
    assert database.read_now(count) == 1
    kill(cluster)
    assert database.write_now(put, 2) == 2
    assert database.read_now(count) == 2


def test_a_connection_that_dies_in_a_transaction_undoes_it_and_the_next_one_works(
    database: Database, cluster: Cluster
) -> None:
    def put_and_die(session: WriteSession) -> None:
        put(session, 1)
        kill(cluster)
        put(session, 2)

    with pytest.raises(StoreUnavailable) as caught:
        database.write_now(put_and_die)
    assert caught.value.retry_after_s == 1
    database.write_now(put, 3)
    assert database.read_now(count) == 1


def test_a_connection_that_dies_before_the_commit_is_no_success(database: Database, cluster: Cluster) -> None:
    def put_and_die(session: WriteSession) -> None:
        put(session, 1)
        kill(cluster)

    with pytest.raises(StoreUnavailable):
        database.write_now(put_and_die)
    assert database.read_now(count) == 0


def test_an_error_of_the_caller_beside_a_dead_connection_leaves_a_store_that_works(
    database: Database, cluster: Cluster
) -> None:
    def die_and_fail(session: WriteSession) -> None:
        put(session, 1)
        kill(cluster)
        raise LookupError("changed its mind")

    with pytest.raises((LookupError, StoreUnavailable)):
        database.write_now(die_and_fail)
    assert database.write_now(put, 2) == 2


def test_a_server_that_is_down_is_unavailable_until_it_is_up_again(database: Database, cluster: Cluster) -> None:
    database.write_now(put, 1)
    cluster.stop()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="check that it runs"):
                database.read_now(count)
            with pytest.raises(StoreUnavailable):
                database.write_now(put, 2)
        with pytest.raises(StoreUnavailable):
            Database(database.location)
    finally:
        cluster.start()
    assert database.read_now(count) == 1
    database.write_now(put, 2)


async def test_readers_on_every_thread_recover(database: Database, cluster: Cluster) -> None:
    meet = threading.Barrier(4)

    def together(session: ReadSession) -> int:
        meet.wait(10)
        return count(session)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: database.read_now(together), range(4))) == [0] * 4
        kill(cluster)
        assert list(threads.map(lambda _: database.read_now(together), range(4))) == [0] * 4


# what the store refuses, and what fails


def test_two_transactions_that_wait_for_each_other_are_a_reason_to_try_again(database: Database) -> None:
    other = Database(database.location)
    database.write_now(lambda s: s.execute(insert(things), [{"id": 1}, {"id": 2}]))
    meet = threading.Barrier(2)

    def both(session: WriteSession, first: int, second: int) -> None:
        for number in (first, second):
            session.execute(things.update().where(things.c.id == number).values(label=str(number)))
            if number == first:
                meet.wait(10)

    def run(store: Database, first: int, second: int) -> type[Exception] | None:
        try:
            store.write_now(both, first, second)
        except StoreUnavailable as error:
            return type(error)
        return None

    with ThreadPoolExecutor(2) as threads:
        ends = list(threads.map(run, (database, other), (1, 2), (2, 1)))
    assert sorted(map(str, ends)) == sorted(map(str, [None, StoreUnavailable]))
    other.close()


def test_a_statement_that_takes_too_long_is_ended(database: Database) -> None:
    def slow(session: ReadSession) -> None:
        session._connection.execute(text("SET LOCAL statement_timeout = '20ms'"))
        session.scalar(text("SELECT pg_sleep(30)"))

    with pytest.raises(StoreUnavailable, match="statement timeout"):
        database.read_now(slow)
    assert database.read_now(count) == 0


def test_text_that_no_database_keeps_is_the_callers_fault(database: Database) -> None:
    with pytest.raises(BadRequest, match=r"U\+0000"):
        database.write_now(put, 1, label="a\0b")
    with pytest.raises(exc.DataError):
        database.write_now(put, 1, label="x" * 41)
    assert database.write_now(put, 1, label="x" * 40) == 1


def test_an_error_does_not_repeat_what_customers_sent(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    database.write_now(put, 1, label="my secret")
    with pytest.raises(exc.IntegrityError) as caught, caplog.at_level(logging.DEBUG):
        database.write_now(put, 2, label="my secret")
    assert "uq" in str(caught.value) or "unique" in str(caught.value)
    told = [str(caught.value), repr(caught.value), str(caught.value.orig), caplog.text]
    assert not [text for text in told if "my secret" in text]


# passwords and addresses


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root@127.0.0.1/name",
        "postgresql://user:hunter2@127.0.0.1:port/name",
        "postgresql://user:hunter2@a/b@host:12:x/name",
        "hunter2",
        "sqlite:///surplus.db",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadSetting, match="postgresql://USER@HOST:PORT/NAME") as caught:
        Database(url)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_password_is_never_told(cluster: Cluster, database: Database, caplog: pytest.LogCaptureFixture) -> None:
    name = str(database.location.database)
    with caplog.at_level(logging.DEBUG):
        good = Database(cluster.text(name, user=LOCKED, password=PASSWORD))
        told = [good.name, repr(good.location), health.description(good)]
        with pytest.raises(StoreUnavailable, match="permission denied") as denied:
            good.read_now(count)
        good.close()
        with pytest.raises(StoreUnavailable, match="password authentication failed") as wrong:
            Database(cluster.text(name, user=LOCKED, password="hunter2-not"))
    told += [repr(error.value) + repr(error.value.__cause__) for error in (denied, wrong)]
    assert not [text for text in [*told, caplog.text] if "hunter2" in text]
    assert f"{name} on 127.0.0.1:{cluster.port}" in told


def test_a_database_has_to_exist_and_keep_every_character(cluster: Cluster) -> None:
    with pytest.raises(StoreUnavailable, match="does not exist"):
        Database(cluster.text("nowhere"))
    cluster.sql("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE_PROVIDER libc LOCALE 'C'")
    with pytest.raises(StoreUnavailable, match="LATIN1"):
        Database(cluster.text("latin"))
    cluster.drop("latin")


# months


def pieces(session: ReadSession) -> list[str]:
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'metering_record'::regclass ORDER BY 1"
    return [row[0] for row in session.all(text(query))]


def test_usage_records_are_kept_by_month(database: Database) -> None:
    at = [datetime(2026, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2027, 1, 1, tzinfo=UTC)]
    records = [a_record(f"req_{n}", started_at=one.timestamp()) for n, one in enumerate(at)]
    assert database.write_now(metering.record, records) == 2
    assert database.read_now(pieces) == ["metering_record_m202612", "metering_record_m202701"]
    assert database.read_now(lambda s: s.scalar(text("SELECT id FROM metering_record_m202701"))) == "req_1"
    assert database.read_now(metering.records, org="org_1") == records[::-1]
    assert database.write_now(metering.record, records) == 0


def test_the_next_month_is_ready_before_it_begins(database: Database) -> None:
    for day in (1, 15, 31):
        database.write_now(metering.make_room, now=datetime(2027, 1, day, tzinfo=UTC).timestamp())
    assert database.read_now(pieces) == ["metering_record_m202701", "metering_record_m202702"]


def test_two_processes_that_need_a_month_make_it_once_and_readers_do_not_wait(database: Database) -> None:
    other = Database(database.location)
    meet = threading.Barrier(2)

    def load(store: Database, name: str) -> int:
        meet.wait(10)
        return store.write_now(metering.record, [a_record(name, started_at=NOON)])

    def beside(session: ReadSession) -> int:
        found = len(session.all(select(text("1")).select_from(text("metering_record"))))
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(load, (database, other), ("req_1", "req_2"))) == [1, 1]
        return found

    assert database.read_now(beside) == 0  # this one held the table all the while
    assert len(database.read_now(metering.records, org="org_1")) == 2
    other.close()


def test_a_month_that_was_not_committed_is_made_again(database: Database) -> None:
    def record_and_fail(session: WriteSession) -> None:
        metering.record(session, [a_record("req_1")])
        raise LookupError

    with pytest.raises(LookupError):
        database.write_now(record_and_fail)
    assert database.write_now(metering.record, [a_record("req_1")]) == 1


def test_what_the_doctor_can_ask(database: Database) -> None:
    assert health.faults(database) == []
    assert health.risks(database) == ["fsync is off", "full_page_writes is off"]
    assert abs(health.clock(database) - datetime.now(UTC).timestamp()) < 60
    assert "PostgreSQL 1" in health.description(database)
