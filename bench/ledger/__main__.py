"""How many transfers and holds a second the ledger takes, with the disk's fsync latency beside it.

Medians of batches; "per second" counts commands over the whole run.

`python -m bench.ledger [--seconds S] [--dir DIR]`: every scenario runs S seconds on a fresh SQLite file in DIR. A batch
of one waits for the disk after every command, as a lone caller does; larger ones share a commit, as many callers do.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from surplus.kit.db import Database, WriteSession, metadata
from surplus.kit.errors import SurplusError
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger import service
from surplus.ledger.commands import Command, OpenAccount, PlaceHold, PostHold, Transfer
from surplus.ledger.model import AccountKind, Outcome, Scope

NOW = 1_800_000_000.0
FUNDS = 10**15
WALLET = Scope("wallet:org_1", AccountKind.WALLET, 0)
BUDGETS = tuple(Scope(f"budget:{name}:2027-01", AccountKind.BUDGET, FUNDS) for name in ("key", "organization"))

Batches = Iterator[Sequence[Command]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One scenario: commands answered and wall seconds in all, and of each batch the seconds of CPU and the wall."""

    commands: int
    seconds: float
    cpu: list[float]
    wall: list[float]


def transfers(size: int) -> Batches:
    """Top-ups of one wallet."""
    for start in count(0, size):
        yield [
            Transfer(f"top-up {n}", "payments", WALLET.account, 1, "bench", "", NOW) for n in range(start, start + size)
        ]


def holds(size: int) -> Batches:
    """A batch that places holds over the wallet and two budgets, then a batch that posts them, and so on."""
    for start in count(0, size):
        names = [f"request {n}" for n in range(start, start + size)]
        yield [PlaceHold(name, WALLET, BUDGETS, 5000, NOW + 600, name) for name in names]
        yield [PostHold(name, 1234 * GRAINS_PER_MICRO + 7, "revenue:tokens", name, NOW) for name in names]


def apply(session: WriteSession, commands: Sequence[Command]) -> tuple[float, list[Outcome | SurplusError]]:
    """One batch, and the seconds of CPU that it took on the database thread, without the commit."""
    started = time.thread_time()
    answers = service.apply(session, commands, now=NOW)
    return time.thread_time() - started, answers


def measure(directory: Path, batches: Batches, seconds: float) -> Measured:
    """Apply batches to a fresh ledger for so many seconds."""
    database = Database(directory / "ledger.db")
    database.migrate(metadata.create_all)
    opening = [
        OpenAccount("open", WALLET.account, AccountKind.WALLET, 0),
        Transfer("fund", "payments", WALLET.account, FUNDS, "bench", "", NOW),
    ]
    database.write_now(service.apply, opening, now=NOW)
    commands = 0
    cpu: list[float] = []
    wall: list[float] = []
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        batch = next(batches)
        before = time.perf_counter()
        used, answers = database.write_now(apply, batch)
        wall.append(time.perf_counter() - before)
        cpu.append(used)
        commands += len(batch)
        refused = [answer for answer in answers if isinstance(answer, SurplusError)]
        if refused:
            raise refused[0]
    database.close()
    return Measured(commands, elapsed, cpu, wall)


def fsync_ms(directory: Path, times: int = 100) -> float:
    """The median milliseconds of an fsync after a write of 4 KiB."""
    found: list[float] = []
    with (directory / "fsync").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(os.urandom(4096))
            started = time.perf_counter()
            os.fsync(file.fileno())
            found.append(1000 * (time.perf_counter() - started))
    return statistics.median(found)


def main() -> None:
    """Print one line per scenario."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each scenario")
    parser.add_argument("--dir", type=Path, default=None, help="a directory on the disk to measure")
    arguments = parser.parse_args()
    scenarios: list[tuple[str, Callable[[int], Batches]]] = [
        ("transfers", transfers),
        ("holds placed and posted", holds),
    ]
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        print(f"{'':26}{'per batch':>10}{'fsync ms':>10}{'per second':>12}{'CPU ms/batch':>14}{'wall ms/batch':>15}")
        for title, make in scenarios:
            for size in (1, 16, 1000):
                with tempfile.TemporaryDirectory(dir=name) as directory:
                    fsync = fsync_ms(Path(directory))
                    found = measure(Path(directory), make(size), arguments.seconds)
                rate = found.commands / found.seconds
                cpu, wall = (1000 * statistics.median(times) for times in (found.cpu, found.wall))
                print(f"{title:26}{size:>10}{fsync:>10.2f}{rate:>12,.0f}{cpu:>14.2f}{wall:>15.2f}")


if __name__ == "__main__":
    main()
