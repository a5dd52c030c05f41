"""What a worker is told when it is started, over the pipe to it."""

from typing import Final

import msgspec

from surplus.settings import Settings


class Instructions(msgspec.Struct, frozen=True):
    """`number` is the worker's place, `journal` the number of its journal; `token` opens the link of this run."""

    number: int
    journal: int
    data: str
    token: str
    settings: Settings


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Instructions).decode


def worker_name(number: int, pid: int) -> str:
    """What a worker calls itself on the link; no other process ever has the name."""
    return f"worker-{number}.{pid}"
