import asyncio
import threading

import pytest
from sqlalchemy import Column, MetaData, String, Table, exc, func, insert, select, text

from surplus.kit.db import Big, Database, ReadSession, StoreUnavailable, WriteSession

own = MetaData()
things = Table(
    "thing",
    own,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("label", String(40), unique=True),
)


@pytest.fixture(autouse=True)
def tables(database: Database) -> None:
    database.migrate(own.create_all)


def put(session: WriteSession, number: int, label: str | None = None) -> int:
    session.execute(insert(things), {"id": number, "label": label})
    return number


def count(session: ReadSession) -> int:
    return session.scalar(select(func.count()).select_from(things))


def put_and_fail(session: WriteSession, number: int) -> None:
    put(session, number)
    raise LookupError("changed its mind")


def test_a_write_is_there_when_it_returns_and_after_the_store_is_opened_again(database: Database) -> None:
    assert database.write_now(put, 1, label="one") == 1
    database.close()
    again = Database(database.location)
    assert again.read_now(count) == 1
    again.close()


def test_a_write_that_raises_leaves_nothing_and_the_next_one_works(database: Database) -> None:
    with pytest.raises(LookupError):
        database.write_now(put_and_fail, 1)
    assert database.read_now(count) == 0
    database.write_now(put, 1)
    assert database.read_now(count) == 1


async def test_read_and_write_work_from_an_event_loop(database: Database) -> None:
    assert await database.write(put, 1, label="one") == 1
    with pytest.raises(LookupError):
        await database.write(put_and_fail, 2)
    assert await database.read(count) == 1


def test_what_the_store_rightly_refuses_is_told_as_it_is(database: Database) -> None:
    database.write_now(put, 1, label="same")
    with pytest.raises(exc.IntegrityError):
        database.write_now(put, 2, label="same")
    assert database.read_now(count) == 1


def test_a_reader_cannot_write(database: Database) -> None:
    def sneak(session: ReadSession) -> None:
        session._connection.execute(insert(things), {"id": 1})

    with pytest.raises(StoreUnavailable, match=r"read-?only"):
        database.read_now(sneak)
    assert database.read_now(count) == 0


def test_a_reader_sees_one_state_while_others_write(database: Database) -> None:
    def twice(session: ReadSession) -> tuple[int, int]:
        before = count(session)
        database.write_now(put, 1)
        return before, count(session)

    assert database.read_now(twice) == (0, 0)
    assert database.read_now(count) == 1


async def test_reads_go_on_beside_a_write_that_takes_long(database: Database) -> None:
    begun, finish = threading.Event(), threading.Event()

    def slow(session: WriteSession) -> None:
        put(session, 1)
        begun.set()
        assert finish.wait(10)

    writing = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    assert await database.read(count) == 0
    finish.set()
    await writing
    assert await database.read(count) == 1


async def test_writes_happen_in_the_order_they_are_asked_for(database: Database) -> None:
    order: list[int] = []

    def note(session: WriteSession, number: int) -> None:
        order.append(put(session, number))

    await asyncio.gather(*(database.write(note, number) for number in range(50)))
    assert order == list(range(50))


async def test_a_cancelled_write_that_has_begun_commits_and_one_that_has_not_never_begins(database: Database) -> None:
    begun, finish = threading.Event(), threading.Event()

    def slow(session: WriteSession) -> None:
        put(session, 1)
        begun.set()
        assert finish.wait(10)

    running = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    queued = asyncio.create_task(database.write(put, 2))
    await asyncio.sleep(0)
    for task in (running, queued):
        task.cancel()
    assert [type(end) for end in await asyncio.gather(running, queued, return_exceptions=True)] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
    ]
    finish.set()
    await database.write(put, 3)
    assert [row.id for row in await database.read(lambda s: s.all(select(things.c.id)))] == [1, 3]


def test_closing_finishes_what_was_submitted(database: Database) -> None:
    for number in range(20):
        database._writer.submit(database._write, lambda s, n=number: put(s, n))
    database.close()
    again = Database(database.location)
    assert again.read_now(count) == 20
    again.close()


def test_a_schema_change_that_fails_is_undone(database: Database) -> None:
    def half(connection: object) -> None:
        connection.execute(text("CREATE TABLE test_half (id INTEGER)"))
        raise LookupError("stop")

    with pytest.raises(LookupError):
        database.migrate(half)
    with pytest.raises(StoreUnavailable, match=r"no such table|does not exist"):
        database.read_now(lambda s: s.scalar(text("SELECT count(*) FROM test_half")))
