import pytest

from surplus.identity import service
from surplus.identity.errors import (
    BadEmail,
    BadName,
    NameTaken,
    RoleTooHigh,
    UnknownMember,
    UnknownOrganization,
    UnknownProject,
)
from surplus.identity.model import Member, Organization, Project, Role
from surplus.kit import revisions
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds

NOW = 1_800_000_000.0


@pytest.fixture
def ids() -> CountedIds:
    return CountedIds()


@pytest.fixture
def acme(database: Database, ids: CountedIds) -> Organization:
    return database.write_now(service.create_organization, ids, "Acme", now=NOW)


def add(database: Database, ids: CountedIds, org: str, email: str, role: Role) -> Member:
    return database.write_now(service.add_member, ids, org=org, email=email, role=role, now=NOW)


def test_an_organization_is_found_by_id_and_by_name_whatever_its_case(database: Database, acme: Organization) -> None:
    assert acme == Organization("org_1", "Acme", NOW)
    for word in ("org_1", "Acme", "aCME"):
        assert database.read_now(service.find_organization, word) == acme
    with pytest.raises(UnknownOrganization, match="'Acm'"):
        database.read_now(service.find_organization, "Acm")


def test_names_of_organizations_are_unique_whatever_their_case(
    database: Database, ids: CountedIds, acme: Organization
) -> None:
    for name in ("Acme", "ACME"):
        with pytest.raises(NameTaken, match="choose another name"):
            database.write_now(service.create_organization, ids, name, now=NOW)
    database.write_now(service.create_organization, ids, "Acme 2", now=NOW)
    assert [one.name for one in database.read_now(service.list_organizations)] == ["Acme", "Acme 2"]


def test_a_bad_name_is_refused(database: Database, ids: CountedIds, acme: Organization) -> None:
    with pytest.raises(BadName, match="an organization"):
        database.write_now(service.create_organization, ids, "a/b", now=NOW)
    with pytest.raises(BadName, match="a project"):
        database.write_now(service.create_project, ids, org=acme.id, name="", now=NOW)


def test_an_organization_named_like_another_s_id_does_not_take_its_place(
    database: Database, ids: CountedIds, acme: Organization
) -> None:
    database.write_now(service.create_organization, ids, acme.id, now=NOW)
    assert database.read_now(service.find_organization, acme.id) == acme


@pytest.mark.parametrize("name", ["operator", "Operator"])
def test_the_operator_s_name_is_reserved_before_and_after_it_is_used(
    database: Database, ids: CountedIds, name: str
) -> None:
    for _ in range(2):
        with pytest.raises(NameTaken):
            database.write_now(service.create_organization, ids, name, now=NOW)
        database.write_now(service.ensure_operator_key, ids, now=NOW)


def test_projects_are_unique_within_their_organization(database: Database, ids: CountedIds, acme: Organization) -> None:
    other = database.write_now(service.create_organization, ids, "Other", now=NOW)
    web = database.write_now(service.create_project, ids, org=acme.id, name="web", now=NOW)
    assert web == Project("prj_1", acme.id, "web", NOW)
    with pytest.raises(NameTaken, match="'Acme' has a project 'WEB' already"):
        database.write_now(service.create_project, ids, org=acme.id, name="WEB", now=NOW)
    theirs = database.write_now(service.create_project, ids, org=other.id, name="web", now=NOW)
    assert database.read_now(service.list_projects, acme.id) == [web]
    assert database.read_now(service.find_project, other.id, "WEB") == theirs
    assert database.read_now(service.find_project, acme.id, web.id) == web


def test_an_organization_sees_no_project_or_member_of_another(
    database: Database, ids: CountedIds, acme: Organization
) -> None:
    other = database.write_now(service.create_organization, ids, "Other", now=NOW)
    web = database.write_now(service.create_project, ids, org=acme.id, name="web", now=NOW)
    ann = add(database, ids, acme.id, "ann@example.com", Role.ADMIN)
    for word in (web.id, "web"):
        with pytest.raises(UnknownProject):
            database.read_now(service.find_project, other.id, word)
    for word in (ann.id, ann.email):
        with pytest.raises(UnknownMember):
            database.read_now(service.find_member, other.id, word)
        with pytest.raises(UnknownMember):
            database.write_now(service.remove_member, org=other.id, member=word, now=NOW)
        with pytest.raises(UnknownMember):
            database.write_now(service.set_role, org=other.id, member=word, role=Role.FINANCE, now=NOW)
    assert database.read_now(service.list_members, other.id) == []
    assert database.read_now(service.list_members, acme.id) == [ann]


