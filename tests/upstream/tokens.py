"""The upstream's tokenizer and chat template: small, deterministic, and the same for every count it gives."""

import json
import re
import zlib
from typing import Any

# A special token, up to six letters with the space before them, one sign with the space before it, or one space.
_PIECE = re.compile(r"<\|\w+\|>|\s?\w{1,6}|\s?[^\w\s]|\s")
_OPENING = "Hello"
# Each word is one piece wherever it stands in the answer, and some are several bytes long, so that a cut between
# bytes can fall inside a character.
_WORDS = (",", " the", " café", " is", " open", " —", " tea", " ☕", " and", " 日本", " cake", ".", " Come", " in")


def split(text: str) -> list[str]:
    """The tokens of a text; never more than it has bytes."""
    return _PIECE.findall(text)


def token_id(piece: str) -> int:
    """A stable id below 32,000."""
    return zlib.crc32(piece.encode()) % 32_000


def words(count: int) -> tuple[str, ...]:
    """An answer of exactly ``count`` tokens, as pieces; ``split`` of their concatenation gives them back."""
    pieces = (_OPENING, *(_WORDS[index % len(_WORDS)] for index in range(count - 1)))
    return pieces[:count]


def content_text(content: Any) -> str:
    """The text of a message's content: a string, null, or a list of parts (each part that is not text is one token)."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part["text"] if part.get("type") == "text" else "<|media|>" for part in content)


def apply_template(messages: list[dict[str, Any]], tools: list[Any]) -> str:
    """ChatML, with the tools as JSON in front."""
    offered = "".join(f"<|tool|>{json.dumps(tool)}" for tool in tools)
    turns = (f"<|im_start|>{turn['role']}\n{_turn_text(turn)}<|im_end|>\n" for turn in messages)
    return f"{offered}{''.join(turns)}<|im_start|>assistant\n"


def _turn_text(turn: dict[str, Any]) -> str:
    calls = turn.get("tool_calls")
    return content_text(turn.get("content")) + (json.dumps(calls) if calls else "")
