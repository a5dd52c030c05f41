"""CPU time of a server and its children around a run of the load generator."""

import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.gateway.processes import BenchError
from bench.gateway.scenarios import PROMPT_TOKENS, Scenario

TICKS_PER_SECOND = 100
"""USER_HZ: the unit of the times in /proc/PID/stat, 100 on every Linux that Python runs on."""

TAIL_SECONDS = 1.0
"""CPU is read so long after the last answer, so that work put off (records written in batches) is counted."""

RUN_LIMIT_SECONDS = 300.0


class Quantiles(msgspec.Struct, frozen=True):
    """Microseconds."""

    p50: float
    p90: float
    p99: float
    max: float


class Answers(msgspec.Struct, frozen=True):
    """What the load generator saw on one port."""

    port: int
    ok: int
    bad: int
    fault: str
    latency_us: Quantiles
    first_byte_us: Quantiles


class LoadResult(msgspec.Struct, frozen=True):
    """One JSON line of the load generator; the first of `targets` is the server under test."""

    seconds: float
    reconnects: int
    unfinished: int
    targets: list[Answers]


@dataclass(frozen=True)
class ProcessTimes:
    """One line of /proc/PID/stat, as far as it is used. Times in seconds."""

    pid: int
    parent: int
    own: float
    reaped: float
    """CPU of children that ended and were waited for."""


def parse_stat(text: str) -> ProcessTimes:
    """Reads /proc/PID/stat (proc_pid_stat(5)); the name, in brackets, may itself hold blanks and brackets."""
    pid, rest = text.split(" (", 1)
    fields = rest.rsplit(") ", 1)[1].split()
    user, system, child_user, child_system = (int(field) / TICKS_PER_SECOND for field in fields[11:15])
    return ProcessTimes(pid=int(pid), parent=int(fields[1]), own=user + system, reaped=child_user + child_system)


def family(root: int, processes: Iterable[ProcessTimes]) -> list[ProcessTimes]:
    """The process `root` and all its descendants."""
    everyone = list(processes)
    found = [process for process in everyone if process.pid == root]
    for parent in found:  # grows while it is walked: children of children follow
        found.extend(process for process in everyone if process.parent == parent.pid)
    return found


def cpu_seconds(root: int) -> float:
    """User and system time so far of a process and its descendants, those that ended included."""
    return sum(_precise(process) + process.reaped for process in family(root, _all_processes()))


def _all_processes() -> Iterable[ProcessTimes]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                yield parse_stat((directory / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended between the listing and the reading


def _precise(process: ProcessTimes) -> float:
    # /proc counts in ticks of 10 ms, which is coarse for a server that needs 20 ms in a run. The process's CPU clock
    # is the same sum in nanoseconds; its id is made from the pid as clock_getcpuclockid(3) does it.
    try:
        return time.clock_gettime((~process.pid << 3) | 2)
    except OSError:
        return process.own


@dataclass(frozen=True)
class Sample:
    """One run of one scenario against one server."""

    target: str
    scenario: str
    round: int
    cpu_seconds: float
    load: LoadResult

    @property
    def answers(self) -> Answers:
        return self.load.targets[0]

    @property
    def direct(self) -> Answers | None:
        """The same requests sent straight to the upstream in the same run."""
        return self.load.targets[1] if len(self.load.targets) > 1 else None

    @property
    def errors(self) -> int:
        return self.load.unfinished + sum(answers.bad for answers in self.load.targets)

    @property
    def cpu_ms_per_request(self) -> float:
        """Zero when nothing was answered, which the count of errors tells."""
        return self.cpu_seconds * 1000 / self.answers.ok if self.answers.ok else 0.0


def run_load(
    program: Path, scenario: Scenario, *, ports: list[int], key: str, seconds: float, requests: int = 0
) -> LoadResult:
    """Runs the load generator once. `requests` bounds a closed loop; two ports are for scenarios with a rate."""
    command = [str(program), "--key", key, "--connections", str(scenario.connections), "--seconds", str(seconds)]
    command += [argument for port in ports for argument in ("--port", str(port))]
    command += ["--tokens", str(PROMPT_TOKENS + scenario.output_tokens)]
    if scenario.stream:
        command += ["--stream", "--chunks", str(scenario.chunks)]
    if requests:
        command += ["--requests", str(requests)]
    elif scenario.rate:
        command += ["--rate", str(scenario.rate)]
    with tempfile.NamedTemporaryFile(suffix=".json") as body:
        body.write(scenario.body())
        body.flush()
        command += ["--body", body.name]
        try:
            # Its standard error, where bad answers are shown, is left to the reader.
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=RUN_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError(f"the load generator did not end within {RUN_LIMIT_SECONDS:.0f} s") from None
    if done.returncode:
        raise BenchError(f"the load generator ended with status {done.returncode}; what it said stands above")
    return msgspec.json.decode(done.stdout, type=LoadResult)
