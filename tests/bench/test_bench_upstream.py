"""The benchmark of the upstream client runs, and does not take a broken answer for a fast one."""

import shutil
import subprocess
import sys

import pytest

from bench.gateway.processes import BenchError
from bench.gateway.scenarios import SCENARIOS
from bench.upstream.__main__ import PRESENT, ask, found
from tests.contract.scripted import Peer, ScriptedServer, whole


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_every_scenario_has_a_figure():
    command = [sys.executable, "-m", "bench.upstream", "--rounds", "1", "--seconds", "0.05"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    named = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(PRESENT)}
    assert named == {scenario.name for scenario in SCENARIOS if scenario.rate is None}


async def test_another_status_than_200_ends_the_run():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"", "503 Service Unavailable"))

    adapter = found(PRESENT)()
    async with ScriptedServer(script) as server:
        with pytest.raises(BenchError, match="503"):
            await ask(adapter, SCENARIOS[0], server.url, b"{}")
    await adapter.close()
