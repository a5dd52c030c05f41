"""Every relative link of the documents leads to a file that exists, and to a heading that is in it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "src", "tests", "tools", "bench")
NOT_OURS = {"bin", "out"}
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*)$", re.MULTILINE)


def documents() -> list[Path]:
    """Every Markdown file of the repository, without what others have written."""
    within = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.md"))]
    return [*sorted(ROOT.glob("*.md")), *(file for file in within if not NOT_OURS & set(file.parts))]


def links(document: Path) -> Iterator[str]:
    """Its links to other files of the repository, and within itself."""
    text = CODE.sub("", FENCE.sub("", document.read_text()))
    for link in LINK.findall(text):
        if not re.match(r"[a-z]+:", link):
            yield link


def anchors(document: Path) -> set[str]:
    """What can be linked to in a document: its headings in GitHub's form."""
    headings = HEADING.findall(FENCE.sub("", document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_documents() -> None:
    found = documents()
    assert {ROOT / "README.md", ROOT / "docs" / "README.md", ROOT / "docs" / "architecture.md"} <= set(found)
    assert sum(len(list(links(document))) for document in found) > 50


@pytest.mark.parametrize("document", documents(), ids=lambda document: str(document.relative_to(ROOT)))
def test_its_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        if anchor:
            assert anchor in anchors(target), f"{link} names a heading that is not there"
