"""Runs `surplus serve` as its own process, as an operator would."""

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from surplus.kit.errors import Unavailable
from surplus.kit.settings import environment

READY_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers: its address, its operator's key, and how long it took to start (seconds)."""

    url: str
    operator_key: str
    started_in_s: float


@contextmanager
def server(data: Path, port: int) -> Generator[Running]:
    """A server on a loopback port; it is drained and stopped at the end. Raises Unavailable if it does not come up."""
    began = time.monotonic()
    log = data / "server.log"
    command = [sys.executable, "-m", "surplus", "serve", "--data", str(data), "--port", str(port)]
    clean = {name: value for name, value in environment().items() if not name.startswith("SURPLUS_")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=clean, start_new_session=True)  # noqa: S603
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, log)
            key = (data / "operator.key").read_text().strip()
            yield Running(url, key, time.monotonic() - began)
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            message = f"the server ended before it was ready:\n{log.read_text()[-2000:]}"
            raise Unavailable(message)
        try:
            if httpx.get(f"{url}/readyz", timeout=1.0).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(LOOK_EVERY_S)  # noqa: TID251  waits for the condition above
    message = f"the server was not ready after {READY_WITHIN_S:.0f} s; see {log}"
    raise Unavailable(message)
