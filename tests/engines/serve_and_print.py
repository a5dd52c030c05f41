"""A server in miniature: runs one embedded replica, prints its process id when it is ready, and goes on.

Run as a script, so that a test can kill it and see what becomes of the engine.
"""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.contract.engine_server import until
from tests.engines.pools import running
from tests.unit.serving.deployments import embedded


async def main() -> None:
    async with running() as (pool, _):
        await pool.apply([embedded()])
        await until(lambda: bool(pool.candidates("tiny-chat")), 20)
        sys.stdout.write(f"{pool.replicas()[0].pid}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


asyncio.run(main())
