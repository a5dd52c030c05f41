"""Group commit: many small commands, one transaction, one fsync.

While one group is being committed the next one gathers; a command's answer arrives after its group is durable.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from surplus.kit.db.database import Database
from surplus.kit.db.session import WriteSession
from surplus.kit.errors import SurplusError, Unavailable

C = TypeVar("C")
R = TypeVar("R")

GROUP_MAX = 1000
WAITING_MAX = 20_000
GATHER_S = 0.001
"""How long a group gathers while more than one caller is about; one caller alone never waits."""

log = logging.getLogger(__name__)


class GroupCommit(Generic[C, R]):
    """Runs `apply(session, commands)` for whatever has gathered; it answers one result or SurplusError per command."""

    def __init__(
        self, database: Database, apply: Callable[[WriteSession, Sequence[C]], Sequence[R | SurplusError]]
    ) -> None:
        self._database = database
        self._apply = apply
        self._waiting: list[tuple[C, asyncio.Future[R]]] = []
        self._running: asyncio.Task[None] | None = None
        self._last_size = 1

    async def submit(self, command: C) -> R:
        """The command's own result, after it is durable.

        Raises the SurplusError that `apply` answered for it, or Unavailable if its group was undone. If the waiting
        caller is cancelled the command may still be applied: whoever cancels has to undo by the command's key.
        """
        if len(self._waiting) >= WAITING_MAX:
            message = "the database is slower than the requests that wait for it; try again in a moment"
            raise Unavailable(message, retry_after_s=1)
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._running is None:
            self._start()
        return await future

    def _start(self) -> None:
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running = None
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a group of commands was undone", exc_info=fault)
        self._waiting = [(command, future) for command, future in self._waiting if not future.done()]
        if self._waiting:  # they came while a group failed, or undo something while the event loop closes
            self._start()

    async def _run(self) -> None:
        busy = self._last_size > 1
        while self._waiting:
            if busy:  # others are likely to come within the time of an fsync: one commit for all of them
                await asyncio.sleep(GATHER_S)
            group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
            self._last_size = len(group)
            busy = self._last_size > 1
            await self._commit(group)

    async def _commit(self, group: list[tuple[C, asyncio.Future[R]]]) -> None:
        unconfirmed = Unavailable("the write was not confirmed; try again in a moment", retry_after_s=1)
        results: Sequence[R | SurplusError] = [unconfirmed] * len(group)
        try:
            results = await self._database.write(self._apply_all, [command for command, _ in group])
        except SurplusError as error:
            results = [error] * len(group)
        finally:  # after a fault of ours too, which ends this task: nobody is left waiting
            for (_, future), result in zip(group, results, strict=True):
                _resolve(future, result)

    def _apply_all(self, session: WriteSession, commands: Sequence[C]) -> Sequence[R | SurplusError]:
        results = self._apply(session, commands)
        assert len(results) == len(commands), "apply answers every command; its writes are undone"
        return results


def _resolve(future: asyncio.Future[R], result: R | SurplusError) -> None:
    if future.done():  # the caller went away; it undoes by key
        return
    if isinstance(result, SurplusError):
        future.set_exception(result)
    else:
        future.set_result(result)
