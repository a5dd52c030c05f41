"""Starting, pinning, waiting for and stopping the programs of a run."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

POLL_SECONDS = 0.1
STOP_SECONDS = 10.0
LOG_TAIL = 2000


class BenchError(Exception):
    """Something that the run needs did not work; the message says what and what to do."""


@dataclass(frozen=True)
class Cores:
    """Where things run: the server under test on one core, everything that tests it on the other."""

    server: int
    load: int

    @property
    def shared(self) -> bool:
        return self.server == self.load


def pick_cores(wanted: Sequence[int]) -> Cores:
    """The two wanted cores, or the first two that this process may use (one core twice if there is but one)."""
    allowed = sorted(os.sched_getaffinity(0))
    if missing := set(wanted) - set(allowed):
        raise BenchError(f"core {min(missing)} cannot be used here; this process may run on {allowed}")
    first, *rest = wanted or allowed
    return Cores(server=first, load=rest[0] if rest else first)


@contextmanager
def pinned(core: int) -> Generator[None]:
    """What is started inside inherits the core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], *, core: int, log: Path, env: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Runs a server on a core with its output in a log file; ends it and its children on the way out."""
    with log.open("wb") as output, pinned(core):
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=env, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    # The group is ours (start_new_session): children that outlived their parent go with it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def log_tail(log: Path) -> str:
    """The end of what a server printed, for an error message."""
    return log.read_text(errors="replace")[-LOG_TAIL:].strip() or "(it printed nothing)"


def wait_until(met: Callable[[], bool], *, seconds: float) -> bool:
    """Asks until the condition is met or the time is over; says which."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def wait_ready(name: str, process: subprocess.Popen[bytes], url: str, log: Path, *, seconds: float) -> None:
    """Waits until a GET of the URL answers 200. Raises BenchError with the end of the log if it never does."""

    def ready() -> bool:
        if process.poll() is not None:
            raise BenchError(f"{name} ended with status {process.returncode} before it was ready:\n{log_tail(log)}")
        return _answers(url)

    if not wait_until(ready, seconds=seconds):
        raise BenchError(f"{name} did not answer {url} within {seconds:.0f} s:\n{log_tail(log)}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (OSError, HTTPException):
        return False
