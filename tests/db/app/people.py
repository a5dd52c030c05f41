"""Callers for the tests of the use-cases."""

from dataclasses import dataclass

from surplus.app import keys, organizations
from surplus.app.callers import Caller
from surplus.app.keys import KeySpec
from surplus.identity import service as identity
from surplus.identity.model import Organization, Role
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds

NOW = 1_800_000_000.0


@dataclass(frozen=True)
class People:
    """Two customers, and the tokens of the operator and of each role at `acme`."""

    database: Database
    ids: CountedIds
    acme: Organization
    rival: Organization
    operator: Caller
    tokens: dict[str, str]


def people(database: Database) -> People:
    """Make them."""
    ids = CountedIds()
    made = database.write_now(identity.ensure_operator_key, ids, now=NOW)
    assert made is not None
    acme, rival = (database.write_now(organizations.create, ids, name, now=NOW) for name in ("acme", "rival"))
    operator = Caller(made.key, acme)
    tokens = {"operator": made.token}
    for role in (Role.ADMIN, Role.DEVELOPER, Role.FINANCE):
        secret = database.write_now(keys.create, ids, operator, KeySpec(role=role), now=NOW)
        tokens[role.value] = secret.token
    return People(database, ids, acme, rival, operator, tokens)
