import pytest

from surplus.kit import revisions
from surplus.kit.db import Database, WriteSession


def test_a_topic_that_never_changed_has_no_number(database: Database) -> None:
    assert database.read_now(revisions.read) == {}


def test_every_change_raises_its_own_topic_s_number(database: Database) -> None:
    for topic in ("keys", "prices", "keys", "keys"):
        database.write_now(revisions.bump, topic)
    assert database.read_now(revisions.read) == {"keys": 3, "prices": 1}


def test_a_change_that_is_undone_raises_nothing(database: Database) -> None:
    def bump_and_fail(session: WriteSession) -> None:
        revisions.bump(session, "keys")
        raise LookupError("no")

    database.write_now(revisions.bump, "keys")
    with pytest.raises(LookupError):
        database.write_now(bump_and_fail)
    assert database.read_now(revisions.read) == {"keys": 1}
