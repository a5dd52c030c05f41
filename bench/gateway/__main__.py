"""Command line of the gateway benchmark: `python -m bench.gateway --help`."""

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import msgspec

from bench.gateway.build import BuildError
from bench.gateway.processes import BenchError, pick_cores
from bench.gateway.report import render, this_machine
from bench.gateway.rounds import Outcome, Plan, run
from bench.gateway.scenarios import SCENARIOS, Scenario
from bench.gateway.surplus import surplus
from bench.gateway.targets import Starter, litellm, nginx

TARGETS = ("surplus", "nginx", "litellm")
QUICK_ROUNDS, QUICK_SECONDS = 1, 1.0


def _names(known: Sequence[str], text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(known):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    return names


def _cores(text: str) -> list[int]:
    cores = [int(core) for core in text.split(",")]
    if len(cores) != 2:
        raise argparse.ArgumentTypeError("give two cores, as 0,1")
    return cores


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway",
        description="CPU per request and added latency of Surplus, nginx and LiteLLM in front of the same upstream.",
    )
    scenarios = [scenario.name for scenario in SCENARIOS]
    parser.add_argument(
        "--targets", type=partial(_names, TARGETS), metavar="A,B", help="default: surplus and what is on PATH"
    )
    parser.add_argument(
        "--scenarios", type=partial(_names, scenarios), default=scenarios, metavar="A,B", help=", ".join(scenarios)
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often all targets take turns (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run (default 4)")
    parser.add_argument("--quick", action="store_true", help="one round of one second: a smoke run, not a measurement")
    parser.add_argument("--cores", type=_cores, default=[], metavar="A,B", help="core of the server, core of the rest")
    parser.add_argument("--surplus", type=Path, default=Path(sys.executable).with_name("surplus"), metavar="PATH")
    parser.add_argument("--nginx", type=Path, metavar="PATH", help="default: the one on PATH")
    parser.add_argument("--litellm", type=Path, metavar="PATH", help="default: the one on PATH")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures there")
    return parser


def _starters(options: argparse.Namespace) -> dict[str, Starter]:
    """The wanted targets, or all that are found, in the order of TARGETS."""
    programs: dict[str, Path | None] = {
        "surplus": options.surplus,
        "nginx": options.nginx or _on_path("nginx"),
        "litellm": options.litellm or _on_path("litellm"),
    }
    starters = {"surplus": surplus, "nginx": nginx, "litellm": litellm}
    wanted: list[str] = options.targets or [name for name in TARGETS if programs[name]]
    chosen: dict[str, Starter] = {}
    for name in TARGETS:
        if name in wanted:
            program = programs[name]
            if program is None or not program.exists():
                raise BenchError(f"{name} is not here ({program or 'not on PATH'}); install it or give --{name} PATH")
            chosen[name] = partial(starters[name], program.absolute())
    return chosen


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _plan(options: argparse.Namespace) -> Plan:
    scenarios: list[Scenario] = [scenario for scenario in SCENARIOS if scenario.name in options.scenarios]
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if options.quick else (options.rounds, options.seconds)
    return Plan(_starters(options), scenarios, rounds, seconds, pick_cores(options.cores))


def _write_raw(file: Path, outcome: Outcome, plan: Plan, machine: str) -> None:
    raw = {"machine": machine, "rounds": plan.rounds, "seconds": plan.seconds, "outcome": outcome}
    file.write_bytes(msgspec.json.format(msgspec.json.encode(raw)))


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(128 + number)


def main() -> int:
    """Returns 0 if every answer was good and accounted for, 1 otherwise."""
    options = _parser().parse_args()
    # An ending by signal takes the same way out as any other, so that no server is left behind.
    signal.signal(signal.SIGTERM, _leave)
    try:
        plan = _plan(options)
        machine = this_machine(plan.cores)
        outcome = run(plan)
    except (BenchError, BuildError) as error:
        print(f"bench.gateway: {error}", file=sys.stderr)
        return 1
    if options.json:
        _write_raw(options.json, outcome, plan, machine)
    print(render(outcome, machine, rounds=plan.rounds))
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
