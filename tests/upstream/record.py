"""What the upstream saw and what it really did, request by request."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How the handling of a request ended."""

    OPEN = "open"  # still being answered
    ANSWERED = "answered"  # every byte of the planned reply was written
    BROKEN = "broken"  # the upstream ended the connection: a cut or a reset, or it was stopped
    ABANDONED = "abandoned"  # the peer went away before the last event was written


@dataclass(frozen=True)
class Usage:
    """Tokens really worked on, whatever the reply claimed. ``cached`` is part of ``prompt``."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.prompt + other.prompt, self.cached + other.cached, self.completion + other.completion)


@dataclass(eq=False)
class Seen:
    """One request as it arrived, and the truth about its answer.

    ``id`` is the id that the reply carries (``chatcmpl-…``, ``cmpl-…``), and ``req-<id>`` its ``x-request-id``.
    ``headers`` has lower-case names. ``body`` is the parsed JSON, None when there was none.
    """

    id: str
    connection: int
    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes
    body: Any = None
    faults: tuple[Any, ...] = ()
    prompt_tokens: int = 0
    cached_tokens: int = 0
    prompt_read: bool = False
    generated_tokens: int = 0
    sent_tokens: int = 0  # of whole events and whole bodies
    sent_events: int = 0
    outcome: Outcome = Outcome.OPEN
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def disconnected(self) -> bool:
        """Whether the peer went away before the end. Await ``gone`` to be told."""
        return self.gone.is_set()

    @property
    def usage(self) -> Usage:
        """The work really done: the prompt from the moment it was read, and every token generated so far."""
        if not self.prompt_read:
            return Usage()
        return Usage(self.prompt_tokens, self.cached_tokens, self.generated_tokens)

    def release(self) -> None:
        """Let this request go on past its holds (present and later ones)."""
        self.released.set()

    def end(self, outcome: Outcome) -> None:
        """Close the record, once; tells whoever awaits ``gone`` or ``ended``."""
        self.outcome = outcome
        if outcome is Outcome.ABANDONED:
            self.gone.set()
        self.ended.set()
