"""A run: servers up, rounds in which all of them take turns, and the check of the accounts at the end."""

import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

from bench.gateway.build import build
from bench.gateway.measure import TAIL_SECONDS, LoadResult, Sample, cpu_seconds, run_load
from bench.gateway.processes import BenchError, Cores, pinned, wait_until
from bench.gateway.scenarios import PROMPT_TOKENS, SCENARIOS, Scenario
from bench.gateway.targets import Server, Starter, Usage, Workplace

FIRST_ANSWER_SECONDS = 30.0
ACCOUNTING_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """What to run: starters by name, and how often and how long."""

    starters: Mapping[str, Starter]
    scenarios: Sequence[Scenario]
    rounds: int
    seconds: float
    cores: Cores


@dataclass(frozen=True)
class Account:
    """What a server charged for against what it was seen to answer."""

    target: str
    expected: Usage
    charged: Usage

    @property
    def agrees(self) -> bool:
        return self.expected == self.charged


@dataclass
class Outcome:
    """All that a run found."""

    samples: list[Sample] = field(default_factory=list[Sample])
    versions: dict[str, str] = field(default_factory=dict[str, str])
    accounts: list[Account] = field(default_factory=list[Account])
    warm_up_errors: int = 0

    @property
    def good(self) -> bool:
        """No bad answer anywhere, and every answer charged exactly once."""
        errors = self.warm_up_errors + sum(sample.errors for sample in self.samples)
        return errors == 0 and all(account.agrees for account in self.accounts)


class _Tally:
    """Counts the good answers of each server, whatever they were asked for."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._output_tokens: Counter[str] = Counter()

    def add(self, server: Server, scenario: Scenario, answers: int) -> None:
        self._requests[server.name] += answers
        self._output_tokens[server.name] += answers * scenario.output_tokens

    def usage(self, server: Server) -> Usage:
        requests = self._requests[server.name]
        return Usage(requests, requests * PROMPT_TOKENS, self._output_tokens[server.name])


def run(plan: Plan) -> Outcome:
    """Runs the plan. Raises BenchError if something cannot be started; bad answers are in the outcome."""
    outcome, tally = Outcome(), _Tally()
    load = build("load")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gateway-")))
        stack.enter_context(pinned(plan.cores.load))
        upstream_port = stack.enter_context(upstream(build("upstream")))
        servers = [_start(stack, folder, name, starter, upstream_port, plan) for name, starter in plan.starters.items()]
        outcome.versions = {server.name: server.version for server in servers}
        for server in servers:
            _first_answer(server, tally)
            outcome.warm_up_errors += _warm_up(load, server, plan.scenarios, tally)
        for number in range(plan.rounds):
            _say(f"round {number + 1} of {plan.rounds}")
            for scenario in plan.scenarios:
                for server in _rotated(servers, number):
                    sample = _measure(load, server, scenario, upstream_port, number, plan.seconds)
                    tally.add(server, scenario, sample.answers.ok)
                    outcome.samples.append(sample)
        outcome.accounts = [account for server in servers if (account := _account(server, tally))]
    return outcome


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _rotated(servers: Sequence[Server], number: int) -> list[Server]:
    """Another server goes first in each round, so that no place in the row favours one."""
    first = number % len(servers)
    return [*servers[first:], *servers[:first]]


@contextmanager
def upstream(program: Path) -> Generator[int]:
    """Runs the upstream and yields its port."""
    with subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("port "):
                raise BenchError(f"the upstream did not start: {line!r}")
            yield int(line.removeprefix("port "))
        finally:
            process.terminate()


def _start(stack: ExitStack, folder: Path, name: str, starter: Starter, upstream_port: int, plan: Plan) -> Server:
    _say(f"starting {name}")
    own = folder / name
    own.mkdir()
    return stack.enter_context(starter(Workplace(own, upstream_port, plan.cores.server)))


def _first_answer(server: Server, tally: _Tally) -> None:
    """Asks until the server answers: a deployment may need a moment after it was made known."""
    scenario = SCENARIOS[0]
    last = "no answer"

    def answered() -> bool:
        nonlocal last
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/v1/chat/completions",
            data=scenario.body(),
            headers={"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=FIRST_ANSWER_SECONDS) as answer:
                answer.read()
                return True
        except HTTPError as refusal:
            last = f"status {refusal.code}: {refusal.read()[:500].decode(errors='replace')}"
        except OSError as error:
            last = str(error)
        return False

    if not wait_until(answered, seconds=FIRST_ANSWER_SECONDS):
        raise BenchError(f"{server.name} did not answer a first request: {last}")
    tally.add(server, scenario, 1)


def _warm_up(load: Path, server: Server, scenarios: Sequence[Scenario], tally: _Tally) -> int:
    """Sends a few requests of each kind and returns how many went wrong."""
    errors = 0
    for scenario in scenarios:
        result = run_load(
            load, scenario, ports=[server.port], key=server.key, seconds=60, requests=scenario.connections
        )
        tally.add(server, scenario, result.targets[0].ok)
        errors += result.targets[0].bad + result.unfinished
    return errors


def _measure(load: Path, server: Server, scenario: Scenario, upstream_port: int, number: int, seconds: float) -> Sample:
    ports = [server.port, upstream_port] if scenario.rate else [server.port]
    before = cpu_seconds(server.pid)
    result: LoadResult = run_load(load, scenario, ports=ports, key=server.key, seconds=seconds)
    time.sleep(TAIL_SECONDS)
    spent = cpu_seconds(server.pid) - before
    return Sample(server.name, scenario.name, number, spent, result)


def _account(server: Server, tally: _Tally) -> Account | None:
    """Waits until the server has charged for every answer, or for too long; None if it keeps no account."""
    read = server.usage
    if read is None:
        return None
    expected = tally.usage(server)
    charged = Usage(0, 0, 0)

    def complete() -> bool:
        nonlocal charged
        charged = read()
        return charged.requests >= expected.requests

    wait_until(complete, seconds=ACCOUNTING_SECONDS)
    return Account(server.name, expected, charged)
