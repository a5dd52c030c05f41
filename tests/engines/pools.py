"""A pool that runs, for tests that watch replicas live and die."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from surplus.kit.clock import SystemClock
from surplus.kit.ids import RandomIds
from surplus.serving.backoff import BackoffRules
from surplus.serving.engines.factory import Engines
from surplus.serving.replicas import Pool, Replica
from surplus.serving.supervisor import Patience
from surplus.serving.upstream_http import HttpUpstream

QUICK = Patience(
    start_s=20.0,
    warm_s=10.0,
    probe_every_s=0.05,
    provider_probe_every_s=0.05,
    probe_s=0.5,
    provider_probe_s=0.5,
    probe_failures=3,
    drain_s=10.0,
    kill_grace_s=5.0,
    backoff=BackoffRules(first_s=0.02, most_s=0.2),
)


@asynccontextmanager
async def running(
    *, patience: Patience = QUICK, environment: dict[str, str] | None = None
) -> AsyncIterator[tuple[Pool, HttpUpstream]]:
    """A pool whose `run` is under way (in the task "pool"), and the upstream that it uses; stopped at the end."""
    clock = SystemClock()
    upstream = HttpUpstream()
    engines = Engines(upstream=upstream, ids=RandomIds(clock), environment=environment or {})
    pool = Pool(engines, ids=RandomIds(clock), clock=clock, jitter=random.random, patience=patience)
    life = asyncio.create_task(pool.run(), name="pool")
    try:
        yield pool, upstream
    finally:
        await pool.stop(0.0)
        await asyncio.wait({life})
        await upstream.close()
    if not life.cancelled():
        life.result()


async def ask(upstream: HttpUpstream, replica: Replica, body: bytes, path: str = "/chat/completions") -> bytes:
    """The whole answer to one leased request; it must be a 200."""
    headers = {**replica.headers, "content-type": "application/json"}
    with replica.lease():
        answer = await upstream.send(
            replica.base_url,
            path,
            headers=headers,
            body=body,
            connect_timeout_s=10,
            first_byte_timeout_s=30,
            reuse=False,
        )
        data = await answer.read(10_000_000, 30)
        answer.release()
        assert answer.status == 200, data
        return data
