"""Who reaches what."""

import pytest

from surplus.app import callers
from surplus.app.errors import RoleMayNot
from surplus.identity.errors import InvalidKey, RoleTooHigh, UnknownKey, UnknownOrganization
from surplus.identity.model import Action, Role, allows, exceeds
from surplus.kit.db import Database
from tests.db.app.people import NOW, People, people


@pytest.fixture
def all_people(database: Database) -> People:
    return people(database)


def inside(who: People, token: str, org: str, action: Action) -> callers.Caller:
    return who.database.read_now(callers.inside, who.tokens[token], org, action, now=NOW)


@pytest.mark.parametrize("action", Action)
def test_the_operator_may_do_everything_everywhere(all_people: People, action: Action):
    for organization in (all_people.acme, all_people.rival):
        assert inside(all_people, "operator", organization.name, action).organization == organization


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", [Role.ADMIN, Role.DEVELOPER, Role.FINANCE])
def test_anyone_else_may_do_what_their_role_allows_at_home_and_nothing_elsewhere(
    all_people: People, role: Role, action: Action
):
    for name in ("acme", "ACME", all_people.acme.id):
        if allows(role, action):
            assert inside(all_people, role.value, name, action).organization == all_people.acme
        else:
            with pytest.raises(RoleMayNot, match=f"role {role} and may not .*; use a key of the role operator"):
                inside(all_people, role.value, name, action)
    for name in ("rival", all_people.rival.id, "operator", ""):
        with pytest.raises(UnknownOrganization):
            inside(all_people, role.value, name, action)


def test_a_name_that_is_the_id_of_another_reaches_ones_own(database: Database):
    """Names and ids share their letters; looking up one's own first leaves nothing to be confused."""
    who = people(database)
    with pytest.raises(UnknownOrganization):
        inside(who, "admin", who.rival.id, Action.READ_USAGE)
    assert inside(who, "operator", who.rival.id, Action.READ_USAGE).organization == who.rival


def test_a_key_is_reached_from_its_own_organization_and_by_the_operator(all_people: People):
    token, now = all_people.tokens["developer"], NOW
    developer = all_people.database.read_now(callers.authenticate, token, None, now=now)
    for who in ("operator", "admin"):
        by, found = all_people.database.read_now(
            callers.over_key, all_people.tokens[who], developer.id, Action.MANAGE_ORG, now=now
        )
        assert (by.role.value, found) == (who, developer)
    operators = all_people.operator.key.id
    with pytest.raises(UnknownKey):
        all_people.database.read_now(
            callers.over_key, all_people.tokens["admin"], operators, Action.MANAGE_ORG, now=now
        )
    with pytest.raises(RoleMayNot):
        all_people.database.read_now(callers.over_key, token, developer.id, Action.MANAGE_ORG, now=now)


@pytest.mark.parametrize("by", Role)
@pytest.mark.parametrize("role", Role)
def test_only_the_operator_gives_more_than_it_has(all_people: People, by: Role, role: Role):
    name = "operator" if by is Role.OPERATOR else by.value
    key = all_people.database.read_now(callers.authenticate, all_people.tokens[name], None, now=NOW)
    if by is Role.OPERATOR or not exceeds(role, by):
        callers.check_grant(key, role)
    else:
        with pytest.raises(RoleTooHigh):
            callers.check_grant(key, role)


def test_a_token_of_nobody_is_refused_before_its_organization_is_looked_at(all_people: People):
    all_people.tokens["nobody"] = "sk-nobody"
    with pytest.raises(InvalidKey):
        inside(all_people, "nobody", "acme", Action.READ_USAGE)


def test_reached(all_people: People):
    def names(who: str) -> list[str]:
        key = all_people.database.read_now(callers.authenticate, all_people.tokens[who], None, now=NOW)
        return [one.name for one in all_people.database.read_now(callers.reached, key)]

    assert names("operator") == ["acme", "operator", "rival"]
    assert names("finance") == ["acme"]
