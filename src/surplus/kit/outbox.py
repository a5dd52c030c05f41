"""The outbox: how a lower package tells a higher one, without knowing it.

A message is written in the transaction that causes it; consumers read in order and store how far they got in the
transaction of their own effect, so each message has its effect exactly once per consumer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Float, String, Table, Text, func, select

from surplus.kit.db import Big, ReadSession, WriteSession, metadata

LOCK: Final = "8 outbox"
"""Held by whoever publishes, so that messages become visible in the order of their numbers."""

messages = Table(
    "kit_outbox",
    metadata,
    Column("seq", Big, primary_key=True, autoincrement=False),
    Column("topic", String(60), nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Float, nullable=False),
)

cursors = Table(
    "kit_outbox_cursor",
    metadata,
    Column("consumer", String(60), primary_key=True),
    Column("seq", Big, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Message:
    """Something that happened: `topic` names it, `body` is JSON data, `at` is epoch seconds."""

    seq: int
    topic: str
    body: Mapping[str, object]
    at: float


def publish(session: WriteSession, topic: str, body: Mapping[str, object], *, now: float) -> None:
    """Write a message that exists if and only if this transaction commits."""
    session.exclusive(LOCK)
    last: int = session.scalar(select(func.coalesce(func.max(messages.c.seq), 0)))
    row = {"seq": last + 1, "topic": topic, "body": json.dumps(dict(body), sort_keys=True), "at": now}
    session.insert(messages, [row])


def pending(session: ReadSession, consumer: str, *, limit: int = 100) -> Sequence[Message]:
    """The next messages that this consumer has not marked as done, oldest first."""
    done = select(cursors.c.seq).where(cursors.c.consumer == consumer).scalar_subquery()
    query = select(messages).where(messages.c.seq > func.coalesce(done, 0)).order_by(messages.c.seq).limit(limit)
    return [Message(row.seq, row.topic, json.loads(row.body), row.at) for row in session.all(query)]


def claim(session: WriteSession, consumer: str, *, limit: int = 100) -> Sequence[Message]:
    """`pending`, for this transaction alone: no other process takes them as well. Then `mark` what had its effect."""
    session.exclusive(f"7 consumer {consumer}")
    return pending(session, consumer, limit=limit)


def mark(session: WriteSession, consumer: str, seq: int) -> None:
    """Everything up to `seq` has had its effect for this consumer; call it in the transaction of that effect."""
    session.upsert(cursors, [{"consumer": consumer, "seq": seq}], replace=["seq"])
