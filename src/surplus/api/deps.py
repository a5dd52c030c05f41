"""What the control plane is given, and the one way in which its routes change anything."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Concatenate, Final, ParamSpec, TypeVar

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from surplus.gateway.standing import Standing
from surplus.gateway.worker.standing import WorkerStanding
from surplus.kit.clock import Clock
from surplus.kit.db import Database, ReadSession, WriteSession
from surplus.kit.errors import SurplusError
from surplus.kit.ids import Ids
from surplus.ledger.model import Verification
from surplus.serving.replicas import Pool

P = ParamSpec("P")
T = TypeVar("T")

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDeps:
    """The parts of a server that the control plane works on.

    `refresh` brings the caches of the data plane up to date. `not_ready` says why the server should get no requests
    now, with nothing if it should. `standing` is what is known of the books; `verify` checks them all. Without a
    `registry` there is no `/metrics`. A `role` of "gateway" answers for its health alone. `workers` are the processes
    that take requests, where there are others than this.
    """

    database: Database
    clock: Clock
    ids: Ids
    refresh: Callable[[], Awaitable[None]]
    pool: Pool
    not_ready: Callable[[], Sequence[str]]
    standing: Callable[[], Standing]
    verify: Callable[[], Awaitable[Verification]]
    in_flight: Callable[[], int]
    journal_lag_bytes: Callable[[], int]
    registry: CollectorRegistry | None
    version: str
    role: str = "all"
    workers: Callable[[], Sequence[WorkerStanding]] = tuple

    async def read(self, function: Callable[Concatenate[ReadSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a use-case that only reads."""
        return await self.database.read(function, *args, **kwargs)

    async def change(self, function: Callable[Concatenate[WriteSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a use-case in one transaction, and have the data plane follow before the caller is answered."""
        result = await self.database.write(function, *args, **kwargs)
        try:
            await self.refresh()
        except SurplusError as error:  # what was asked is done, and must not look as if it were not
            log.warning("the data plane follows a change later", extra={"fields": {"why": error.message}})
        return result


def _deps(request: Request) -> ApiDeps:
    return request.app.state.deps


Deps = Annotated[ApiDeps, Depends(_deps)]
