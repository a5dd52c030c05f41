import asyncio

import pytest

from surplus.kit import election
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, WriteSession
from surplus.kit.election import TTL_S, Deposed, Office
from surplus.kit.errors import SurplusError
from tests.contract.engine_server import until

NOW = 1_800_000_000.0


def stand(database: Database, holder: str, at: float) -> int | None:
    return database.write_now(election.campaign, "control", holder, now=at, ttl_s=10)


def test_one_holds_the_office_until_its_time_is_over(database: Database) -> None:
    assert stand(database, "a", NOW) == 1
    assert stand(database, "b", NOW + 9.9) is None
    assert stand(database, "a", NOW + 5) == 1, "prolonged, not elected again"
    assert stand(database, "b", NOW + 14.9) is None
    assert stand(database, "b", NOW + 15) == 2
    assert stand(database, "a", NOW + 16) is None


def test_who_lost_the_office_gets_a_new_token(database: Database) -> None:
    assert stand(database, "a", NOW) == 1
    assert stand(database, "a", NOW + 10) == 2, "somebody else may have had it in between"


def test_offices_are_apart(database: Database) -> None:
    assert stand(database, "a", NOW) == 1
    assert database.write_now(election.campaign, "other", "b", now=NOW, ttl_s=10) == 1


def test_a_token_of_before_writes_nothing(database: Database) -> None:
    assert stand(database, "a", NOW) == 1
    database.write_now(election.fence, "control", 1)
    assert stand(database, "b", NOW + 10) == 2
    with pytest.raises(Deposed):
        database.write_now(election.fence, "control", 1)
    with pytest.raises(Deposed):
        database.write_now(election.fence, "nothing", 1)
    database.write_now(election.fence, "control", 2)


def test_who_resigns_leaves_the_office_to_the_next_at_once(database: Database) -> None:
    assert stand(database, "a", NOW) == 1
    database.write_now(election.resign, "control", 1)
    assert stand(database, "b", NOW) == 2
    database.write_now(election.resign, "control", 1)
    assert stand(database, "a", NOW) is None, "an earlier holder cannot resign for the present one"


async def test_a_paused_holder_cannot_write_after_another_was_elected(database: Database) -> None:
    clock = ManualClock(NOW)
    first, second = (Office(database, clock, "control", name) for name in ("a", "b"))
    done: list[str] = []

    def write(_session: WriteSession, who: str) -> None:
        done.append(who)

    await first.campaign()
    await second.campaign()
    await first.write(write, "a")
    with pytest.raises(Deposed):
        await second.write(write, "b")
    clock.advance(TTL_S)  # the first one was paused, and does not know
    await second.campaign()
    assert first.token == 1
    with pytest.raises(Deposed):
        await first.write(write, "a")
    assert first.token is None
    await second.write(write, "b")
    assert done == ["a", "b"]


async def test_an_office_that_ends_resigns(database: Database) -> None:
    clock = ManualClock(NOW)
    office = Office(database, clock, "control", "a")
    running = asyncio.create_task(office.run())
    await until(lambda: office.token is not None)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert stand(database, "b", NOW) == 2


async def test_without_the_store_nobody_holds_the_office(database: Database) -> None:
    office = Office(database, ManualClock(NOW), "control", "a")
    await office.campaign()
    assert office.token == 1
    database.migrate(election.leaders.drop)
    with pytest.raises(SurplusError):
        await office.campaign()
    assert office.token is None