def test_nothing_is_made_in_an_organization_that_does_not_exist(database: Database, ids: CountedIds) -> None:
    with pytest.raises(UnknownOrganization):
        database.write_now(service.create_project, ids, org="org_9", name="web", now=NOW)
    with pytest.raises(UnknownOrganization):
        add(database, ids, "org_9", "ann@example.com", Role.ADMIN)
    with pytest.raises(UnknownOrganization):
        database.write_now(service.create_key, ids, org="org_9", now=NOW)


def test_members_are_unique_by_email_within_their_organization(
    database: Database, ids: CountedIds, acme: Organization
) -> None:
    other = database.write_now(service.create_organization, ids, "Other", now=NOW)
    ann = add(database, ids, acme.id, "Ann@example.com", Role.ADMIN)
    assert ann == Member("mem_1", acme.id, "Ann@example.com", Role.ADMIN, NOW)
    with pytest.raises(NameTaken, match="is a member of 'Acme' already"):
        add(database, ids, acme.id, "ann@EXAMPLE.com", Role.FINANCE)
    add(database, ids, other.id, "ann@example.com", Role.FINANCE)
    assert database.read_now(service.find_member, acme.id, "ANN@example.com") == ann
    with pytest.raises(BadEmail):
        add(database, ids, acme.id, "ann", Role.ADMIN)


def test_a_member_who_was_removed_can_come_back_as_someone_new(
    database: Database, ids: CountedIds, acme: Organization
) -> None:
    first = add(database, ids, acme.id, "ann@example.com", Role.ADMIN)
    database.write_now(service.remove_member, org=acme.id, member="ann@example.com", now=NOW)
    with pytest.raises(UnknownMember):
        database.read_now(service.find_member, acme.id, first.id)
    again = add(database, ids, acme.id, "ann@example.com", Role.FINANCE)
    assert again.id != first.id
    assert database.read_now(service.list_members, acme.id) == [again]


def test_a_member_gets_another_role(database: Database, ids: CountedIds, acme: Organization) -> None:
    ann = add(database, ids, acme.id, "ann@example.com", Role.ADMIN)
    changed = database.write_now(service.set_role, org=acme.id, member=ann.id, role=Role.FINANCE, now=NOW)
    assert changed.role is Role.FINANCE
    assert database.read_now(service.find_member, acme.id, ann.id) == changed


def test_only_the_operator_s_organization_has_operators(
    database: Database, ids: CountedIds, acme: Organization
) -> None:
    ann = add(database, ids, acme.id, "ann@example.com", Role.ADMIN)
    with pytest.raises(RoleTooHigh, match="'Acme' is a customer's"):
        add(database, ids, acme.id, "bob@example.com", Role.OPERATOR)
    with pytest.raises(RoleTooHigh):
        database.write_now(service.set_role, org=acme.id, member=ann.id, role=Role.OPERATOR, now=NOW)
    database.write_now(service.ensure_operator_key, ids, now=NOW)
    operator = database.read_now(service.find_organization, "operator")
    assert add(database, ids, operator.id, "ops@example.com", Role.OPERATOR).role is Role.OPERATOR


def test_every_change_bumps_the_revision_and_a_refusal_does_not(database: Database, ids: CountedIds) -> None:
    def number() -> int:
        return database.read_now(revisions.read).get("identity", 0)

    org = database.write_now(service.create_organization, ids, "Acme", now=NOW).id
    changes = [
        (service.create_project, ids, {"name": "web"}),
        (service.add_member, ids, {"email": "ann@example.com", "role": Role.ADMIN}),
        (service.set_role, None, {"member": "ann@example.com", "role": Role.FINANCE}),
        (service.remove_member, None, {"member": "ann@example.com"}),
    ]
    for change, source, given in changes:
        before = number()
        database.write_now(change, *([source] if source else []), org=org, now=NOW, **given)
        assert number() == before + 1, change
    before = number()
    with pytest.raises(NameTaken):
        database.write_now(service.create_project, ids, org=org, name="web", now=NOW)
    assert number() == before
