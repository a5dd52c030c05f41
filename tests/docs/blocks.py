"""The code of a document, block by block."""

import re
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the document that it begins on."""

    language: str
    text: str
    line: int


def blocks(document: Path) -> list[Block]:
    """Every fenced block that names a language, from the first to the last."""
    text = document.read_text()
    return [Block(match[1], match[2], text.count("\n", 0, match.start()) + 2) for match in _BLOCK.finditer(text)]
