"""Command line: python -m tools.demo_model.corpus --out build/demo-model/corpus.jsonl."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tools.demo_model.corpus import conversations


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the corpus to a file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo_model.corpus",
        description="Generate the conversations that the demo model is trained on.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("build/demo-model/corpus.jsonl"), help="file to write")
    parser.add_argument("--conversations", type=int, default=60_000, help="how many to make")
    parser.add_argument("--seed", type=int, default=7, help="the same seed makes the same corpus")
    options = parser.parse_args(arguments)
    try:
        corpus = conversations.generate(options.conversations, seed=options.seed)
    except ValueError as error:
        parser.error(str(error))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    conversations.write(corpus, options.out)
    print(f"{options.out}: {options.conversations} conversations, {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
