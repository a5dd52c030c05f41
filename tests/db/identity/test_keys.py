from dataclasses import replace

import pytest
from sqlalchemy import select

from surplus.identity import service
from surplus.identity.errors import (
    BadName,
    BadTerm,
    InvalidKey,
    KeyEnded,
    ReplacedKey,
    RevokedKey,
    RoleTooHigh,
    UnknownKey,
    UnknownMember,
    UnknownProject,
)
from surplus.identity.model import Key, KeySecret, Limits, Role, hash_secret, parse_token, verify
from surplus.kit import revisions
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, ReadSession, metadata
from surplus.kit.ids import RandomIds

NOW = 1_800_000_000.0


@pytest.fixture
def ids() -> RandomIds:
    return RandomIds(ManualClock(NOW))


@pytest.fixture
def org(database: Database, ids: RandomIds) -> str:
    return database.write_now(service.create_organization, ids, "Acme", now=NOW).id


def create(database: Database, ids: RandomIds, org: str, **given: object) -> KeySecret:
    return database.write_now(service.create_key, ids, org=org, **{"now": NOW, **given})


def authenticate(database: Database, token: str, now: float = NOW) -> Key:
    public_id, secret = parse_token(token)
    return verify(database.read_now(service.find_by_public_id, public_id), secret, now)


def test_a_key_authenticates_with_its_token_and_keeps_what_it_was_given(
    database: Database, ids: RandomIds, org: str
) -> None:
    project = database.write_now(service.create_project, ids, org=org, name="web", now=NOW)
    ann = database.write_now(service.add_member, ids, org=org, email="ann@example.com", role=Role.ADMIN, now=NOW)
    made = create(
        database, ids, org, project="WEB", member="ann@example.com", role=Role.FINANCE, name="night job",
        limits=Limits(60, None, 4), expires_at=NOW + 60,
    )  # fmt: skip
    key = authenticate(database, made.token)
    assert key == made.key == database.read_now(service.get_key, made.key.id)
    assert (key.org, key.project, key.member, key.role) == (org, project.id, ann.id, Role.FINANCE)
    assert (key.name, key.limits, key.created_at, key.expires_at) == ("night job", Limits(60, None, 4), NOW, NOW + 60)


def test_a_token_is_a_public_id_and_160_random_bits(database: Database, ids: RandomIds, org: str) -> None:
    made = create(database, ids, org)
    public_id, secret = parse_token(made.token)
    assert made.token == f"sk-{public_id}-{secret}"
    assert made.token.count("-") == 2
    assert public_id == made.key.public_id
    assert len(public_id) >= 12
    assert len(secret) * 5 >= 160


def test_the_store_never_sees_a_secret(database: Database, ids: RandomIds, org: str) -> None:
    made = create(database, ids, org)
    renewed = database.write_now(service.rotate_key, ids, made.key.id, overlap_s=60, now=NOW)
    content = repr(database.read_now(lambda s: [s.all(select(table)) for table in metadata.sorted_tables]))
    for token in (made.token, renewed.token):
        secret = parse_token(token)[1]
        assert secret not in content
        assert hash_secret(secret) in content


def test_one_key_s_secret_does_not_open_another(database: Database, ids: RandomIds, org: str) -> None:
    one, other = create(database, ids, org), create(database, ids, org)
    with pytest.raises(InvalidKey):
        authenticate(database, f"sk-{one.key.public_id}-{parse_token(other.token)[1]}")
    assert database.read_now(service.find_by_public_id, "' OR '1'='1") is None
    assert database.read_now(service.find_by_public_id, one.key.id) is None


def test_rotation_keeps_the_key_and_ends_the_earlier_secret_at_once(
    database: Database, ids: RandomIds, org: str
) -> None:
    made = create(database, ids, org, name="ci", limits=Limits(rpm=5))
    renewed = database.write_now(service.rotate_key, ids, made.key.id, now=NOW)
    assert replace(renewed.key, public_id=made.key.public_id) == made.key
    assert renewed.key.public_id != made.key.public_id
    assert authenticate(database, renewed.token) == renewed.key
    for now in (NOW, NOW - 3600):  # a clock that is set back does not wake it
        with pytest.raises(ReplacedKey, match=made.key.id):
            authenticate(database, made.token, now)


def test_an_overlap_keeps_the_earlier_secret_until_its_end(database: Database, ids: RandomIds, org: str) -> None:
    made = create(database, ids, org)
    renewed = database.write_now(service.rotate_key, ids, made.key.id, overlap_s=60, now=NOW)
    assert authenticate(database, made.token, NOW + 59.9) == authenticate(database, renewed.token) == renewed.key
    with pytest.raises(ReplacedKey):
        authenticate(database, made.token, NOW + 60)


