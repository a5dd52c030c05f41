import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.identity.errors import (
    BadEmail,
    BadLimit,
    BadName,
    ExpiredKey,
    InvalidKey,
    ReplacedKey,
    RevokedKey,
)
from surplus.identity.model import (
    Action,
    Key,
    KeySecret,
    Limits,
    Role,
    StoredKey,
    allows,
    check_email,
    check_name,
    exceeds,
    format_token,
    hash_secret,
    parse_token,
    verify,
)
from surplus.kit.clock import ManualClock
from surplus.kit.errors import Unauthenticated
from surplus.kit.ids import RandomIds

SECRET = "0123456789abcdefghjkmnpqrstvwxyz"
IDS = RandomIds(ManualClock())


def stored(
    *, expires_at: float | None = None, revoked_at: float | None = None, valid_until: float | None = None
) -> StoredKey:
    key = Key(
        "key_1", "p" * 16, "org_1", None, None, Role.DEVELOPER, "", Limits(), 50.0, expires_at, revoked_at
    )  # fmt: skip
    return StoredKey(key, hash_secret(SECRET), valid_until)


def test_what_each_role_allows() -> None:
    table = {role.value: "".join("x" if allows(role, action) else "-" for action in Action) for role in Role}
    #                 call models, manage org, read usage, read money, manage budgets, operate
    assert table == {"operator": "--xx-x", "admin": "xxxxx-", "developer": "x-x---", "finance": "--xxx-"}


def test_a_role_exceeds_another_when_it_allows_anything_more() -> None:
    fits = {(role.value, bound.value) for role, bound in itertools.product(Role, Role) if not exceeds(role, bound)}
    assert fits == {(role.value, role.value) for role in Role} | {("developer", "admin"), ("finance", "admin")}


@pytest.mark.parametrize("name", ["a", "Acme Inc.", "x_1-y.z", "7", "a" * 80, "a  b", ".a", "-a-"])
def test_good_names(name: str) -> None:
    assert check_name(name, "a project") == name


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "a" * 81, "a/b", "a\nb", "a\n", "Ünal", "a\tb", "a@b", "..", "-", "a\x00", "٣"]
)
def test_bad_names_are_refused_and_told_how_to_be_good(name: str) -> None:
    with pytest.raises(BadName, match="not a name for a project; use 1 to 80 letters") as caught:
        check_name(name, "a project")
    assert caught.value.param == "name"


def test_a_very_long_name_is_not_repeated_in_full() -> None:
    with pytest.raises(BadName) as caught:
        check_name("a" * 100_000, "a project")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("email", ["a@b", "First.Last+tag@example.co.uk"])
def test_good_emails(email: str) -> None:
    assert check_email(email) == email


@pytest.mark.parametrize("email", ["", "a", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\n", "a@" + "b" * 190, "ü@b"])
def test_bad_emails_are_refused(email: str) -> None:
    with pytest.raises(BadEmail, match=r"name@example\.com"):
        check_email(email)


@pytest.mark.parametrize("field", ["rpm", "tpm", "concurrency"])
@pytest.mark.parametrize("limit", [0, -1, 10**12 + 1])
def test_limits_below_one_or_beyond_all_sense_are_refused(field: str, limit: int) -> None:
    with pytest.raises(BadLimit, match=field) as caught:
        Limits(**{field: limit})
    assert caught.value.param == field


def test_limits_of_one_and_of_none_are_fine() -> None:
    assert Limits(1, 1, 1) == Limits(rpm=1, tpm=1, concurrency=1)
    assert Limits() == Limits(None, None, None)


def test_a_token_is_read_as_it_was_written() -> None:
    public_id, secret = IDS.secret()[-16:], IDS.secret()
    assert parse_token(format_token(public_id, secret)) == (public_id, secret)


GOOD = format_token("p" * 16, SECRET)


@pytest.mark.parametrize(
    "token",
    ["", "sk-", "sk--", GOOD[:-1], GOOD + " ", " " + GOOD, GOOD + "\n", GOOD + "-x", GOOD.upper(), "pk" + GOOD[2:],
     "Bearer " + GOOD, "sk-short-" + SECRET, f"sk-{SECRET}", f"sk-{'p' * 41}-{SECRET}", f"sk-{'p' * 16}-{'s' * 81}",
     "sk-' OR '1'='1-" + SECRET, GOOD.replace("p", "٣"), GOOD.replace("p", "_")],
)  # fmt: skip
def test_what_was_never_a_token_is_refused_without_being_repeated(token: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        parse_token(token)
    assert SECRET not in caught.value.message


@given(st.text() | st.from_regex(r"sk-[0-9a-z]{10,45}-[0-9a-z]{30,85}", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        public_id, secret = parse_token(text)
    except InvalidKey:
        return
    assert format_token(public_id, secret) == text


def test_the_right_secret_gives_the_key() -> None:
    one = stored(expires_at=101.0, valid_until=101.0)
    assert verify(one, SECRET, 100.0) is one.key


@given(st.text(alphabet="0123456789abcdefghjkmnpqrstvwxyz", min_size=32, max_size=32), st.booleans())
def test_any_other_secret_is_refused(secret: str, dead: bool) -> None:
    one = stored(revoked_at=1.0, expires_at=1.0, valid_until=1.0) if dead else stored()
    if secret != SECRET:
        with pytest.raises(InvalidKey):
            verify(one, secret, 100.0)


def test_a_wrong_secret_learns_nothing() -> None:
    answers: set[tuple[str, int, str]] = set()
    for one in (None, stored(), stored(revoked_at=1.0), stored(expires_at=1.0), stored(valid_until=1.0)):
        with pytest.raises(InvalidKey) as caught:
            verify(one, "x" * 32, 100.0)
        assert caught.value.detail == {}
        answers.add((caught.value.message, caught.value.status, caught.value.code))
    assert len(answers) == 1


def test_no_secret_matches_an_unknown_public_id() -> None:
    for secret in (SECRET, "", "0" * 32, "0" * 64):
        with pytest.raises(InvalidKey):
            verify(None, secret, 100.0)


@pytest.mark.parametrize(
    ("one", "error"),
    [
        (stored(revoked_at=200.0), RevokedKey),  # a clock that is set back does not wake a revoked key
        (stored(expires_at=100.0), ExpiredKey),
        (stored(valid_until=100.0), ReplacedKey),
        (stored(revoked_at=1.0, expires_at=1.0, valid_until=1.0), RevokedKey),
        (stored(expires_at=1.0, valid_until=1.0), ExpiredKey),
    ],
)
def test_the_right_secret_of_an_ended_key_learns_why(one: StoredKey, error: type[Unauthenticated]) -> None:
    with pytest.raises(error, match="key_1") as caught:
        verify(one, SECRET, 100.0)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


def test_validity_is_half_open() -> None:
    verify(stored(expires_at=100.0), SECRET, 99.999999)
    verify(stored(valid_until=100.0), SECRET, 99.999999)
    assert not stored(expires_at=100.0).key.usable(100.0)
    assert stored(expires_at=100.0).key.usable(99.9)
    assert not stored(revoked_at=1.0).key.usable(0.0)


def test_secrets_do_not_show_in_logs() -> None:
    one = stored()
    shown = repr(KeySecret(one.key, GOOD)) + repr(one)
    assert SECRET not in shown
    assert hash_secret(SECRET) not in shown
