"""Whoever has the data directory can have a new operator's key, and the lost one ends."""

import pytest

from surplus import bootstrap
from surplus.care import reset_operator_key
from surplus.identity import model as identity
from surplus.identity import service as identities
from surplus.identity.errors import RevokedKey
from surplus.identity.model import Key, Role
from surplus.kit.db import ReadSession
from surplus.kit.ids import RandomIds
from tests.care.conftest import NOW, Shop


def _accepted(session: ReadSession, token: str) -> Key:
    public_id, secret = identity.parse_token(token)
    return identity.verify(identities.find_by_public_id(session, public_id), secret, NOW + 1)


def test_the_lost_key_ends_and_the_new_one_works_beside_a_running_server(shop: Shop) -> None:
    ids, file = RandomIds(shop.clock), shop.data / bootstrap.OPERATOR_KEY
    lost = shop.database.read_now(_accepted, file.read_text().strip())
    operator = {"org": lost.org, "role": Role.OPERATOR, "now": NOW}
    second = shop.database.write_now(identities.create_key, ids, name="second person", **operator)
    token = file.read_text().strip()
    file.unlink()
    done = reset_operator_key(shop.data, ids=ids, clock=shop.clock)
    assert file.stat().st_mode & 0o777 == 0o600
    key = shop.database.read_now(_accepted, file.read_text().strip())
    assert (key.id, key.role) == (done.key, Role.OPERATOR)
    assert (done.revoked, done.left) == ((lost.id,), (second.key.id,))
    with pytest.raises(RevokedKey):
        shop.database.read_now(_accepted, token)
    assert shop.database.read_now(_accepted, second.token).id == second.key.id


def test_again_and_again(shop: Shop) -> None:
    ids = RandomIds(shop.clock)
    first = reset_operator_key(shop.data, ids=ids, clock=shop.clock)
    second = reset_operator_key(shop.data, ids=ids, clock=shop.clock)
    assert second.revoked == (first.key,)
