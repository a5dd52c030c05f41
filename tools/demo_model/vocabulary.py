"""The tokens of a model, and how a conversation is laid out in them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

END_OF_TEXT, MESSAGE_START, MESSAGE_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, MESSAGE_START, MESSAGE_END)
"""The first tokens of every vocabulary, in this order."""

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A byte-level BPE vocabulary: tokens by id, and the merges ("left right") in the order they apply."""

    tokens: tuple[str, ...]
    merges: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError when an engine could not use it."""
        if self.tokens[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
            raise ValueError(f"a vocabulary must begin with {', '.join(SPECIAL_TOKENS)}")
        if not self.merges:
            raise ValueError("a vocabulary needs at least one merge: llama.cpp refuses to load one without")

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read a tokenizer.json of the `tokenizers` library. Raises ValueError when it is not one of ours."""
        try:
            model: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model"]
            ids: dict[str, int] = model["vocab"]
            merges: list[list[str]] = model["merges"]
            tokens = tuple(sorted(ids, key=ids.__getitem__))
            return cls(tokens, tuple(" ".join(pair) for pair in merges))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a byte-level BPE tokenizer: {error!r}") from error


def byte_characters() -> tuple[str, ...]:
    """The printable character that stands for each of the 256 bytes in a GPT-2 vocabulary.

    A printable byte stands for itself, the others follow from U+0100 on (encoder.py of openai/gpt-2).
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    spare = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(spare)) for byte in range(256))
