"""The JSON shapes of the OpenAI surfaces: envelopes, chunks, choices, log probabilities, errors."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.upstream import tokens
from tests.upstream.reply import Json

CREATED = 1_700_000_000
FINGERPRINT = "fp_upstream"
_LOGPROB = -0.5
_EXAMPLES = {"string": "Paris", "integer": 3, "number": 1.5, "boolean": True, "array": [], "object": {}}


class Surface(StrEnum):
    """Which endpoint was called."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class Call:
    """A tool call; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Choice:
    """One choice as tokens. With a call, ``pieces`` are those of its arguments, and its name is one token more."""

    index: int
    reasoning: tuple[str, ...]
    pieces: tuple[str, ...]
    finish: str
    call: Call | None = None

    @property
    def tokens(self) -> int:
        return len(self.reasoning) + len(self.pieces) + (self.call is not None)

    @property
    def role_delta(self) -> Json:
        return {"role": "assistant", "content": None if self.call or self.reasoning else ""}

    def deltas(self, surface: Surface) -> Iterator[tuple[Json, str]]:
        """Each token as (delta, piece of text)."""
        for piece in self.reasoning:
            yield {"reasoning_content": piece}, piece
        if self.call is not None:
            function = {"name": self.call.name, "arguments": ""}
            yield {"tool_calls": [{"index": 0, "id": self.call.id, "type": "function", "function": function}]}, ""
        for piece in self.pieces:
            if self.call is not None:
                yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, piece
            else:
                yield {"content": piece}, piece

    def message(self) -> Json:
        message: Json = {"role": "assistant", "content": None if self.call else "".join(self.pieces), "refusal": None}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.call is not None:
            function = {"name": self.call.name, "arguments": "".join(self.pieces)}
            message["tool_calls"] = [{"id": self.call.id, "type": "function", "function": function}]
        return message


def envelope(surface: Surface, reply_id: str, body: Json, *, stream: bool) -> Json:
    """What every chunk and every whole reply begins with."""
    chat = "chat.completion.chunk" if stream else "chat.completion"
    return {
        "id": reply_id,
        "object": chat if surface is Surface.CHAT else "text_completion",
        "created": CREATED,
        "model": body["model"],
        "system_fingerprint": FINGERPRINT,
    }


def chunk(
    surface: Surface, reply_id: str, body: Json, index: int, delta: Json, *, finish: str | None = None, piece: str = ""
) -> Json:
    """One streamed chunk of one choice."""
    logprobs = _logprobs(surface, body, (piece,)) if "content" in delta and piece else None
    content: Json = {"delta": delta} if surface is Surface.CHAT else {"text": piece}
    choice = {"index": index, **content, "logprobs": logprobs, "finish_reason": finish}
    return {**envelope(surface, reply_id, body, stream=True), "choices": [choice]}


def whole_choice(surface: Surface, body: Json, choice: Choice) -> Json:
    """One choice of a reply that is not a stream."""
    logprobs = None if choice.call else _logprobs(surface, body, choice.pieces)
    content: Json = {"message": choice.message()} if surface is Surface.CHAT else {"text": "".join(choice.pieces)}
    return {"index": choice.index, **content, "logprobs": logprobs, "finish_reason": choice.finish}


def is_reasoning(payload: Json) -> bool:
    """Whether a chunk carries a reasoning token."""
    return any("reasoning_content" in choice.get("delta", {}) for choice in payload["choices"])


def arguments(properties: Json) -> str:
    """JSON arguments that fit a tool's properties, one example value per type."""
    return json.dumps({name: _EXAMPLES.get(schema.get("type"), "Paris") for name, schema in properties.items()})


def output_limit(body: Json) -> int | None:
    """The output limit of one choice, in tokens; None when the request has none."""
    limit = body.get("max_completion_tokens")
    return body.get("max_tokens") if limit is None else limit


def error(message: str, kind: str, code: Any = None, param: str | None = None) -> Json:
    """The error body of OpenAI."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _logprobs(surface: Surface, body: Json, pieces: tuple[str, ...]) -> Json | None:
    asked = body.get("logprobs")
    if asked is None or asked is False:
        return None
    if surface is Surface.CHAT:
        top = int(body.get("top_logprobs") or 0)
        return {"content": [_token_logprob(piece, top) for piece in pieces], "refusal": None}
    return {
        "tokens": list(pieces),
        "token_logprobs": [_LOGPROB for _ in pieces],
        "top_logprobs": [{piece: _LOGPROB} for piece in pieces] if asked else None,
        "text_offset": [len("".join(pieces[:place])) for place in range(len(pieces))],
    }


def _token_logprob(piece: str, top: int) -> Json:
    """The chosen token first among its alternatives, each less likely than the one before."""
    ranked = [piece, *(word for word in tokens.words(top + 1) if word != piece)][:top]
    alternatives = [_scored(word, _LOGPROB - rank) for rank, word in enumerate(ranked)]
    return {**_scored(piece, _LOGPROB), "top_logprobs": alternatives}


def _scored(piece: str, logprob: float) -> Json:
    return {"token": piece, "logprob": logprob, "bytes": list(piece.encode())}
