"""Asks a model file questions with known answers, in the embedded engine, and counts the right replies."""

import argparse
import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tools.demo_model.corpus import arithmetic, words
from tools.demo_model.corpus.arithmetic import Operation, Sum

# The wheel ships no types.
_xllamacpp: Any = importlib.import_module("xllamacpp")

Messages = list[dict[str, str]]
Ask = Callable[[str, Messages], str]
CONTEXT = 1024
LONGEST_REPLY = 120
LATE_EXCHANGES = 12
"""Definitions before a question late in a chat: about 750 tokens."""


def start_engine(model: Path) -> Ask:
    """Load the model in this process. The function returned answers a question after a history, greedily."""
    parameters = _xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.fit_params = False
    parameters.verbosity = 0
    server = _xllamacpp.Server(parameters)

    def ask(question: str, history: Messages) -> str:
        messages = [*history, {"role": "user", "content": question}]
        request = {"messages": messages, "temperature": 0, "max_tokens": LONGEST_REPLY}
        return server.handle_chat_completions(request)["choices"][0]["message"]["content"]

    return ask


def is_right(total: Sum, reply: str) -> bool:
    """Whether the last number of the reply is the result: every form of answer ends with it."""
    numbers = re.findall(r"\d+", reply)
    return bool(numbers) and int(numbers[-1]) == total.result


def right_sums(ask: Ask, operation: Operation, rng: Random, *, count: int, exchanges_before: int = 0) -> int:
    """Ask `count` sums of one kind, drawn as the corpus draws them, and count the right replies."""
    right = 0
    for _ in range(count):
        total = arithmetic.draw_sum(rng, operation)
        right += is_right(total, ask(arithmetic.ask(rng, total), _history(rng, exchanges_before)))
    return right


def _history(rng: Random, exchanges: int) -> Messages:
    messages: Messages = []
    for exchange in (words.draw(rng) for _ in range(exchanges)):
        messages.append({"role": "user", "content": exchange.question})
        messages.append({"role": "assistant", "content": exchange.answer})
    return messages


def recited_definitions(ask: Ask) -> int:
    """Count the words whose definition comes back letter for letter."""
    return sum(ask(f"What is {word}?", []) == definition for word, definition in words.DEFINITIONS.items())


def report(ask: Ask, *, sums: int, seed: int) -> None:
    """Print every measure."""
    rng = Random(seed)
    for operation in Operation:
        right = right_sums(ask, operation, rng, count=sums)
        print(f"{operation.name.lower()}: {right} of {sums} right ({right / sums:.1%})")
    right = right_sums(ask, Operation.ADD, rng, count=sums, exchanges_before=LATE_EXCHANGES)
    print(f"add, after {LATE_EXCHANGES} exchanges: {right} of {sums} right ({right / sums:.1%})")
    print(f"definitions: {recited_definitions(ask)} of {len(words.DEFINITIONS)} recited exactly")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: python -m tools.demo_model.evaluate FILE."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo_model.evaluate",
        description="Measure the demo model: sums, definitions, and any questions of your own.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="GGUF file")
    parser.add_argument("--sums", type=int, default=200, help="sums of each kind to ask")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sums")
    parser.add_argument("--ask", action="append", default=[], metavar="QUESTION", help="print the reply to a question")
    options = parser.parse_args(arguments)
    if not options.model.is_file():
        parser.error(f"there is no file {options.model}: make it with python -m tools.demo_model.export")
    if options.sums < 1:
        parser.error(f"--sums must be at least 1, not {options.sums}")
    ask = start_engine(options.model)
    report(ask, sums=options.sums, seed=options.seed)
    for question in options.ask:
        print(f"{question} -> {ask(question, [])}")


if __name__ == "__main__":
    main()
