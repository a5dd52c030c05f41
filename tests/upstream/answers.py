"""Healthy answers: what a correct OpenAI-compatible engine says to a body, as the steps of a reply."""

import base64
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.upstream import shapes, tokens
from tests.upstream.reply import Body, End, Event, Generate, Head, Json, Kind, Prefill, Reply, Step
from tests.upstream.shapes import Call, Choice, Surface

EMBEDDING_SIZE = 8


@dataclass(frozen=True)
class Traits:
    """What the model does with a request: facts, not faults. ``tokens`` is the natural length of one choice's text."""

    tokens: int = 12
    cached: int = 0
    reasoning: int = 0
    continuous_usage: bool = False


@dataclass(frozen=True)
class Ask:
    """The parts of a generation request that decide the answer."""

    surface: Surface
    id: str
    body: Json
    prompt: str  # the text faults are tagged in: the last user message, or the prompt
    prompt_tokens: int
    prompts: int = 1  # how many prompts one body holds (completions only)

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def limit(self) -> int | None:
        return shapes.output_limit(self.body)

    @property
    def wants_usage(self) -> bool:
        return bool(self._stream_options.get("include_usage"))

    @property
    def wants_continuous_usage(self) -> bool:
        return self.wants_usage and bool(self._stream_options.get("continuous_usage_stats"))

    @property
    def wants_timings(self) -> bool:
        return bool(self.body.get("timings_per_token"))

    @property
    def choices(self) -> int:
        return int(self.body.get("n") or 1) * self.prompts

    @property
    def _stream_options(self) -> Json:
        return self.body.get("stream_options") or {}


def chat_ask(reply_id: str, body: Json) -> Ask:
    """Read a /v1/chat/completions body."""
    messages = body["messages"]
    said = [tokens.content_text(turn.get("content")) for turn in messages if turn["role"] == "user"]
    prompt = tokens.apply_template(messages, body.get("tools") or [])
    return Ask(Surface.CHAT, reply_id, body, said[-1] if said else "", len(tokens.split(prompt)))


def completion_ask(reply_id: str, body: Json) -> Ask:
    """Read a /v1/completions body: a text, token ids, or a list of either."""
    texts, count = _inputs(body["prompt"])
    return Ask(Surface.COMPLETIONS, reply_id, body, "".join(texts), count, max(1, len(texts)))


def embedding_ask(reply_id: str, body: Json) -> Ask:
    """Read a /v1/embeddings body."""
    texts, count = _inputs(body["input"])
    return Ask(Surface.EMBEDDINGS, reply_id, body, "".join(texts), count, len(texts))


def answer(ask: Ask, traits: Traits) -> Reply:
    """The healthy reply to a request."""
    if ask.surface is Surface.EMBEDDINGS:
        return Reply((Prefill(), Head(), Body(_embeddings(ask)), End()), request=ask.body)
    choices = [_choice(ask, traits, index) for index in range(ask.choices)]
    if ask.stream:
        events = _with_usage(_with_timings(_events(ask, choices), ask, traits), ask, traits)
        steps: tuple[Step, ...] = (Prefill(), Head(content_type="text/event-stream"), *events, End())
        return Reply(steps, stream=True, request=ask.body)
    return Reply(_document_steps(ask, traits, choices), request=ask.body)


