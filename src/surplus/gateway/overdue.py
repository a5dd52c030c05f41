"""How long one request may take: one timer for all of them, because hardly any ever takes that long."""

import asyncio
from types import TracebackType


class Overdue:
    """Makes limits of `patience_s` seconds each. All are equally long, so they end in the order in which they began."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._running: dict[Limit, float] = {}
        self._armed = False

    def limit(self) -> "Limit":
        """A limit for what runs in its `with`, from entering it; there it ends in TimeoutError."""
        return Limit(self)

    def begin(self, limit: "Limit") -> None:
        """For Limit."""
        loop = asyncio.get_running_loop()
        when = self._running[limit] = loop.time() + self._patience_s
        if not self._armed:
            self._armed = True
            loop.call_at(when, self._ring)

    def end(self, limit: "Limit") -> None:
        """For Limit."""
        self._running.pop(limit, None)

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for limit, when in list(self._running.items()):
            if when > now:
                loop.call_at(when, self._ring)
                return
            del self._running[limit]
            limit.ring()
        self._armed = False


class Limit:
    """One request's limit; `asyncio.timeout`, except that it has no timer of its own."""

    __slots__ = ("_cancelling", "_overdue", "_rang", "_task")

    def __init__(self, overdue: Overdue) -> None:
        self._overdue = overdue
        self._rang = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._overdue.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._overdue.end(self)
        if self._rang and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def ring(self) -> None:
        """The time is over."""
        self._rang = True
        self._task.cancel()
