"""Servers that share a database: one keeps the books, the others take the requests. Real processes."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.http.processes import END_S, furnish, serving
from tests.http.reading import chat
from tests.postgres import Cluster
from tests.upstream import FaultyUpstream

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_gateway_needs_nothing_but_the_database_in_common(
    tmp_path: Path, cluster: Cluster, workers: str
) -> None:
    url = cluster.text(cluster.create())
    common = {"SURPLUS_STORE_URL": url}
    books, taking = {**common, "SURPLUS_SERVER_ROLE": "control"}, {**common, "SURPLUS_SERVER_ROLE": "gateway"}
    async with (
        FaultyUpstream("engine") as upstream,
        serving(tmp_path / "control", **books) as control,
        serving(tmp_path / "gateway", **taking, SURPLUS_SERVER_WORKERS=workers) as gateway,
        httpx.AsyncClient(timeout=END_S) as client,
    ):
        customer = await furnish(control, upstream, "openai", "tiny")
        headers = {"authorization": f"Bearer {customer.token}"}
        question = chat("tiny", max_tokens=5)
        async with asyncio.timeout(END_S):
            while True:  # it finds the engine by itself, a moment after the others
                answer = await client.post(f"{gateway.url}/v1/chat/completions", json=question, headers=headers)
                if answer.status_code == 200:
                    break
                assert answer.status_code in {404, 503}, answer.text
                await asyncio.sleep(0.02)
        refused = await client.post(f"{control.url}/v1/chat/completions", json=question, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_a_gateway")
        assert (await client.get(f"{gateway.url}/api/status", headers=control.operator)).status_code == 404
        assert not (tmp_path / "gateway" / "operator.key").exists()
        gateways = await control.api("GET", "/gateways")
        assert {one["role"] for one in gateways} >= {"control"}
        assert len(gateways) == 1 + int(workers)
        await gateway.end(signal.SIGTERM)
        usage = await control.api("GET", f"/organizations/{customer.org}/usage")
        assert usage["requests"] == 1
