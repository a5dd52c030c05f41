"""Following a stream with a meter, as a relay does."""

import json
from collections.abc import Iterable
from typing import Any

from surplus.gateway.meter import StreamMeter
from surplus.serving.engines.dialects import DIALECTS
from surplus.serving.model import EngineKind
from tests.unit.gateway.streams import read_events

OPENAI, VLLM, LLAMA = EngineKind.OPENAI, EngineKind.VLLM, EngineKind.LLAMACPP


def follow(
    engine: EngineKind, *pieces: bytes, asked: bool = False, choices: int = 1, inputs: int = 1
) -> tuple[bytes, StreamMeter]:
    """What the caller sees of these pieces, and the meter after the last of them."""
    meter = StreamMeter(DIALECTS[engine], include_usage=asked, choices=choices, inputs=inputs)
    return feed(meter, pieces), meter


def feed(meter: StreamMeter, pieces: Iterable[bytes]) -> bytes:
    return b"".join([meter.feed(piece) for piece in pieces])


def payloads(seen: bytes) -> list[Any]:
    """The JSON of every event that the caller sees, without [DONE]."""
    return [json.loads(data) for data in read_events(seen) if data != b"[DONE]"]


def usages(seen: bytes) -> list[Any]:
    """Every usage that the caller is told of."""
    return [chunk["usage"] for chunk in payloads(seen) if chunk.get("usage") is not None]
