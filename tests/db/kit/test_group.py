import asyncio
import logging
import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import Column, MetaData, Table, func, insert, select

from surplus.kit.db import Big, Database, GroupCommit, ReadSession, StoreUnavailable, WriteSession
from surplus.kit.db import group as group_module
from surplus.kit.errors import Conflict, SurplusError, Unavailable

own = MetaData()
written = Table(
    "written",
    own,
    Column("seq", Big, primary_key=True, autoincrement=False),
    Column("number", Big, nullable=False),
)


FAULT, FULL, TOO_FEW, TOO_MANY = range(1_000_000, 1_000_004)


@pytest.fixture(autouse=True)
def tables(database: Database) -> None:
    database.migrate(own.create_all)


def numbers(session: ReadSession) -> list[int]:
    return [row.number for row in session.all(select(written.c.number).order_by(written.c.seq))]


class Book:
    """Writes every number in the order of the commands; some numbers mean trouble. The first group waits for `go`."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def apply(self, session: WriteSession, commands: Sequence[int]) -> list[int | SurplusError]:
        self.groups.append(list(commands))
        self.begun.set()
        assert self.go.wait(10)
        last = session.scalar(select(func.coalesce(func.max(written.c.seq), 0)))
        kept = [number for number in commands if number >= 0]
        session.execute(insert(written), [{"seq": last + 1 + i, "number": n} for i, n in enumerate(kept)])
        if FAULT in commands:
            raise KeyError("a fault of ours")
        if FULL in commands:
            raise StoreUnavailable("the disk is full")
        if TOO_FEW in commands:
            return []
        if TOO_MANY in commands:
            return [*commands, 0]
        return [number * 2 if number >= 0 else Conflict(f"{number} is negative") for number in commands]


@pytest.fixture
def book() -> Book:
    return Book()


async def held_up(group: GroupCommit[int, int], book: Book, first: int, then: Sequence[int]) -> list[object]:
    """Submit `first`, and `then` while its group is being committed; answers or errors of all, in that order."""
    tasks = [asyncio.create_task(group.submit(first))]
    await asyncio.to_thread(book.begun.wait, 10)
    tasks += [asyncio.create_task(group.submit(number)) for number in then]
    await asyncio.sleep(0)
    book.go.set()
    async with asyncio.timeout(10):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_gathers_while_one_group_commits_is_the_next_group(database: Database, book: Book) -> None:
    group = GroupCommit(database, book.apply)
    assert await held_up(group, book, 1, range(2, 200)) == [number * 2 for number in range(1, 200)]
    assert book.groups == [[1], list(range(2, 200))]
    assert await database.read(numbers) == list(range(1, 200))


async def test_a_group_has_a_largest_size(database: Database, book: Book) -> None:
    many = group_module.GROUP_MAX + 5
    answers = await held_up(GroupCommit(database, book.apply), book, 0, range(1, many + 1))
    assert answers == [number * 2 for number in range(many + 1)]
    assert [len(commands) for commands in book.groups] == [1, group_module.GROUP_MAX, 5]


async def test_every_command_gets_its_own_result_or_error(database: Database, book: Book) -> None:
    first, *rest = await held_up(GroupCommit(database, book.apply), book, 7, [-1, 8, -2])
    assert (first, rest[1]) == (14, 16)
    assert [str(error) for error in (rest[0], rest[2])] == ["-1 is negative", "-2 is negative"]
    assert all(isinstance(error, Conflict) for error in (rest[0], rest[2]))
    assert await database.read(numbers) == [7, 8]


async def test_a_command_is_durable_when_it_is_answered(database: Database, book: Book) -> None:
    book.go.set()
    await GroupCommit(database, book.apply).submit(5)
    other = Database(database.location)
    assert other.read_now(numbers) == [5]
    other.close()


@pytest.mark.parametrize("trouble", [FAULT, TOO_FEW, TOO_MANY])
async def test_a_fault_undoes_its_group_and_leaves_nobody_waiting(
    database: Database, book: Book, trouble: int, caplog: pytest.LogCaptureFixture
) -> None:
    group = GroupCommit(database, book.apply)
    with caplog.at_level(logging.ERROR):
        first, *rest = await held_up(group, book, trouble, [1, 2])
    assert isinstance(first, Unavailable)
    assert first.retry_after_s == 1
    assert rest == [2, 4]  # they came while the fault happened
    assert await database.read(numbers) == [1, 2]
    assert [record.message for record in caplog.records] == ["a group of commands was undone"]
    assert await group.submit(3) == 6


async def test_a_fault_is_shared_by_its_whole_group_and_no_other(database: Database, book: Book) -> None:
    answers = await held_up(GroupCommit(database, book.apply), book, 1, [2, FAULT, 3])
    assert answers[0] == 2
    assert all(isinstance(answer, Unavailable) for answer in answers[1:])
    assert await database.read(numbers) == [1]


async def test_a_store_that_fails_tells_the_whole_group_so(database: Database, book: Book) -> None:
    answers = await held_up(GroupCommit(database, book.apply), book, FULL, [1])
    assert isinstance(answers[0], StoreUnavailable)
    assert answers[1] == 2


async def test_a_caller_that_leaves_disturbs_nobody(database: Database, book: Book) -> None:
    group = GroupCommit(database, book.apply)
    tasks = [asyncio.create_task(group.submit(1))]
    await asyncio.to_thread(book.begun.wait, 10)
    tasks += [asyncio.create_task(group.submit(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[1].cancel()
    book.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError, asyncio.CancelledError, int]
    assert 1 in await database.read(numbers)  # it had begun
    assert await group.submit(4) == 8


async def test_too_many_waiting_commands_are_refused_at_once(database: Database, book: Book) -> None:
    most = group_module.WAITING_MAX
    answers = await held_up(GroupCommit(database, book.apply), book, 0, range(1, most + 2))
    assert answers[:-1] == [number * 2 for number in range(most + 1)]
    assert isinstance(answers[-1], Unavailable)
    assert "slower than the requests" in str(answers[-1])


def test_a_task_that_undoes_something_while_the_loop_closes_is_answered(database: Database, book: Book) -> None:
    answers: list[int] = []

    async def caller(group: GroupCommit[int, int]) -> None:
        try:
            await group.submit(1)
        finally:
            book.go.set()
            answers.append(await group.submit(2))

    async def main() -> None:
        task = asyncio.create_task(caller(GroupCommit(database, book.apply)))
        await asyncio.to_thread(book.begun.wait, 10)
        assert not task.done()

    asyncio.run(main())
    assert answers == [4]
    assert database.read_now(numbers) == [1, 2]
