"""Streams as engines send them, and a reader of streams that shares no code with the gateway."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

ENDS = (b"\n", b"\r\n", b"\r")
DONE = b"data: [DONE]\n\n"


def read_events(stream: bytes) -> list[bytes]:
    """The data of every complete event, line by line as WHATWG's specification says. Events without data are none."""
    found: list[bytes] = []
    data: list[bytes] = []
    text = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, _ = text.split(b"\n")  # a last line without an end is not complete
    for line in lines:
        if not line:
            if data:
                found.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            data.append(b"")
    return found


def event(payload: Any) -> bytes:
    """One event as engines write it: compact JSON."""
    return b"data: " + json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def chunk(content: str | None = None, *, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chat chunk of one choice."""
    delta = {} if content is None else {"content": content}
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "up", "choices": [choice], **more}


def closing(**more: Any) -> dict[str, Any]:
    """A chunk without choices."""
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "up", "choices": [], **more}


def usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def timings(prompt: int, predicted: int, cached: int = 0) -> dict[str, Any]:
    return {"cache_n": cached, "prompt_n": prompt, "prompt_ms": 6.1, "predicted_n": predicted, "predicted_ms": 2.4}


def stream(*payloads: Any, done: bool = True) -> bytes:
    return b"".join(event(payload) for payload in payloads) + (DONE if done else b"")


def openai(words: Sequence[str] = ("a", "b", "c"), *, prompt: int = 9, cached: int = 4) -> list[dict[str, Any]]:
    """What a provider says when it was asked for usage: null until a last chunk that holds it."""
    said = [chunk("", usage=None), *(chunk(word, usage=None) for word in words), chunk(finish="stop", usage=None)]
    return [*said, closing(usage=usage(prompt, len(words), cached))]


def vllm(*choices: Sequence[str], prompt: int = 9) -> list[dict[str, Any]]:
    """What vLLM says when it was asked for continuous usage: that of the chunk's own choice, and in the end of all."""
    said: list[dict[str, Any]] = []
    for place in range(max(len(words) for words in choices) + 1):
        for index, words in enumerate(choices):
            so_far = usage(prompt, min(place + 1, len(words)))
            if place < len(words):
                said.append(chunk(words[place], index=index, usage=so_far))
            elif place == len(words):
                said.append(chunk(index=index, finish="stop", usage=so_far))
    return [*said, closing(usage=usage(prompt, sum(len(words) for words in choices), 3))]


def llama(*choices: Sequence[str], prompt: int = 5, cached: int = 12) -> list[dict[str, Any]]:
    """What llama.cpp says when it was asked for usage and for timings per token; every choice has a closing chunk.

    Each choice ends in a token that has no text, which the closing chunk counts and no other.
    """
    said: list[dict[str, Any]] = []
    for index, words in enumerate(choices):
        said.append(chunk(index=index))
        for number, word in enumerate(words, start=1):
            said.append(chunk(word, index=index, timings=timings(prompt, number, cached)))
    for index, words in enumerate(choices):
        made = len(words) + 1
        last = {"usage": usage(prompt + cached, made, cached), "timings": timings(prompt, made, cached)}
        said += [chunk(index=index, finish="stop"), closing(**last)]
    return said


def cuts(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """The bytes in pieces, cut anywhere."""
    places = st.lists(st.integers(0, len(data)), max_size=12).map(sorted)
    return places.map(lambda at: [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)])


def bytewise(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))
