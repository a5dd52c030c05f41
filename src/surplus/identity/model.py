"""Organizations, projects, members, keys and roles, and the pure rules about them."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from surplus.identity.errors import (
    BadEmail,
    BadLimit,
    BadName,
    ExpiredKey,
    InvalidKey,
    ReplacedKey,
    RevokedKey,
)

OPERATOR_NAME: Final = "operator"
"""The organization of whoever runs this server. Its name is reserved."""
MAX_LIMIT: Final = 1_000_000_000_000

_NAME = re.compile(r"(?! )(?=.*[A-Za-z0-9])[A-Za-z0-9._ -]{1,80}(?<! )")
_EMAIL = re.compile(r"[!-?A-~]{1,64}@[!-?A-~]{1,189}")
_TOKEN = re.compile(r"sk-([0-9a-z]{12,40})-([0-9a-z]{32,80})")
_NO_HASH = "0" * 64


class Role(StrEnum):
    """What a member or a key may do. OPERATOR exists in the operator's organization only."""

    OPERATOR = "operator"
    ADMIN = "admin"
    DEVELOPER = "developer"
    FINANCE = "finance"


class Action(StrEnum):
    """What can be allowed. All but OPERATE concern the holder's own organization."""

    CALL_MODELS = "call_models"
    MANAGE_ORG = "manage_org"
    READ_USAGE = "read_usage"
    READ_MONEY = "read_money"
    MANAGE_BUDGETS = "manage_budgets"
    OPERATE = "operate"


_ALLOWED: Mapping[Role, frozenset[Action]] = {
    Role.OPERATOR: frozenset({Action.OPERATE, Action.READ_USAGE, Action.READ_MONEY}),
    Role.ADMIN: frozenset(Action) - {Action.OPERATE},
    Role.DEVELOPER: frozenset({Action.CALL_MODELS, Action.READ_USAGE}),
    Role.FINANCE: frozenset({Action.READ_USAGE, Action.READ_MONEY, Action.MANAGE_BUDGETS}),
}


def allows(role: Role, action: Action) -> bool:
    """Whether a holder of this role may do this."""
    return action in _ALLOWED[role]


def exceeds(role: Role, bound: Role) -> bool:
    """Whether `role` allows anything that `bound` does not."""
    return not _ALLOWED[role] <= _ALLOWED[bound]


@dataclass(frozen=True, slots=True)
class Organization:
    """A customer, or the operator. `created_at` is epoch seconds, here and below."""

    id: str
    name: str
    created_at: float

    @property
    def is_operator(self) -> bool:
        return self.name == OPERATOR_NAME


@dataclass(frozen=True, slots=True)
class Project:
    """A part of an organization that keys and budgets can belong to. `org` is an id, as in every other type here."""

    id: str
    org: str
    name: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Member:
    """A person in one organization."""

    id: str
    org: str
    email: str
    role: Role
    created_at: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a minute, tokens a minute, and requests at one time; None is unlimited. Raises BadLimit below 1."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for name, limit in (("rpm", self.rpm), ("tpm", self.tpm), ("concurrency", self.concurrency)):
            if limit is not None and not 1 <= limit <= MAX_LIMIT:
                message = f"{name} is {limit}; give a whole number from 1 to {MAX_LIMIT}, or leave it out for no limit"
                raise BadLimit(message, param=name)


UNLIMITED: Final = Limits()


@dataclass(frozen=True, slots=True)
class Key:
    """An API key. `id` stays the same through every rotation, and money and limits belong to it; `public_id` changes.

    A key without a member belongs to a service. It is usable in `[created_at, expires_at)` until `revoked_at`.
    """

    id: str
    public_id: str
    org: str
    project: str | None
    member: str | None
    role: Role
    name: str
    limits: Limits
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    def expired(self, now: float) -> bool:
        return self.expires_at is not None and now >= self.expires_at

    def usable(self, now: float) -> bool:
        return self.revoked_at is None and not self.expired(now)


@dataclass(frozen=True, slots=True)
class KeySecret:
    """A key and the whole token that authenticates with it. The token is shown once and stored nowhere."""

    key: Key
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as one of its public ids finds it: the hash of that id's secret, and until when this secret is valid."""

    key: Key
    secret_hash: str = field(repr=False)
    valid_until: float | None


def format_token(public_id: str, secret: str) -> str:
    """`sk-<public id>-<secret>`."""
    return f"sk-{public_id}-{secret}"


def parse_token(token: str) -> tuple[str, str]:
    """The public id and the secret of a token. Raises InvalidKey on anything that was never a token of ours."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidKey("this is not an API key of this server: keys look like sk-…-…; check that it was copied whole")
    return match[1], match[2]


def hash_secret(secret: str) -> str:
    """SHA-256 in hex. No salt and no stretching: a secret is 160 random bits, which nobody can list or guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def verify(stored: StoredKey | None, secret: str, now: float) -> Key:
    """The key, if this is its secret and both are valid at `now`. `stored` is None if the public id is unknown.

    Raises InvalidKey, RevokedKey, ExpiredKey or ReplacedKey. An unknown public id takes the same steps as a wrong
    secret and gets the same answer, so that neither the clock nor the text tells which keys exist.
    """
    expected = _NO_HASH if stored is None else stored.secret_hash
    same = hmac.compare_digest(hash_secret(secret), expected)
    if stored is None or not same:
        raise InvalidKey("this API key is not valid here; check that it was copied whole and belongs to this server")
    key = stored.key
    if key.revoked_at is not None:
        raise RevokedKey(f"the API key {key.id} was revoked; use another key, or ask an admin for one")
    if key.expired(now):
        raise ExpiredKey(f"the API key {key.id} has expired; use another key, or ask an admin for one")
    if stored.valid_until is not None and now >= stored.valid_until:
        raise ReplacedKey(f"the API key {key.id} was rotated and this secret has ended; use the new one")
    return key


def check_name(name: str, what: str) -> str:
    """The name, unless it is not one for `what` ("an organization"). Raises BadName."""
    if _NAME.fullmatch(name) is None:
        message = (
            f"{name[:100]!r} is not a name for {what}; use 1 to 80 letters (A-Z, a-z), digits, '.', '_', '-' and "
            "spaces, with a letter or digit among them and no space at either end"
        )
        raise BadName(message, param="name")
    return name


def check_email(email: str) -> str:
    """The email address, unless it is plainly none. Raises BadEmail."""
    if _EMAIL.fullmatch(email) is None:
        raise BadEmail(f"{email[:100]!r} is not an email address; write it as name@example.com", param="email")
    return email


def folded(name: str) -> str:
    """What two names have in common that must not exist side by side."""
    return name.lower()
