"""Organizations: a customer comes with a wallet, and with the credit that it has paid."""

from surplus.app import money
from surplus.identity import service as identity
from surplus.identity.model import Organization
from surplus.kit.db import WriteSession
from surplus.kit.ids import Ids


def create(
    session: WriteSession, ids: Ids, name: str, *, credit_micro: int = 0, limit_micro: int = 0, now: float
) -> Organization:
    """A new customer with a wallet. Raises BadName, NameTaken, or BadAmount for a credit or a limit below zero."""
    organization = identity.create_organization(session, ids, name, now=now)
    money.open_wallet(session, organization.id, credit_micro=credit_micro, limit_micro=limit_micro, now=now)
    return organization
