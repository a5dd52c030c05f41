"""Mixes the topics into conversations of one to ten exchanges, and writes and reads them as JSON lines."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any

from tools.demo_model.corpus import arithmetic, fleet, small_talk, stories, words


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing said, as in the body of a chat completion."""

    role: Role
    content: str


Conversation = tuple[Message, ...]

_TOPICS = {
    arithmetic.draw: 0.38,
    fleet.draw: 0.20,
    stories.draw: 0.15,
    words.draw: 0.12,
    small_talk.draw_unknown: 0.08,
    small_talk.draw: 0.07,
}
_SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant in a small cloud.",
    "Answer briefly.",
)
_SYSTEM_PROMPT_SHARE = 0.35
_SLOPPY_SHARE = 0.15
# A few are long, so that the model still answers late in a chat.
_EXCHANGES = {1: 0.58, 2: 0.24, 3: 0.14, 10: 0.04}


def generate(count: int, *, seed: int) -> Iterator[Conversation]:
    """Make `count` conversations; the same seed gives the same ones, and a smaller count gives a prefix of them.

    Raises ValueError when the count is below 1.
    """
    if count < 1:
        raise ValueError(f"cannot generate {count} conversations: ask for at least one")
    rng = Random(seed)
    return (_draw(rng) for _ in range(count))


def _draw(rng: Random) -> Conversation:
    messages: list[Message] = []
    if rng.random() < _SYSTEM_PROMPT_SHARE:
        messages.append(Message(Role.SYSTEM, rng.choice(_SYSTEM_PROMPTS)))
    exchanges = rng.choices(list(_EXCHANGES), list(_EXCHANGES.values()))[0]
    for draw in rng.choices(list(_TOPICS), list(_TOPICS.values()), k=exchanges):
        exchange = draw(rng)
        question = _typed_carelessly(rng, exchange.question) if rng.random() < _SLOPPY_SHARE else exchange.question
        messages += (Message(Role.USER, question), Message(Role.ASSISTANT, exchange.answer))
    return tuple(messages)


def _typed_carelessly(rng: Random, question: str) -> str:
    """People leave out the last mark, or never press the shift key."""
    return question.rstrip("?.= ") if rng.random() < 0.5 else question.lower()


def write(conversations: Iterable[Conversation], path: Path) -> None:
    """Write one conversation a line, as a JSON list of messages."""
    with path.open("w", encoding="utf-8", newline="\n") as lines:
        for conversation in conversations:
            messages = [{"role": message.role, "content": message.content} for message in conversation]
            lines.write(json.dumps(messages, ensure_ascii=False) + "\n")


def read(path: Path) -> list[Conversation]:
    """Read what `write` wrote. Raises ValueError, naming the line, when a line is not a list of messages."""
    with path.open(encoding="utf-8") as lines:
        conversations = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    if not conversations:
        raise ValueError(f"{path} holds no conversations: make them with python -m tools.demo_model.corpus")
    return conversations


def _parse(line: str, where: str) -> Conversation:
    try:
        messages: list[dict[str, Any]] = json.loads(line)
        return tuple(Message(Role(message["role"]), str(message["content"])) for message in messages)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where} is not a JSON list of messages with a role and a content: {error!r}") from error
