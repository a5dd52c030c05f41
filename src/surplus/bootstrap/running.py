"""How a process of a server runs: its HTTP, its background jobs, and what happens when one of them fails."""

import asyncio
import gc
import logging
from collections.abc import Iterable
from typing import Final, Protocol

from surplus.kit.errors import SurplusError

log: Final = logging.getLogger(__name__)


GC_AFTER: Final = 20_000
"""New containers until the collector looks for rings among them: requests leave hardly any, and a look has a price."""


class JobFailed(SurplusError):
    """Something that has to run in the background does not; a fault of ours."""

    code = "job_failed"


class Job(Protocol):
    """Something that runs in the background."""

    async def run(self) -> None:
        """Until cancelled."""
        ...


def settle_down() -> None:
    """What is alive now stays alive: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_AFTER)


def stop_with(tasks: Iterable[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """A job that ends by a fault of ours must not go unnoticed: better to stop than to go on without it."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("a background job failed; the server stops", exc_info=task.exception())
            stop.set()

    for task in tasks:
        task.add_done_callback(ended)


def raise_failed(ended: Iterable[object]) -> None:
    """Raises JobFailed if one of these outcomes of jobs is a fault."""
    if any(isinstance(outcome, Exception) for outcome in ended):
        raise JobFailed("a background job failed, so the server stopped; its log says which, and why")
