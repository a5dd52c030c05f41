"""A terminal that keeps its state from block to block, as a reader's does."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

BLOCK_S = 90.0
STOP_S = 60.0


class Shell:
    """One bash. A block that fails ends it; what it has started in the background ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._blocks = 0
        self._status, told = os.pipe()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SURPLUS_", "OPENAI_"))}
        clean["PATH"] = f"{Path(sys.executable).parent}:{clean['PATH']}"
        command = ["bash", "--norc", "-eu", "-o", "pipefail"]
        self._bash = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, pass_fds=[told], env=clean, text=True, start_new_session=True
        )
        os.close(told)
        self._told = told
        self._type(f"trap 'echo failed >&{told}' EXIT")

    def __enter__(self) -> Self:
        return self

    def run(self, text: str) -> str:
        """Run a block; returns what it wrote. Raises AssertionError if it fails, or takes too long."""
        self._blocks += 1
        block, out = (self._folder / f"{self._blocks}.{ending}" for ending in ("sh", "out"))
        block.write_text(text)
        out.touch()
        self._type(f"exec >{out} 2>&1; . {block} </dev/null; echo passed >&{self._told}")
        ready, _, _ = select.select([self._status], [], [], BLOCK_S)
        ended = os.read(self._status, 100).decode().strip() if ready else "late"
        assert ended == "passed", f"{ended}:\n{text}\n--- it wrote\n{out.read_text()}"
        return out.read_text()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(BrokenPipeError):
                self._type("kill $(jobs -p); wait; exit")
            self._bash.communicate(timeout=STOP_S)
        finally:
            os.close(self._status)
            with suppress(ProcessLookupError):  # of its session, which is ours alone
                os.killpg(self._bash.pid, signal.SIGTERM)

    def _type(self, line: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(line + "\n")
        self._bash.stdin.flush()
