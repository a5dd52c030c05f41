"""Command line of the soak: `python -m bench.soak --help`."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from bench.gateway.build import BuildError
from bench.gateway.processes import BenchError, pick_cores
from bench.soak.report import failures, growth, render
from bench.soak.run import Plan, run

READINGS = 400


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description="A real server under a steady load: memory, leaks, and whether every request is accounted for.",
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the load (default 30)")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second (default 50)")
    parser.add_argument("--seed", type=int, default=1, help="of the callers' choices (default 1)")
    parser.add_argument("--surplus", type=Path, default=Path(sys.executable).with_name("surplus"), metavar="PATH")
    return parser


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> int:
    """Returns 0 if nothing leaked and all is accounted for, 1 otherwise."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, _leave)  # the same way out as any other: no server is left behind
    seconds = options.minutes * 60
    every = max(0.5, seconds / READINGS)
    plan = Plan(options.surplus.absolute(), pick_cores([]), seconds, options.rate, every, options.seed)
    try:
        soaked = run(plan)
    except (BenchError, BuildError) as error:
        print(f"bench.soak: {error}", file=sys.stderr)
        return 1
    memory = growth(soaked.during, plan.rate)
    failed = failures(soaked, memory)
    print(render(plan, soaked, memory, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
