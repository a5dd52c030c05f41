"""How far the log has been checked, and what it had come to there: the next check goes on from here. Pure.

A checkpoint saves time and proves nothing: whoever can write it can write the database too. So the whole log is read
again now and then.
"""

from hashlib import sha256
from typing import Final

import msgspec

from surplus.ledger.errors import BadCheckpoint
from surplus.ledger.evolve import State

_SUM_BYTES: Final = 32


class Checkpoint(msgspec.Struct, frozen=True):
    """The log up to the end of one batch, whose hash (hex) is `hash`, was sound, and came to `state`.

    `entries`, `batches` and `placed` (holds) count what was read; `full_at` is when (epoch seconds) the log was last
    read from its beginning.
    """

    hash: str
    entries: int
    batches: int
    placed: int
    full_at: float
    state: State


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Checkpoint)


def encode(checkpoint: Checkpoint) -> bytes:
    """The bytes of a checkpoint, the sum of them first."""
    body = _encoder.encode(checkpoint)
    return sha256(body).digest() + body


def decode(data: bytes) -> Checkpoint:
    """What was encoded, sharing nothing with it. Raises BadCheckpoint."""
    if sha256(data[_SUM_BYTES:]).digest() != data[:_SUM_BYTES]:
        raise BadCheckpoint("the checkpoint of the ledger is damaged; the whole log is read instead")
    try:
        return _decoder.decode(data[_SUM_BYTES:])
    except msgspec.DecodeError as error:
        raise BadCheckpoint("the checkpoint of the ledger is another version's; the whole log is read") from error
