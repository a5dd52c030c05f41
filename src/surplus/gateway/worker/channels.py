"""What a worker and the control process say to each other, beside what `serving.news` has. Payloads are MessagePack."""

from typing import Any, Final

import msgspec

from surplus.gateway.model import Process
from surplus.gateway.ports import FundsCommand, Load, Loaded
from surplus.gateway.standing import Standing
from surplus.identity.model import Limits
from surplus.ledger.model import Outcome

APPLY: Final = "books.apply"
"""Call: a FundsCommand, answered by its Outcome when it is durable."""
LOAD: Final = "books.load"
"""Call: a Load, answered by Loaded."""
RECALLED: Final = "books.recalled"
"""Call: the name of a holder, answered by a list of slices."""
TAKE: Final = "limits.take"
"""Call: Take, answered by Taken."""
RELEASE: Final = "limits.release"
"""Tell: Release."""
HELD: Final = "limits.held"
"""Tell: the numbers of all leases that this worker has; those that it does not name are over."""
BEAT: Final = "roll.beat"
"""Call: a Process, answered by nothing."""
LEAVE: Final = "roll.leave"
"""Call: the name of a gateway, answered by nothing."""
REPORT: Final = "report"
"""Call and tell: Report."""
STANDING: Final = "standing"
"""Topic: how the books stand, to whoever has just connected and when that changes."""
LOOK: Final = "look"
"""Topic: a number; facts have changed in the database, look at it."""
LOOKED: Final = "looked"
"""Tell: the number of the LOOK that has been followed."""


class Take(msgspec.Struct, frozen=True, array_like=True):
    """One request more of a key; `number` is the worker's name for the lease."""

    number: int
    key: str
    limits: Limits
    tokens: int


class Stood(msgspec.Struct, frozen=True, array_like=True):
    """Where a key stands in one of its limits."""

    what: str
    limit: int
    remaining: int
    reset_s: float


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """The lease was taken, or refused with this error (as the link encodes it); and where the key stands now."""

    standing: list[Stood]
    refusal: bytes = b""


class Release(msgspec.Struct, frozen=True, array_like=True):
    """A lease is over with so many tokens used; None if the request was refused after all."""

    number: int
    tokens: int | None


class Report(msgspec.Struct, frozen=True, array_like=True):
    """How a worker is. `why` says why it should get no requests; `replicas` are its requests in flight by replica.

    `metrics` is what `kit.metrics.snapshot` made.
    """

    number: int
    pid: int
    why: list[str]
    in_flight: int
    journal_lag_bytes: int
    replicas: dict[str, int]
    metrics: bytes


encode: Final = msgspec.msgpack.Encoder().encode
command: Final = msgspec.msgpack.Decoder(FundsCommand).decode
outcome: Final = msgspec.msgpack.Decoder[Any](Outcome).decode
load: Final = msgspec.msgpack.Decoder(Load).decode
loaded: Final = msgspec.msgpack.Decoder(Loaded).decode
names: Final = msgspec.msgpack.Decoder(list[str]).decode
numbers: Final = msgspec.msgpack.Decoder(list[int]).decode
number: Final = msgspec.msgpack.Decoder(int).decode
take: Final = msgspec.msgpack.Decoder(Take).decode
taken: Final = msgspec.msgpack.Decoder(Taken).decode
release: Final = msgspec.msgpack.Decoder(Release).decode
standing: Final = msgspec.msgpack.Decoder(Standing).decode
process: Final = msgspec.msgpack.Decoder(Process).decode
report: Final = msgspec.msgpack.Decoder(Report).decode
