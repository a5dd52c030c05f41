"""What is asked of every target: the shapes of answers and how fast they are asked for."""

import json
from dataclasses import dataclass

PROMPT_TOKENS = 212
"""What the upstream says it read, whatever was sent (answers.c)."""

JSON_TOKENS = 128
"""What the upstream says it wrote in an answer that is not a stream (answers.c)."""

MODEL = "bench"

_PROMPT = (
    "You are the clerk of a small harbour. Ships come in at any hour, and each of them has to be told where to moor, "
    "for how long, and at what price. The owner's own boats come first; what is free besides may be let to others by "
    "the hour, by the day, or for a season. A berth that was promised is kept, and a berth that is taken back early is "
    "refunded with a penalty. Every ship pays for what it used and for nothing else, and can see in the book what it "
    "paid for. Write down, in plain words and in the order in which things happen, what you do from the moment when a "
    "ship is sighted until it has left and its account is closed. Keep it short. "
)


@dataclass(frozen=True)
class Scenario:
    """One shape of work. `rate` is requests a second in an open loop; without it, `connections` keep asking."""

    name: str
    title: str
    chunks: int = 0
    pace_ms: int = 0
    connections: int = 16
    rate: float | None = None

    @property
    def stream(self) -> bool:
        return self.chunks > 0

    @property
    def output_tokens(self) -> int:
        """Tokens that the upstream says it wrote in one answer."""
        return self.chunks if self.stream else JSON_TOKENS

    def body(self) -> bytes:
        """The request, as an OpenAI client would write it."""
        request: dict[str, object] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"{_PROMPT}[[chunks={self.chunks or 1} pace={self.pace_ms}]]"}],
            "max_tokens": 256,
            "temperature": 0,
        }
        if self.stream:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(request, separators=(",", ":")).encode()


SCENARIOS = (
    Scenario("json", "JSON answer of 1 KB"),
    Scenario("stream32", "stream of 32 chunks at once", chunks=32),
    Scenario("stream128", "stream of 128 chunks at once", chunks=128),
    Scenario("paced128", "stream of 128 chunks, one per 10 ms", chunks=128, pace_ms=10, connections=64),
    Scenario("rate50", "JSON at 50 requests a second", connections=4, rate=50),
)
