import pytest

from surplus.kit import outbox
from surplus.kit.db import Database, ReadSession, WriteSession
from surplus.kit.outbox import Message


def publish(database: Database, *topics: str) -> None:
    for number, topic in enumerate(topics):
        database.write_now(outbox.publish, topic, {"n": number}, now=100.0 + number)


def topics(session: ReadSession, consumer: str) -> list[str]:
    return [message.topic for message in outbox.pending(session, consumer)]


def test_messages_come_in_order_with_all_they_say(database: Database) -> None:
    publish(database, "wallet.empty", "wallet.filled")
    assert database.read_now(outbox.pending, "market") == [
        Message(1, "wallet.empty", {"n": 0}, 100.0),
        Message(2, "wallet.filled", {"n": 1}, 101.0),
    ]


def test_several_messages_of_one_transaction_keep_their_order(database: Database) -> None:
    def both(session: WriteSession) -> None:
        outbox.publish(session, "a", {}, now=1)
        outbox.publish(session, "b", {}, now=1)

    database.write_now(both)
    assert database.read_now(topics, "market") == ["a", "b"]


def test_each_consumer_goes_at_its_own_pace(database: Database) -> None:
    publish(database, "a", "b", "c")
    database.write_now(outbox.mark, "market", 2)
    assert database.read_now(topics, "market") == ["c"]
    assert database.read_now(topics, "notify") == ["a", "b", "c"]
    database.write_now(outbox.mark, "market", 3)
    publish(database, "d")
    assert database.read_now(topics, "market") == ["d"]


def test_a_page_has_a_largest_size(database: Database) -> None:
    publish(database, "a", "b", "c")
    assert [m.topic for m in database.read_now(outbox.pending, "market", limit=2)] == ["a", "b"]


def test_a_message_of_a_transaction_that_is_undone_was_never_there(database: Database) -> None:
    def publish_and_fail(session: WriteSession) -> None:
        outbox.publish(session, "lost", {}, now=1)
        raise LookupError("no")

    with pytest.raises(LookupError):
        database.write_now(publish_and_fail)
    publish(database, "kept")
    assert database.read_now(topics, "market") == ["kept"]


def test_an_effect_and_its_mark_are_undone_together(database: Database) -> None:
    def effect(session: WriteSession, *, fail: bool) -> None:
        for message in outbox.pending(session, "market"):
            outbox.publish(session, f"effect of {message.topic}", {}, now=2)
            outbox.mark(session, "market", message.seq)
        if fail:
            raise LookupError("crash")

    publish(database, "a")
    with pytest.raises(LookupError):
        database.write_now(effect, fail=True)
    database.write_now(effect, fail=False)
    assert database.read_now(topics, "notify") == ["a", "effect of a"]
