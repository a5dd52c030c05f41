"""Markdown, as far as a reference needs it."""

from collections.abc import Iterable, Sequence
from typing import Final

MADE: Final = "<!-- Made by `make docs` from the code. A change here is lost at the next one. -->"


def document(title: str, *parts: str) -> str:
    """A page: its title and its parts, a blank line between them."""
    return "\n\n".join((MADE, f"# {title}", *(part.strip("\n") for part in parts))) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; line breaks and bars in cells are made harmless."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row([cell_text(cell) for cell in row]) for row in rows)]
    return "\n".join(lines)


def code(text: str) -> str:
    """The text as code, or nothing of nothing."""
    return f"`{text}`" if text else ""


def cell_text(text: str) -> str:
    """The text on one line, in a form that cannot end its cell."""
    return " ".join(text.split()).replace("|", "\\|")


def first_paragraph(text: str) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(text.strip().split("\n\n")[0].split())


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