def test_a_later_rotation_shortens_every_earlier_overlap_and_lengthens_none(
    database: Database, ids: RandomIds, org: str
) -> None:
    first = create(database, ids, org)
    second = database.write_now(service.rotate_key, ids, first.key.id, overlap_s=100, now=NOW)
    third = database.write_now(service.rotate_key, ids, first.key.id, overlap_s=1000, now=NOW)
    authenticate(database, first.token, NOW + 99)
    authenticate(database, second.token, NOW + 999)
    with pytest.raises(ReplacedKey):
        authenticate(database, first.token, NOW + 100)
    database.write_now(service.rotate_key, ids, first.key.id, now=NOW)
    for ended in (first, second, third):
        with pytest.raises(ReplacedKey):
            authenticate(database, ended.token)


@pytest.mark.parametrize("overlap_s", [-1, 30 * 86_400 + 1, float("nan"), float("inf")])
def test_an_overlap_out_of_range_is_refused_and_rotates_nothing(
    database: Database, ids: RandomIds, org: str, overlap_s: float
) -> None:
    made = create(database, ids, org)
    with pytest.raises(BadTerm, match="30 days"):
        database.write_now(service.rotate_key, ids, made.key.id, overlap_s=overlap_s, now=NOW)
    assert authenticate(database, made.token) == made.key


def test_a_revoked_key_is_over_with_all_its_secrets_and_revoking_again_changes_nothing(
    database: Database, ids: RandomIds, org: str
) -> None:
    made = create(database, ids, org)
    renewed = database.write_now(service.rotate_key, ids, made.key.id, overlap_s=60, now=NOW)
    ended = database.write_now(service.revoke_key, made.key.id, now=NOW + 1)
    assert ended == replace(renewed.key, revoked_at=NOW + 1)
    before = database.read_now(revisions.read)
    assert database.write_now(service.revoke_key, made.key.id, now=NOW + 2) == ended
    assert database.read_now(revisions.read) == before
    for token in (made.token, renewed.token):
        with pytest.raises(RevokedKey):
            authenticate(database, token)


def test_an_ended_key_cannot_be_rotated(database: Database, ids: RandomIds, org: str) -> None:
    revoked, expiring = create(database, ids, org), create(database, ids, org, expires_at=NOW + 1)
    database.write_now(service.revoke_key, revoked.key.id, now=NOW)
    with pytest.raises(KeyEnded, match="revoked"):
        database.write_now(service.rotate_key, ids, revoked.key.id, now=NOW)
    with pytest.raises(KeyEnded, match="expired"):
        database.write_now(service.rotate_key, ids, expiring.key.id, now=NOW + 1)


@pytest.mark.parametrize("expires_at", [NOW, NOW - 1, float("nan"), float("inf")])
def test_a_key_has_to_expire_in_the_future(database: Database, ids: RandomIds, org: str, expires_at: float) -> None:
    with pytest.raises(BadTerm, match="in the future"):
        create(database, ids, org, expires_at=expires_at)
    assert database.read_now(service.list_keys, org) == []


def test_keys_are_listed_and_seen_within_their_organization_only(database: Database, ids: RandomIds, org: str) -> None:
    other = database.write_now(service.create_organization, ids, "Other", now=NOW).id
    project = database.write_now(service.create_project, ids, org=org, name="web", now=NOW)
    plain, of_project = create(database, ids, org), create(database, ids, org, project=project.id, now=NOW + 1)
    theirs = create(database, ids, other)
    assert database.read_now(service.list_keys, org) == [plain.key, of_project.key]
    assert database.read_now(service.list_keys, org, project=project.id) == [of_project.key]
    assert database.read_now(service.get_key, theirs.key.id, org=other) == theirs.key
    with pytest.raises(UnknownKey):
        database.read_now(service.get_key, theirs.key.id, org=org)
    with pytest.raises(UnknownProject):
        create(database, ids, other, project=project.id)
    for use_case in (service.revoke_key, lambda session, key, now: service.rotate_key(session, ids, key, now=now)):
        with pytest.raises(UnknownKey):
            database.write_now(use_case, "key_none", now=NOW)


