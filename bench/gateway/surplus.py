"""Starts Surplus with accounting on: an organization with money, a key, a price and a deployment of the upstream."""

import os
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

from bench.gateway.processes import BenchError, free_port, running, wait_ready
from bench.gateway.scenarios import MODEL
from bench.gateway.targets import START_SECONDS, Server, Usage, Workplace

ORGANIZATION = "bench"
COMMAND_SECONDS = 60.0


class _Key(msgspec.Struct, frozen=True):
    key: str


class Commands:
    """The `surplus` command, talking to one server as its operator."""

    def __init__(self, program: Path, url: str, key: str, env: Mapping[str, str]) -> None:
        self._program = program
        self._env = {**env, "SURPLUS_URL": url, "SURPLUS_KEY": key}

    def __call__(self, *arguments: str) -> bytes:
        """Runs one command and returns its JSON. Raises BenchError with what it printed if it fails."""
        command = [str(self._program), *arguments, "--json"]
        try:
            done = subprocess.run(
                command, env=self._env, capture_output=True, check=False, timeout=COMMAND_SECONDS, text=False
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"`{' '.join(command)}` did not end within {COMMAND_SECONDS:.0f} s") from None
        if done.returncode:
            said = (done.stderr + done.stdout).decode(errors="replace").strip()
            raise BenchError(f"`{' '.join(command)}` ended with status {done.returncode}: {said}")
        return done.stdout


@contextmanager
def surplus(program: Path, place: Workplace) -> Generator[Server]:
    """`surplus serve` as it comes, in an empty folder, selling the upstream under the name of the benchmark's model."""
    port = free_port()
    data, log = place.folder / "data", place.folder / "surplus.log"
    # Settings of the person who runs this must not reach the server that is measured.
    env = {name: value for name, value in os.environ.items() if not name.startswith("SURPLUS_")}
    command = [str(program), "serve", "--data", str(data), "--port", str(port)]
    with running(command, core=place.core, log=log, env=env) as process:
        url = f"http://127.0.0.1:{port}"
        wait_ready("surplus", process, f"{url}/readyz", log, seconds=START_SECONDS)
        commands = Commands(program, url, (data / "operator.key").read_text().strip(), env)
        key = _sell(commands, place.upstream_port)

        def usage() -> Usage:
            return msgspec.json.decode(commands("usage", "--org", ORGANIZATION), type=Usage)

        yield Server("surplus", f"surplus {version('surplus')}", port, key, process.pid, usage)


def _sell(commands: Commands, upstream_port: int) -> str:
    """Sets up what a sale needs and returns the customer's key."""
    commands("org", "create", ORGANIZATION, "--credit", "1000000")
    created = msgspec.json.decode(commands("key", "create", "--org", ORGANIZATION), type=_Key)
    deployment = ["deployment", "create", MODEL, "--engine", "openai", "--url", f"http://127.0.0.1:{upstream_port}/v1"]
    commands(*deployment, "--upstream-model", "gpt-4o-mini", "--context", "8192", "--max-output", "1024")
    commands("price", "set", MODEL, "--input", "0.10", "--output", "0.40")
    return created.key
