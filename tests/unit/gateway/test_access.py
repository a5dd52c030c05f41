"""Who calls: a key that is revoked stops, and a new one works, whatever is remembered."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from surplus.billing import service as billing
from surplus.billing.budgets import BudgetScope, Period
from surplus.gateway.access import CACHE_MAX, Access, Caller
from surplus.gateway.errors import RoleMayNotCall
from surplus.identity import service as identity
from surplus.identity.errors import ExpiredKey, InvalidKey, ReplacedKey, RevokedKey
from surplus.identity.model import KeySecret, Role
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, StoreUnavailable, WriteSession, metadata
from surplus.kit.errors import SurplusError
from surplus.kit.ids import CountedIds
from tests.unit.gateway.callers import Wire, with_key
from tests.unit.gateway.parts import NOW

IDS = CountedIds()


class Door:
    """An organization with keys, and what guards it."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        self.access = Access(database, clock)
        self.org = database.write_now(identity.create_organization, IDS, "acme", now=NOW).id

    def key(self, **fields: Any) -> KeySecret:
        return self.database.write_now(identity.create_key, IDS, org=self.org, now=NOW, **fields)

    async def enter(self, token: str) -> Caller:
        return await self.access.model_caller(with_key(token).client())

    async def refused(self, token: str, error: type[SurplusError]) -> None:
        with pytest.raises(error):
            await self.enter(token)


@pytest.fixture
def door(database: Database, clock: ManualClock) -> Door:
    return Door(database, clock)


async def test_a_key_is_its_caller_with_every_budget_over_it(door: Door) -> None:
    secret = door.key()

    def budget(session: WriteSession, scope: BudgetScope, scope_id: str) -> None:
        billing.set_budget(
            session,
            IDS,
            org=door.org,
            scope=scope,
            scope_id=scope_id,
            cap_micro=5,
            period=Period.DAY,
            hard=True,
            now=NOW,
        )

    door.database.write_now(budget, BudgetScope.ORGANIZATION, door.org)
    door.database.write_now(budget, BudgetScope.KEY, secret.key.id)
    door.database.write_now(budget, BudgetScope.KEY, "key_of_another")
    for _ in range(2):
        caller = await door.enter(secret.token)
        assert caller.key == secret.key
        assert {one.scope_id for one in caller.budgets} == {door.org, secret.key.id}


@pytest.mark.parametrize(
    "headers",
    [
        lambda token: {"authorization": f"Bearer {token}"},
        lambda token: {"authorization": f"bearer   {token} "},
        lambda token: {"x-api-key": token},
    ],
)
async def test_a_key_may_come_in_either_header(door: Door, headers: Callable[[str], dict[str, str]]) -> None:
    secret = door.key()
    caller = await door.access.authenticate(Wire(headers=headers(secret.token)).client())
    assert caller.key.id == secret.key.id


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Basic c2VjcmV0"},
        {"authorization": "Bearer sk-short-secret"},
        {"authorization": "Bearer \xff\xfe"},
        {"x-api-key": "sk-000000000000-" + "0" * 32},
    ],
)
async def test_what_is_no_key_of_ours_is_refused(door: Door, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidKey):
        await door.access.authenticate(Wire(headers=headers).client())


async def test_a_wrong_secret_is_refused_before_and_after_the_right_one(door: Door) -> None:
    secret = door.key()
    wrong = secret.token[:-1] + ("1" if secret.token[-1] == "0" else "0")
    await door.refused(wrong, InvalidKey)
    await door.enter(secret.token)
    await door.refused(wrong, InvalidKey)
    await door.enter(secret.token)


async def test_a_new_key_works_at_once(door: Door) -> None:
    public, secret = "0" * 15 + "9", "0" * 31 + "7"
    await door.refused(f"sk-{public}-{secret}", InvalidKey)
    made = door.key()
    assert (await door.enter(made.token)).key.id == made.key.id


async def test_a_revoked_key_stops_when_the_change_is_noticed(door: Door) -> None:
    secret = door.key()
    await door.enter(secret.token)
    door.database.write_now(identity.revoke_key, secret.key.id, now=NOW)
    await door.enter(secret.token)
    door.access.forget()
    await door.refused(secret.token, RevokedKey)
    await door.refused(secret.token, RevokedKey)


async def test_a_key_that_is_remembered_still_expires(door: Door) -> None:
    secret = door.key(expires_at=NOW + 10)
    await door.enter(secret.token)
    door.clock.advance(9.999)
    await door.enter(secret.token)
    door.clock.advance(0.001)
    await door.refused(secret.token, ExpiredKey)


async def test_a_secret_that_was_replaced_ends_with_its_overlap(door: Door) -> None:
    secret = door.key()
    await door.enter(secret.token)
    renewed = door.database.write_now(identity.rotate_key, IDS, secret.key.id, overlap_s=60, now=NOW)
    door.access.forget()
    assert (await door.enter(secret.token)).key.id == (await door.enter(renewed.token)).key.id == secret.key.id
    door.clock.advance(60)
    await door.refused(secret.token, ReplacedKey)
    await door.enter(renewed.token)


@pytest.mark.parametrize(("role", "enters"), [(Role.DEVELOPER, True), (Role.ADMIN, True), (Role.FINANCE, False)])
async def test_only_some_roles_call_models(door: Door, role: Role, enters: bool) -> None:
    secret = door.key(role=role)
    if enters:
        await door.enter(secret.token)
    else:
        await door.refused(secret.token, RoleMayNotCall)


class Slow(Database):
    """A store whose reads wait for a test before they return what they have read."""

    def __init__(self, database: Database) -> None:
        self._real = database
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def read(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        found = await self._real.read(function, *args, **kwargs)
        self.asked.set()
        await self.answer.wait()
        return found


async def test_what_was_read_before_a_change_is_not_remembered_after_it(door: Door) -> None:
    secret = door.key()
    slow = Slow(door.database)
    door.access = Access(slow, door.clock)
    entering = asyncio.create_task(door.enter(secret.token))
    await slow.asked.wait()
    door.database.write_now(identity.revoke_key, secret.key.id, now=NOW)
    door.access.forget()
    slow.answer.set()
    await entering
    await door.refused(secret.token, RevokedKey)


async def test_what_is_remembered_is_bounded_by_dropping_the_oldest(door: Door) -> None:
    secret = door.key()
    await door.enter(secret.token)
    known = door.access._known[secret.key.public_id]
    for number in range(CACHE_MAX + 1):
        door.access._remember(f"other-{number}", known)
    assert len(door.access._known) == CACHE_MAX
    assert next(iter(door.access._known)) == "other-1"
    await door.enter(secret.token)


async def test_a_database_that_does_not_answer_is_never_a_wrong_key(door: Door) -> None:
    known, unknown = door.key(), door.key()
    await door.enter(known.token)
    door.database.migrate(metadata.drop_all)
    await door.refused(unknown.token, StoreUnavailable)
    assert (await door.enter(known.token)).key == known.key
    assert StoreUnavailable.status == 503
