"""Turns the samples of a run into tables."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.gateway.measure import Quantiles, Sample
from bench.gateway.processes import Cores
from bench.gateway.rounds import Account, Outcome
from bench.gateway.scenarios import SCENARIOS, Scenario

SUBJECT = "surplus"
_LABEL, _COLUMN = 38, 24


@dataclass(frozen=True)
class Spread:
    """The middle of several rounds, and how far apart they lie."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, minimum and maximum of at least one value."""
    return Spread(median(values), min(values), max(values))


def ratio(subject: float, other: float) -> str:
    """How the subject compares: "2.4x" where it needs more, "1/12" where it needs less, "-" where one is missing."""
    if subject <= 0 or other <= 0:
        return "-"
    if subject >= other:
        return f"{subject / other:.1f}x"
    return f"1/{other / subject:.3g}"


def machine(cpuinfo: str, cores: Cores, load: float) -> str:
    """One line on where the figures come from; `cpuinfo` is the text of /proc/cpuinfo, `load` the load average."""
    models = [line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    pins = f"server on core {cores.server}, upstream and load on core {cores.load}"
    if cores.shared:
        pins = f"ONE CORE ONLY ({cores.server}) for server, upstream and load: latencies mean little"
    return (
        f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load average before the run {load:.1f}; {pins}"
    )


def this_machine(cores: Cores) -> str:
    """The line of the machine this runs on; to be asked before the run makes load of its own."""
    return machine(Path("/proc/cpuinfo").read_text(), cores, os.getloadavg()[0])


def render(outcome: Outcome, machine_line: str, *, rounds: int) -> str:
    """The whole report as text."""
    samples, targets = outcome.samples, list(outcome.versions)
    scenarios = [scenario for scenario in SCENARIOS if any(sample.scenario == scenario.name for sample in samples)]
    blocks = [
        [machine_line, *outcome.versions.values()],
        _cpu_table(samples, scenarios, targets, rounds),
        _ratio_table(samples, scenarios, targets),
        *(_latency_table(samples, scenario, targets) for scenario in scenarios if scenario.rate),
        *(_first_byte_table(samples, scenario, targets) for scenario in scenarios if scenario.pace_ms),
        _counts(outcome, targets),
        [account_line(account) for account in outcome.accounts],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def account_line(account: Account) -> str:
    """Says whether every answer was charged, and every token of it."""
    charged, expected = account.charged, account.expected
    line = (
        f"{account.target}: accounted {charged.requests} of {expected.requests} requests, "
        f"{charged.input_tokens} of {expected.input_tokens} input tokens, "
        f"{charged.output_tokens} of {expected.output_tokens} output tokens"
    )
    return line if account.agrees else f"{line}: WRONG"


def _row(label: str, cells: Sequence[str]) -> str:
    return (f"  {label:<{_LABEL}}" + "".join(f"{cell:>{_COLUMN}}" for cell in cells)).rstrip()


def _of(samples: Sequence[Sample], scenario: Scenario, target: str) -> list[Sample]:
    return [sample for sample in samples if sample.scenario == scenario.name and sample.target == target]


def _cpu(samples: Sequence[Sample], scenario: Scenario, target: str) -> Spread:
    return spread([sample.cpu_ms_per_request for sample in _of(samples, scenario, target)])


def _cpu_table(
    samples: Sequence[Sample], scenarios: Sequence[Scenario], targets: Sequence[str], rounds: int
) -> list[str]:
    def cell(scenario: Scenario, target: str) -> str:
        found = _cpu(samples, scenario, target)
        return f"{found.median:.3f} ({found.low:.3f}-{found.high:.3f})"

    title = f"CPU milliseconds per request, user and system: median of {rounds} rounds (min-max)"
    rows = [_row(scenario.title, [cell(scenario, target) for target in targets]) for scenario in scenarios]
    return [title, _row("", targets), *rows]


def _ratio_table(samples: Sequence[Sample], scenarios: Sequence[Scenario], targets: Sequence[str]) -> list[str]:
    others = [target for target in targets if target != SUBJECT]
    if SUBJECT not in targets or not others:
        return []
    rows = [
        _row(
            scenario.title,
            [ratio(_cpu(samples, scenario, SUBJECT).median, _cpu(samples, scenario, other).median) for other in others],
        )
        for scenario in scenarios
    ]
    return [f"CPU of {SUBJECT} against", _row("", others), *rows]


def _latency_table(samples: Sequence[Sample], scenario: Scenario, targets: Sequence[str]) -> list[str]:
    def cell(target: str, quantile: Callable[[Quantiles], float]) -> str:
        added = spread(
            [
                quantile(sample.answers.latency_us) - quantile(sample.direct.latency_us)
                for sample in _of(samples, scenario, target)
                if sample.direct
            ]
        )
        return f"{added.median:.0f} ({added.low:.0f}-{added.high:.0f})"

    def direct(quantile: Callable[[Quantiles], float]) -> str:
        values = spread([quantile(sample.direct.latency_us) for sample in samples if sample.direct])
        return f"{values.median:.0f} ({values.low:.0f}-{values.high:.0f})"

    quantiles: dict[str, Callable[[Quantiles], float]] = {"p50": lambda q: q.p50, "p99": lambda q: q.p99}
    rows = [
        _row(f"{name} {scenario.title}", [*(cell(target, read) for target in targets), direct(read)])
        for name, read in quantiles.items()
    ]
    return ["Added latency in microseconds, and the latency of asking directly", _row("", [*targets, "direct"]), *rows]


def _first_byte_table(samples: Sequence[Sample], scenario: Scenario, targets: Sequence[str]) -> list[str]:
    # A gateway that holds a stream back and sends it in one piece saves processor time; this is where it shows.
    def cell(target: str) -> str:
        found = spread([sample.answers.first_byte_us.p50 / 1000 for sample in _of(samples, scenario, target)])
        return f"{found.median:.1f} ({found.low:.1f}-{found.high:.1f})"

    row = _row(f"p50 {scenario.title}", [cell(target) for target in targets])
    return ["Milliseconds to the first byte", _row("", targets), row]


def _counts(outcome: Outcome, targets: Sequence[str]) -> list[str]:
    def line(target: str) -> str:
        own = [sample for sample in outcome.samples if sample.target == target]
        answers, errors = sum(sample.answers.ok for sample in own), sum(sample.errors for sample in own)
        faults = {sample.answers.fault for sample in own if sample.answers.fault}
        return f"{target}: {answers} good answers, {errors} errors" + "".join(f"; {fault}" for fault in sorted(faults))

    lines = [line(target) for target in targets]
    if outcome.warm_up_errors:
        lines.append(f"{outcome.warm_up_errors} errors while warming up")
    return lines
