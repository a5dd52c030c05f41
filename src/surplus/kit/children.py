"""Processes that work for this one: started with what they need to know, replaced when they die, ended with it.

A child gets a pipe. Its parent writes one line of instructions into it and then only keeps it open: the pipe ends when
the parent does, however it ends, and no child outlives its parent unnoticed.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

from surplus.kit.clock import Clock

log: Final = logging.getLogger(__name__)

LINE_MAX: Final = 64 * 1024
"""What a pipe takes without anybody reading."""
HEALTHY_S: Final = 10.0
"""A child that lived for so long is replaced at once."""
FIRST_S: Final = 0.1
MOST_S: Final = 10.0


class Child:
    """A process that runs: `number` is its place among its siblings, `started_at` monotonic seconds."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, pipe: int, started_at: float) -> None:
        self.number = number
        self.pid = process.pid
        self.started_at = started_at
        self._process = process
        self._pipe = pipe

    async def wait(self) -> int:
        """Its exit status when it has ended; below 0 the signal that ended it."""
        status = await self._process.wait()
        os.close(self._pipe)
        return status

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens to one that has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)


async def start(
    number: int, arguments: Sequence[str], instructions: bytes, *, inherited: Sequence[int], now: float
) -> Child:
    """Start this Python with `arguments` and the number of the pipe's descriptor; it inherits those descriptors.

    `instructions` are one line without its end, at most LINE_MAX bytes. Raises OSError.
    """
    assert b"\n" not in instructions
    assert len(instructions) < LINE_MAX
    reading, writing = os.pipe()
    with ExitStack() as undo:
        undo.callback(os.close, writing)
        try:
            os.write(writing, instructions + b"\n")
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                str(reading),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,  # whoever reads ours shall hear of our end, not of theirs
                pass_fds=(reading, *inherited),
            )
        finally:
            os.close(reading)
        undo.pop_all()
    return Child(number, process, writing, now)


@dataclass(slots=True, kw_only=True)
class Children:
    """Keeps `count` children alive, numbered from 1.

    `begin` starts one; `ended` is told of each that ended, before it is replaced. `restarts` counts replacements.
    """

    count: int
    clock: Clock
    jitter: Callable[[], float]
    begin: Callable[[int], Awaitable[Child]]
    ended: Callable[[Child], None]
    restarts: int = 0
    alive: dict[int, Child] = field(default_factory=dict[int, Child])
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _lives: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def run(self) -> None:
        """Until `stop`; then returns when the last child has ended. Cancelling it ends them by force."""
        try:
            async with asyncio.TaskGroup() as group:
                self._lives = {group.create_task(self._keep(number)) for number in range(1, self.count + 1)}
        finally:
            self.signal(signal.SIGKILL)

    async def stop(self, within_s: float) -> None:
        """Ask them to end, and end by force those that have not after `within_s` seconds."""
        self._stopping.set()
        self.signal(signal.SIGTERM)
        if self._lives:
            await asyncio.wait(self._lives, timeout=within_s)
        if self.alive:
            log.error(
                "workers did not end in time and are ended by force", extra={"fields": {"workers": [*self.alive]}}
            )
            self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal to each."""
        for child in self.alive.values():
            child.signal(number)

    async def _keep(self, number: int) -> None:
        failures = 0
        while not self._stopping.is_set():
            how, lived_s = await self._live(number)
            if self._stopping.is_set():
                return
            self.restarts += 1
            failures = 1 if lived_s >= HEALTHY_S else failures + 1
            wait_s = self._wait_s(failures)
            fields = {"worker": number, "how": how, "lived_s": round(lived_s, 3), "next_in_s": round(wait_s, 3)}
            log.error("a worker ended and is replaced", extra={"fields": fields})
            await self._pause(wait_s)

    async def _live(self, number: int) -> tuple[str, float]:
        """One life: how it ended, and how many seconds it took."""
        try:
            child = await self.begin(number)
        except OSError as error:
            return f"it could not be started: {error.strerror}", 0.0
        self.alive[number] = child
        if self._stopping.is_set():
            child.signal(signal.SIGTERM)
        status = await child.wait()
        del self.alive[number]
        self.ended(child)
        return _words(status), self.clock.monotonic() - child.started_at

    def _wait_s(self, failures: int) -> float:
        """The first failure costs no time; those that follow soon cost more and more, to keep no machine busy."""
        if failures < 2:
            return 0.0
        return min(FIRST_S * 2.0 ** min(failures - 2, 60), MOST_S) * (0.5 + self.jitter() / 2)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def _words(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


class Lifeline:
    """A child's end of the pipe: the instructions, and then a wait for the parent's end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def instructions(self) -> bytes:
        """The line that the parent wrote. Raises EOFError if the parent ended before it did."""
        line = bytearray()
        while not line.endswith(b"\n"):
            more = os.read(self._descriptor, LINE_MAX)
            if not more:
                raise EOFError
            line += more
        return bytes(line[:-1])

    def watch(self, orphaned: Callable[[], None]) -> None:
        """Have the event loop call `orphaned` once, when the parent has ended."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self._descriptor)
            orphaned()

        loop.add_reader(self._descriptor, ended)
