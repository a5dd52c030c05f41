"""A real `surplus serve` over the benchmark's upstream, which it sells twice: as its own engine and as a provider."""

import json
import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gateway.processes import BenchError, Cores, free_port, log_tail, running, wait_ready, wait_until
from bench.gateway.surplus import Commands
from bench.gateway.targets import START_SECONDS

MODELS = {"own": "vllm", "provider": "openai"}
"""Model and kind of its engine: our own ones are cut off when a caller leaves, providers are heard out."""
ORGANIZATION = "soak"
CREDIT = "1000000"
READY_SECONDS = 20.0
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Sold:
    """A server that is up and has a customer."""

    process: subprocess.Popen[bytes]
    port: int
    key: str
    log: Path
    _commands: Commands

    def ask(self, *arguments: str) -> Any:
        """What a command of the operator's answers. Raises BenchError if it fails."""
        return json.loads(self._commands(*arguments))

    def drain(self) -> int | None:
        """End it as an operator would; its exit status, or None if it does not end."""
        self.process.send_signal(signal.SIGTERM)
        ended = wait_until(lambda: self.process.poll() is not None, seconds=STOP_SECONDS)
        return self.process.returncode if ended else None

    @property
    def complaints(self) -> list[str]:
        """Lines of its log that are warnings or worse."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.startswith("{") and '"level": "info"' not in line]


@contextmanager
def serving(program: Path, folder: Path, upstream_port: int, cores: Cores) -> Generator[Sold]:
    """Raises BenchError if it does not come up."""
    port = free_port()
    data, log = folder / "data", folder / "surplus.log"
    env = {name: value for name, value in os.environ.items() if not name.startswith("SURPLUS_")}
    command = [str(program), "serve", "--data", str(data), "--port", str(port)]
    with running(command, core=cores.server, log=log, env=env) as process:
        url = f"http://127.0.0.1:{port}"
        wait_ready("surplus", process, f"{url}/readyz", log, seconds=START_SECONDS)
        commands = Commands(program, url, (data / "operator.key").read_text().strip(), env)
        yield Sold(process, port, _sell(commands, upstream_port, log), log, commands)


def _sell(commands: Commands, upstream_port: int, log: Path) -> str:
    """Sets up what a sale needs; returns the customer's key."""
    commands("org", "create", ORGANIZATION, "--credit", CREDIT)
    limits = ("--rpm", "1000000", "--tpm", "100000000", "--concurrency", "10000")
    key = json.loads(commands("key", "create", "--org", ORGANIZATION, "--budget", CREDIT, *limits))["key"]
    for model, engine in MODELS.items():
        place = ("--url", f"http://127.0.0.1:{upstream_port}/v1", "--upstream-model", "gpt-4o-mini")
        sizes = ("--context", "8192", "--max-output", "1024")
        commands("deployment", "create", model, "--engine", engine, *place, *sizes)
        commands("price", "set", model, "--input", "0.10", "--output", "0.40")

    def ready() -> bool:
        return all(one["state"] == "ready" for one in json.loads(commands("replica", "list")))

    if not wait_until(ready, seconds=READY_SECONDS):
        raise BenchError(f"the engines are not ready:\n{log_tail(log)}")
    return key
