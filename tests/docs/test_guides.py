"""Whoever follows a guide gets to its end: every block of shell and Python in it works, in its order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks
from tests.docs.reader import ROOT, Reader
from tests.docs.shell import Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

FROM_NOTHING = ("README.md", "docs/operator/quick-start.md")
ON_A_SERVER = ("docs/developer/quick-start.md", "docs/finance/reading-a-bill.md")
SERVER = """
surplus serve --data data --port 8080 > server.log 2>&1 &
curl -s --retry 30 --retry-delay 1 --retry-connrefused http://127.0.0.1:8080/readyz
export SURPLUS_URL=http://127.0.0.1:8080 SURPLUS_KEY=$(cat data/operator.key)
surplus deployment create tiny-chat --engine llamacpp --path src/surplus/demo/tiny-chat-q8_0.gguf --context 1024 \\
  --embeddings
surplus price set tiny-chat --input 0.10 --cache-read 0.02 --output 0.40
surplus org create acme --credit 25
surplus budget set --org acme --cap 10 --period month
surplus key create --org acme --role {role} --rpm 600 --tpm 100000
unset SURPLUS_URL SURPLUS_KEY
"""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with Shell(tmp_path) as shell:
        yield Reader(tmp_path, shell)


def steps(document: str) -> list[Block]:
    """What a document tells its reader to do."""
    return [block for block in blocks(ROOT / document) if block.language in {"sh", "python"}]


@pytest.mark.parametrize("document", FROM_NOTHING)
def test_it_leads_from_nothing_to_a_sold_token(reader: Reader, document: str) -> None:
    found = steps(document)
    assert len(found) >= 5
    for step in found:
        reader.follow(step)
    records = reader.follow(Block("sh", "surplus record list --org acme --json", 0))
    assert '"outcome": "completed"' in records


@pytest.mark.parametrize("document", ON_A_SERVER)
def test_it_works_with_what_an_operator_gives(reader: Reader, document: str) -> None:
    role = "finance" if "finance" in document else "developer"
    reader.follow(Block("sh", SERVER.format(role=role), 0))
    found = steps(document)
    assert len(found) >= 5
    for step in found:
        reader.follow(step)
