"""CPU per request of the upstream client alone: `.venv/bin/python -m bench.upstream --help`.

It asks the benchmark's model server, which runs on another core, and does nothing with the answers. The loop is uvloop,
as in the server. With several adapters, all take turns in each round; compare within one run.
"""

import argparse
import asyncio
import importlib
import os
import statistics
import time
from collections.abc import Callable, Sequence

import uvloop

from bench.gateway.build import build
from bench.gateway.processes import BenchError, pick_cores, pinned
from bench.gateway.report import this_machine
from bench.gateway.rounds import upstream
from bench.gateway.scenarios import SCENARIOS, Scenario
from surplus.serving.upstream import Upstream

PRESENT = "surplus.serving.upstream_http:HttpUpstream"
PATIENCE_S = 30.0
ANSWER_MAX = 1024 * 1024
Make = Callable[[], Upstream]


async def measure(make: Make, scenario: Scenario, url: str, seconds: float) -> float:
    """Milliseconds of CPU for each answer; the first answers, which open the connections, are not counted."""
    adapter, body = make(), scenario.body()
    await asyncio.gather(*(ask(adapter, scenario, url, body) for _ in range(scenario.connections)))
    before, until, answers = time.process_time(), time.monotonic() + seconds, 0

    async def keep_asking() -> None:
        nonlocal answers
        while time.monotonic() < until:
            await ask(adapter, scenario, url, body)
            answers += 1

    await asyncio.gather(*(keep_asking() for _ in range(scenario.connections)))
    spent = time.process_time() - before
    await adapter.close()
    return spent * 1000 / answers


async def ask(adapter: Upstream, scenario: Scenario, url: str, body: bytes) -> None:
    """One request, its answer read to the end. Raises what the adapter raises, BenchError for another status."""
    answer = await adapter.send(
        url,
        "/chat/completions",
        headers={"authorization": "Bearer key", "content-type": "application/json"},
        body=body,
        connect_timeout_s=PATIENCE_S,
        first_byte_timeout_s=PATIENCE_S,
        reuse=True,
    )
    if answer.status != 200:
        raise BenchError(f"the upstream answered {answer.status}")
    if scenario.stream:
        while await answer.chunk(PATIENCE_S):
            pass
    else:
        await answer.read(ANSWER_MAX, PATIENCE_S)
    answer.release()


def found(name: str) -> Make:
    """The adapter that `module:Class` names."""
    module, _, adapter = name.partition(":")
    return getattr(importlib.import_module(module), adapter)


def run(adapters: Sequence[str], *, rounds: int, seconds: float) -> dict[tuple[str, str], list[float]]:
    """Milliseconds by adapter and scenario, one for each round."""
    cores = pick_cores([])
    figures: dict[tuple[str, str], list[float]] = {}
    with pinned(cores.load), upstream(build("upstream")) as port:
        os.sched_setaffinity(0, {cores.server})
        for _ in range(rounds):
            for scenario in SCENARIOS:
                for name in adapters if scenario.rate is None else ():
                    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                        spent = runner.run(measure(found(name), scenario, f"http://127.0.0.1:{port}/v1", seconds))
                    figures.setdefault((name, scenario.name), []).append(spent)
    return figures


def main() -> None:
    """Print the median of the rounds, with the lowest and the highest."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.upstream", description="CPU per request of the client alone."
    )
    parser.add_argument("--adapter", action="append", metavar="MODULE:CLASS", help=f"repeatable; default {PRESENT}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run")
    options = parser.parse_args()
    print(this_machine(pick_cores([])))
    figures = run(options.adapter or [PRESENT], rounds=options.rounds, seconds=options.seconds)
    for (name, scenario), spent in sorted(figures.items(), key=lambda item: item[0][1]):
        median = statistics.median(spent)
        print(f"{scenario:10} {median:7.4f} ms ({min(spent):.4f}-{max(spent):.4f})  {name}")


if __name__ == "__main__":
    main()
