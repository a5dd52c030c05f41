"""Workers and their control process come and go; no settled request is lost, and no other is charged for too much."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from surplus.metering.model import Outcome
from tests.http.fleets import Fleet, books_of, check, fleet, nothing_set_aside
from tests.http.harness import eventually
from tests.http.processes import END_S, Customer, Process, furnish
from tests.http.reading import chat, read_stream
from tests.http.test_operations_processes import TOKENS, Call
from tests.upstream import Fault, FaultyUpstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PACE_S = 0.02


class Streams:
    """One stream through each worker, in the middle of its answer."""

    def __init__(self, made: Fleet, customer: Customer) -> None:
        self.made = made
        self.customer = customer
        self.answers: dict[int, bytes] = {}
        self.requests: dict[int, str] = {}
        self.cut: set[int] = set()

    async def run(self, clients: dict[int, object], upstream: FaultyUpstream) -> asyncio.Future:
        begun = {pid: asyncio.Event() for pid in clients}
        running = asyncio.gather(*(self._one(pid, client, begun[pid]) for pid, client in clients.items()))
        for event in begun.values():
            await event.wait()
        return running

    async def _one(self, pid: int, client, begun: asyncio.Event) -> None:
        body = chat(self.customer.model, stream=True, max_tokens=TOKENS)
        self.answers[pid] = b""
        try:
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                assert answer.status_code == 200
                self.requests[pid] = answer.headers["x-request-id"]
                async for part in answer.aiter_bytes():
                    self.answers[pid] += part
                    begun.set()
        except httpx.TransportError:
            self.cut.add(pid)
        finally:
            begun.set()


async def test_a_worker_that_is_killed_is_replaced_its_requests_settled_and_the_others_left_alone(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    async with FaultyUpstream() as upstream, fleet(data) as made:
        customer = await furnish(made.process, upstream, "vllm", "tiny")
        upstream.always(Fault.Answer(TOKENS), Fault.Paced(PACE_S))
        async with made.each(customer.token) as clients:
            pids = sorted(worker["pid"] for worker in await made.workers())
            by_pid = dict(zip(pids, clients, strict=True))
            streams = Streams(made, customer)
            running = await streams.run(by_pid, upstream)
            victim, other = pids
            await made.kill(victim)
            await running
            assert streams.cut == {victim}
            assert read_stream(streams.answers[other]).tokens == TOKENS
        workers = await made.all_ready()
        assert other in {worker["pid"] for worker in workers}
        assert victim not in {worker["pid"] for worker in workers}
        upstream.heal()
        async with made.each(customer.token) as clients:
            for client in clients:
                assert (await client.post("/v1/chat/completions", json=chat(customer.model))).status_code == 200
        await made.drained()
        metrics = await _metrics(made.process)
        assert "surplus_worker_restarts_total 1.0" in metrics
        assert await made.process.end(signal.SIGTERM) == 0
    with books_of(data) as books:
        records = check(books, customer)
        nothing_set_aside(books)
    assert len(records) == 4
    cut = records[streams.requests[victim]]
    assert cut.outcome is Outcome.INTERRUPTED
    delivered = Call(stream=True, body=streams.answers[victim]).tokens
    assert delivered <= cut.usage.output <= TOKENS
    assert records[streams.requests[other]].outcome is Outcome.COMPLETED


async def _metrics(process: Process) -> list[str]:
    async with httpx.AsyncClient(base_url=process.url, timeout=END_S) as client:
        return (await client.get("/metrics")).text.splitlines()


async def test_a_lease_of_a_killed_worker_is_given_back(tmp_path: Path) -> None:
    async with FaultyUpstream() as upstream, fleet(tmp_path / "data") as made:
        customer = await furnish(made.process, upstream, "vllm", "tiny")
        key = await made.process.api("POST", f"/organizations/{customer.org}/keys", {"concurrency": 1})
        async with made.each(key["key"]) as (one, two):
            upstream.plan(Fault.HoldFirstByte())
            held = asyncio.create_task(one.post("/v1/chat/completions", json=chat(customer.model)))
            await upstream.arrived()
            assert (await two.post("/v1/chat/completions", json=chat(customer.model))).status_code == 429
            victim = min(worker["pid"] for worker in await made.workers())
            await made.kill(victim)
            await asyncio.wait({held})
            held.exception()
            async with asyncio.timeout(END_S):
                while (await two.post("/v1/chat/completions", json=chat(customer.model))).status_code != 200:
                    pass


async def test_a_drain_loses_no_stream_and_no_record(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with FaultyUpstream() as upstream, fleet(data) as made:
        customer = await furnish(made.process, upstream, "vllm", "tiny")
        upstream.always(Fault.Answer(TOKENS), Fault.Paced(PACE_S))
        calls = [Call(stream=number % 2 == 0) for number in range(16)]
        running = asyncio.gather(*(call.run(made.process.url, customer, "/chat/completions") for call in calls))
        await upstream.arrived(len(calls))
        assert await made.process.end(signal.SIGTERM) == 0
        await running
    assert [(call.cut, call.status) for call in calls] == [(False, 200)] * len(calls)
    for call in calls:
        if call.stream:
            assert read_stream(call.body).tokens == TOKENS
    with books_of(data) as books:
        records = check(books, customer)
        nothing_set_aside(books)
    assert set(records) == {call.request for call in calls}
    assert {record.outcome for record in records.values()} == {Outcome.COMPLETED}


async def test_workers_outlive_a_killed_control_process_until_their_streams_end_and_it_starts_beside_them(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    async with FaultyUpstream() as upstream:
        async with fleet(data) as made:
            customer = await furnish(made.process, upstream, "vllm", "tiny")
            upstream.always(Fault.Answer(TOKENS), Fault.HoldFirstByte())
            pids = [worker["pid"] for worker in await made.workers()]
            calls = [Call(stream=True) for _ in range(4)]
            running = asyncio.gather(*(call.run(made.process.url, customer, "/chat/completions") for call in calls))
            await upstream.arrived(len(calls))
            await made.process.end(signal.SIGKILL)
            port = made.process.url.rpartition(":")[2]
        async with fleet(data, SURPLUS_SERVER_PORT=port) as again:
            assert _alive(pids)  # still at work on their streams
            upstream.release()
            await running
            assert [(call.cut, call.status) for call in calls] == [(False, 200)] * len(calls)
            await eventually(lambda: not _alive(pids), "the end of the old workers")
            upstream.heal()
            after = Call(stream=False)
            await after.run(again.process.url, customer, "/chat/completions")
            assert after.status == 200

            async def loaded() -> bool:
                usage = await again.process.api("GET", f"/organizations/{customer.org}/usage")
                return usage["requests"] == len(calls) + 1

            async with asyncio.timeout(END_S):
                while not await loaded():
                    pass
            assert await again.process.end(signal.SIGTERM) == 0
    with books_of(data) as books:
        records = check(books, customer)
        nothing_set_aside(books)
    assert {records[call.request].outcome for call in (*calls, after)} == {Outcome.COMPLETED}


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def test_a_single_process_takes_over_what_workers_left(tmp_path: Path) -> None:
    """All of them killed at once; then one process, without workers, on the same data."""
    data = tmp_path / "data"
    async with FaultyUpstream() as upstream:
        async with fleet(data) as made:
            customer = await furnish(made.process, upstream, "vllm", "tiny")
            upstream.always(Fault.Answer(TOKENS), Fault.Paced(PACE_S))
            pids = [worker["pid"] for worker in await made.workers()]
            async with made.each(customer.token) as clients:
                streams = Streams(made, customer)
                running = await streams.run(dict(zip(sorted(pids), clients, strict=True)), upstream)
                await made.process.end(signal.SIGKILL)
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                await running
        async with fleet(data, workers=1) as again:

            async def loaded() -> bool:
                usage = await again.process.api("GET", f"/organizations/{customer.org}/usage")
                return usage["requests"] == 2

            async with asyncio.timeout(END_S):
                while not await loaded():
                    pass
            assert await again.process.end(signal.SIGTERM) == 0
    with books_of(data) as books:
        records = check(books, customer)
        nothing_set_aside(books)
    assert {record.outcome for record in records.values()} == {Outcome.INTERRUPTED}
