"""The log as bytes: what is hashed, and how one batch is tied to the batch before it. Pure.

The canonical bytes of an entry are a line of JSON with its fields in the order of `Entry`, those that are empty left
out; so a field that a later version adds leaves the bytes of earlier entries as they are. A batch is hashed as the hash
before it, in hex, and then its lines: `(printf %s $PREVIOUS; cat lines) | sha256sum` checks it.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

import msgspec

from surplus.ledger.model import Entry, EntryKind

GENESIS: Final = "0" * 64
"""The hash before the first batch."""

_encoder: Final = msgspec.json.Encoder()


class Batch(msgspec.Struct, frozen=True):
    """One link of the chain: the entries from `first_seq` to `last_seq`. Hashes are in hex."""

    first_seq: int
    last_seq: int
    previous: str
    hash: str


_TRANSFER: Final = {
    "debit": "account",
    "credit": "counter",
    "amount_micro": "amount_micro",
    "code": "code",
    "ref": "ref",
    "event_at": "event_at",
}
_POST: Final = {"hold": "hold", "grains": "grains", "revenue": "counter", "ref": "ref", "event_at": "event_at"}
_CHARGE: Final = {"grains": "grains", "revenue": "counter", "ref": "ref", "event_at": "event_at"}

BODY: Final[dict[EntryKind, tuple[str, dict[str, str]]]] = {
    EntryKind.OPEN: ("open", {"account": "account", "kind": "account_kind", "limit": "limit_micro"}),
    EntryKind.LIMIT: ("limit", {"account": "account", "limit": "limit_micro"}),
    EntryKind.TRANSFER: ("transfer", _TRANSFER),
    EntryKind.REFUSED: ("transfer", _TRANSFER),
    EntryKind.PLACE: (
        "place",
        {
            "hold": "hold",
            "wallet": "account",
            "budgets": "scopes",
            "amount_micro": "amount_micro",
            "deadline": "deadline",
            "ref": "ref",
        },
    ),
    EntryKind.POST: ("post", _POST),
    EntryKind.LATE: ("post", _POST),
    EntryKind.VOID: ("void", {"hold": "hold"}),
    EntryKind.EXPIRE: ("expire", {"hold": "hold"}),
    EntryKind.DRAW: ("draw", {"slice": "hold", "holder": "ref", "scopes": "scopes", "amount_micro": "amount_micro"}),
    EntryKind.RETURN: ("return", {"slice": "hold", "amount_micro": "amount_micro"}),
    EntryKind.CHARGE: ("charge", {"slice": "hold", "wallet": "account", "requests": "requests", **_CHARGE}),
    EntryKind.RECALL: ("recall", {"account": "account", "amount_micro": "amount_micro"}),
}
"""Of each kind of entry: the command behind it, and which field of that command is kept in which field of the entry.

These are what a repeat of the command has to bring again. How a scope would have been opened is not among them: a retry
may know a newer limit.
"""


def canonical(entry: Entry) -> bytes:
    """The one byte string that stands for an entry in the hash chain: a line of JSON."""
    fields: dict[str, Any] = msgspec.structs.asdict(entry)
    # a limit of zero is a limit; only an absent one is left out
    kept = {name: value for name, value in fields.items() if value or (name == "limit_micro" and value is not None)}
    return _encoder.encode(kept) + b"\n"


class Link:
    """The hash of a batch while its entries pass: SHA-256 over the hash of the batch before it and their bytes."""

    def __init__(self, previous: str) -> None:
        self._running = sha256(previous.encode())

    def add(self, entry: Entry) -> None:
        """The next entry of the batch."""
        self._running.update(canonical(entry))

    def hash(self) -> str:
        """The hash, in hex, of the entries so far."""
        return self._running.hexdigest()


def link(previous: str, entries: Iterable[Entry]) -> str:
    """The hash, in hex, of a batch that follows the batch whose hash is `previous`."""
    running = Link(previous)
    for entry in entries:
        running.add(entry)
    return running.hash()


def digest(entry: Entry) -> str:
    """SHA-256, in hex, of what the command behind this entry asked for."""
    verb, fields = BODY[entry.kind]
    values: list[Any] = [verb, entry.key]
    values += [getattr(entry, name) for name in fields.values()]
    return sha256(_encoder.encode(values)).hexdigest()


def difference(earlier: Entry, claimed: Entry) -> str | None:
    """The first field of the command in which two entries under one key differ; None if they are the same command."""
    verb, fields = BODY[claimed.kind]
    if BODY[earlier.kind][0] != verb:
        return "command"
    return next((name for name, kept in fields.items() if getattr(earlier, kept) != getattr(claimed, kept)), None)