def usage(ask: Ask, traits: Traits, completion: int, reasoning: int) -> Json:
    """The usage object; reasoning is part of completion, cached part of prompt."""
    if ask.surface is Surface.EMBEDDINGS:
        return {"prompt_tokens": ask.prompt_tokens, "total_tokens": ask.prompt_tokens}
    return {
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": ask.prompt_tokens + completion,
        "prompt_tokens_details": {"cached_tokens": cached_tokens(ask, traits)},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def cached_tokens(ask: Ask, traits: Traits) -> int:
    """How much of the prompt came from the cache: never all of it, the last token is always computed."""
    return max(0, min(traits.cached, ask.prompt_tokens - 1))


def _with_timings(events: Iterable[Event], ask: Ask, traits: Traits) -> Iterator[Event]:
    """Add llama.cpp's `timings` where the request asks for them: the progress of the chunk's own choice."""
    predicted: Counter[int] = Counter()
    cached = cached_tokens(ask, traits)
    for event in events:
        index = event.payload["choices"][0]["index"]
        predicted[index] += event.tokens
        timings = {"cache_n": cached, "prompt_n": ask.prompt_tokens - cached, "predicted_n": predicted[index]}
        yield replace(event, payload={**event.payload, "timings": timings}) if ask.wants_timings else event


def _inputs(given: Any) -> tuple[list[str], int]:
    """The texts of an input (empty for token ids), and the tokens of all of them."""
    inputs = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given
    texts = [item if isinstance(item, str) else "" for item in inputs]
    return texts, sum(len(tokens.split(item)) if isinstance(item, str) else len(item) for item in inputs)


def _choice(ask: Ask, traits: Traits, index: int) -> Choice:
    room = ask.limit
    reasoning = tokens.words(traits.reasoning if ask.surface is Surface.CHAT else 0)[:room]
    left = None if room is None else room - len(reasoning)
    call = _tool_call(ask, index)
    if call is not None and left != 0:
        arguments = tuple(tokens.split(call.arguments))
        kept = arguments if left is None else arguments[: left - 1]
        finish = "tool_calls" if kept == arguments else "length"
        return Choice(index, reasoning, kept, finish, call)
    text = tokens.words(traits.tokens)[:left]
    finish = "stop" if len(text) == traits.tokens else "length"
    return Choice(index, reasoning, text, finish)


def _tool_call(ask: Ask, index: int) -> Call | None:
    """One call when tools are offered and the last word is not already a tool's result."""
    offered = ask.body.get("tools")
    wanted = ask.body.get("tool_choice")
    if ask.surface is not Surface.CHAT or not offered or wanted == "none" or ask.body["messages"][-1]["role"] == "tool":
        return None
    functions = [tool["function"] for tool in offered]
    if isinstance(wanted, dict):
        functions = [function for function in functions if function["name"] == wanted["function"]["name"]]
    parameters = functions[0].get("parameters") or {}
    return Call(f"call_{ask.id}_{index}", functions[0]["name"], shapes.arguments(parameters.get("properties") or {}))


def _events(ask: Ask, choices: list[Choice]) -> Iterator[Event]:
    if ask.surface is Surface.CHAT:
        for choice in choices:
            yield Event(Kind.ROLE, shapes.chunk(ask.surface, ask.id, ask.body, choice.index, choice.role_delta))
    yield from _interleaved([list(_content(ask, choice)) for choice in choices])
    for choice in choices:
        payload = shapes.chunk(ask.surface, ask.id, ask.body, choice.index, {}, finish=choice.finish)
        yield Event(Kind.FINISH, payload)


def _content(ask: Ask, choice: Choice) -> Iterator[Event]:
    for delta, piece in choice.deltas(ask.surface):
        payload = shapes.chunk(ask.surface, ask.id, ask.body, choice.index, delta, piece=piece)
        yield Event(Kind.CONTENT, payload, tokens=1)


def _interleaved(rows: list[list[Event]]) -> Iterator[Event]:
    """One event of each choice in turn, as a batch of samples is decoded."""
    for place in range(max((len(row) for row in rows), default=0)):
        for row in rows:
            if place < len(row):
                yield row[place]


def _with_usage(events: Iterable[Event], ask: Ask, traits: Traits) -> Iterator[Event]:
    """Add usage where the request asks for it: null until the last chunk, or cumulative in every chunk.

    Cumulative usage is of the chunk's own choice alone, as vLLM's; the last chunk is about all of them.
    """
    made: Counter[int] = Counter()
    reasoned: Counter[int] = Counter()
    continuous = traits.continuous_usage or ask.wants_continuous_usage
    for event in events:
        index = event.payload["choices"][0]["index"]
        made[index] += event.tokens
        reasoned[index] += shapes.is_reasoning(event.payload)
        if continuous:
            so_far = usage(ask, traits, made[index], reasoned[index])
            yield replace(event, payload={**event.payload, "usage": so_far})
        elif ask.wants_usage:
            yield replace(event, payload={**event.payload, "usage": None})
        else:
            yield event
    if ask.wants_usage:
        payload = shapes.envelope(ask.surface, ask.id, ask.body, stream=True)
        in_all = usage(ask, traits, made.total(), reasoned.total())
        yield Event(Kind.USAGE, {**payload, "choices": [], "usage": in_all})
    yield Event(Kind.DONE, raw=b"data: [DONE]\n\n")


def _document_steps(ask: Ask, traits: Traits, choices: list[Choice]) -> tuple[Step, ...]:
    made = sum(choice.tokens for choice in choices)
    reasoned = sum(len(choice.reasoning) for choice in choices)
    payload = {
        **shapes.envelope(ask.surface, ask.id, ask.body, stream=False),
        "choices": [shapes.whole_choice(ask.surface, ask.body, choice) for choice in choices],
        "usage": usage(ask, traits, made, reasoned),
    }
    return (Prefill(), *(Generate() for _ in range(made)), Head(), Body(payload), End())


def _embeddings(ask: Ask) -> Json:
    size = ask.body.get("dimensions") or EMBEDDING_SIZE
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(ask, index, size)} for index in range(ask.prompts)
    ]
    return {"object": "list", "data": data, "model": ask.body["model"], "usage": usage(ask, Traits(), 0, 0)}


def _vector(ask: Ask, index: int, size: int) -> list[float] | str:
    """Quarters, which float32 holds exactly; base64 of little-endian float32 when asked, as the SDK does."""
    values = [((index + place) % 9 - 4) / 4 for place in range(size)]
    if ask.body.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{size}f", *values)).decode()
    return values
