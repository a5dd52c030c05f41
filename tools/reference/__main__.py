"""Writes every page of the reference."""

from pathlib import Path

from tools.reference.pages import pages

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def main() -> None:
    """Write the pages, and say which ones have changed."""
    for name, text in pages().items():
        file = FOLDER / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            print(f"docs/reference/{name} is new")


main()
