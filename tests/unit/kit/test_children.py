import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from surplus.kit import children
from surplus.kit.children import Child, Children, Lifeline
from surplus.kit.clock import SystemClock
from tests.unit.kit.link.ends import eventually

CLOCK = SystemClock()
OBEDIENT = """
import os, signal, sys
pipe = int(sys.argv[1])
print(os.read(pipe, 100).decode().strip(), os.getpid(), file=open({path!r}, "a", buffering=1))
os.read(pipe, 1)
print("orphan", os.getpid(), file=open({path!r}, "a", buffering=1))
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + OBEDIENT


@dataclass
class Family:
    """Children that write what they are told into a file, one line each."""

    path: Path
    code: str
    kept: Children = None
    ended: list[int] = field(default_factory=list)

    def said(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    async def begin(self, number: int) -> Child:
        code = self.code.format(path=str(self.path))
        return await children.start(number, ["-c", code], b"child %d" % number, inherited=(), now=CLOCK.monotonic())


@asynccontextmanager
async def family(path: Path, code: str = OBEDIENT, count: int = 2) -> AsyncIterator[Family]:
    made = Family(path, code)
    made.kept = Children(
        count=count, clock=CLOCK, jitter=lambda: 0.0, begin=made.begin, ended=lambda child: made.ended.append(child.pid)
    )
    running = asyncio.create_task(made.kept.run())
    try:
        yield made
    finally:
        await made.kept.stop(0.5)
        await running
        assert not made.kept.alive


async def test_each_child_gets_its_instructions(tmp_path: Path) -> None:
    async with family(tmp_path / "said") as made:
        await eventually(lambda: len(made.said()) == 2)
        assert {line.rsplit(" ", 1)[0] for line in made.said()} == {"child 1", "child 2"}
        assert {int(line.split()[-1]) for line in made.said()} == {child.pid for child in made.kept.alive.values()}
    assert made.kept.restarts == 0
    assert len(made.ended) == 2


async def test_a_child_that_dies_is_replaced_at_once_and_its_siblings_are_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with family(tmp_path / "said") as made:
        await eventually(lambda: len(made.said()) == 2)
        first, second = made.kept.alive[1].pid, made.kept.alive[2].pid
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: len(made.said()) == 3)
        assert made.said()[2] == f"child 1 {made.kept.alive[1].pid}"
        assert made.kept.alive[2].pid == second
        assert (made.ended, made.kept.restarts) == ([first], 1)
    (told,) = [record.fields for record in caplog.records if "is replaced" in record.message]
    assert (told["worker"], told["how"], told["next_in_s"]) == (1, "signal SIGKILL", 0.0)


async def test_one_that_dies_again_and_again_is_replaced_ever_more_slowly(tmp_path: Path) -> None:
    made = Family(tmp_path / "said", "")
    kept = Children(count=1, clock=CLOCK, jitter=lambda: 1.0, begin=made.begin, ended=lambda child: None)
    assert [kept._wait_s(failures) for failures in (1, 2, 3, 4)] == [0.0, 0.1, 0.2, 0.4]
    assert kept._wait_s(10_000) == children.MOST_S
    async with family(tmp_path / "none", "raise SystemExit(3)", count=1) as dying:
        await eventually(lambda: dying.kept.restarts >= 3)


async def test_one_that_does_not_end_is_ended_by_force(tmp_path: Path) -> None:
    async with family(tmp_path / "said", STUBBORN, count=1) as made:
        await eventually(made.said)
        pid = made.kept.alive[1].pid
    assert made.ended == [pid]


async def test_one_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children.sys, "executable", str(tmp_path / "nothing"))
    async with family(tmp_path / "said", count=1) as made:
        await eventually(lambda: made.kept.restarts >= 2)
        monkeypatch.undo()
        await eventually(made.said)


@pytest.mark.slow
def test_children_learn_of_their_parents_end_however_it_ends(tmp_path: Path) -> None:
    said = tmp_path / "said"
    parent = f"""
import asyncio, os, signal
from surplus.kit import children
async def main():
    await children.start(1, ["-c", {OBEDIENT.format(path=str(said))!r}], b"go", inherited=(), now=0.0)
    while not os.path.exists({str(said)!r}) or not open({str(said)!r}).read():
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", parent], check=False).returncode == -signal.SIGKILL

    async def orphaned() -> None:
        await eventually(lambda: "orphan" in said.read_text())

    asyncio.run(orphaned())


async def test_a_lifeline_gives_the_instructions_and_then_word_of_the_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"words\n")
    lifeline = Lifeline(reading)
    assert lifeline.instructions() == b"words"
    ends = []
    lifeline.watch(lambda: ends.append(True))
    await asyncio.sleep(0)
    assert not ends
    os.close(writing)
    await eventually(lambda: ends == [True])
    with pytest.raises(EOFError):
        lifeline.instructions()
    os.close(reading)