@pytest.mark.parametrize(
    ("holder", "role", "fits"),
    [
        (Role.ADMIN, Role.ADMIN, True),
        (Role.ADMIN, Role.DEVELOPER, True),
        (Role.ADMIN, Role.FINANCE, True),
        (Role.DEVELOPER, Role.DEVELOPER, True),
        (Role.DEVELOPER, Role.FINANCE, False),
        (Role.DEVELOPER, Role.ADMIN, False),
        (Role.FINANCE, Role.DEVELOPER, False),
        (None, Role.ADMIN, True),
        (None, Role.OPERATOR, False),
    ],
)
def test_a_key_is_never_allowed_more_than_its_member(
    database: Database, ids: RandomIds, org: str, holder: Role | None, role: Role, fits: bool
) -> None:
    member = None
    if holder is not None:
        member = database.write_now(service.add_member, ids, org=org, email="a@b.c", role=holder, now=NOW).id
    if fits:
        assert create(database, ids, org, member=member, role=role).key.role is role
    else:
        with pytest.raises(RoleTooHigh):
            create(database, ids, org, member=member, role=role)


def test_a_member_s_keys_end_where_its_role_does(database: Database, ids: RandomIds, org: str) -> None:
    ann = database.write_now(service.add_member, ids, org=org, email="ann@b.c", role=Role.ADMIN, now=NOW).id
    bob = database.write_now(service.add_member, ids, org=org, email="bob@b.c", role=Role.ADMIN, now=NOW).id
    admin, finance = (create(database, ids, org, member=ann, role=role) for role in (Role.ADMIN, Role.FINANCE))
    others = [create(database, ids, org, member=bob, role=Role.ADMIN), create(database, ids, org, role=Role.ADMIN)]
    database.write_now(service.set_role, org=org, member=ann, role=Role.FINANCE, now=NOW)
    with pytest.raises(RevokedKey):
        authenticate(database, admin.token)
    authenticate(database, finance.token)
    database.write_now(service.remove_member, org=org, member=ann, now=NOW + 1)
    with pytest.raises(RevokedKey):
        authenticate(database, finance.token)
    for other in others:
        authenticate(database, other.token)
    assert {key.member for key in database.read_now(service.list_keys, org)} == {ann, bob, None}
    with pytest.raises(UnknownMember):
        create(database, ids, org, member=ann)


def test_a_key_s_name_is_free_of_nonsense(database: Database, ids: RandomIds, org: str) -> None:
    with pytest.raises(BadName, match="a key"):
        create(database, ids, org, name="a\nb")


def operator_keys(session: ReadSession) -> list[Key]:
    return service.list_keys(session, service.find_organization(session, "operator").id)


def test_there_is_an_operator_s_key_from_the_first_start(database: Database, ids: RandomIds) -> None:
    made = database.write_now(service.ensure_operator_key, ids, now=NOW)
    assert made is not None
    assert authenticate(database, made.token).role is Role.OPERATOR
    assert database.write_now(service.ensure_operator_key, ids, now=NOW + 1) is None
    assert database.read_now(operator_keys) == [made.key]


def test_an_operator_without_a_usable_key_gets_a_new_one(database: Database, ids: RandomIds) -> None:
    first = database.write_now(service.ensure_operator_key, ids, now=NOW)
    operator = database.read_now(service.find_organization, "operator").id
    create(database, ids, operator, role=Role.DEVELOPER)  # it cannot operate, so it does not count
    create(database, ids, operator, role=Role.OPERATOR, expires_at=NOW + 5)
    database.write_now(service.revoke_key, first.key.id, now=NOW)
    assert database.write_now(service.ensure_operator_key, ids, now=NOW + 4) is None
    second = database.write_now(service.ensure_operator_key, ids, now=NOW + 5)
    assert authenticate(database, second.token, NOW + 5).role is Role.OPERATOR


def test_every_change_of_a_key_bumps_the_revision(database: Database, ids: RandomIds, org: str) -> None:
    def number() -> int:
        return database.read_now(revisions.read)["identity"]

    before = number()
    made = create(database, ids, org)
    assert number() == before + 1
    database.write_now(service.rotate_key, ids, made.key.id, now=NOW)
    assert number() == before + 2
    database.write_now(service.revoke_key, made.key.id, now=NOW)
    assert number() == before + 3


def test_a_key_keeps_the_instant_of_its_first_revocation(database: Database, ids: RandomIds, org: str) -> None:
    ann = database.write_now(service.add_member, ids, org=org, email="ann@b.c", role=Role.ADMIN, now=NOW).id
    made = create(database, ids, org, member=ann)
    database.write_now(service.revoke_key, made.key.id, now=NOW + 1)
    database.write_now(service.remove_member, org=org, member=ann, now=NOW + 2)
    assert database.read_now(service.get_key, made.key.id).revoked_at == NOW + 1
