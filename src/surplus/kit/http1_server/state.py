"""What the connections of one server share."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from surplus.kit.edge import Edge

if TYPE_CHECKING:
    from surplus.kit.http1_server.connection import Connection
    from surplus.kit.http1_server.exchange import Exchange

Answering = Coroutine[Any, Any, None]
Handler = Callable[["Exchange"], Answering]
"""Answers a request. Called once for each, in a task of its own."""


class State:
    """`date` is the field that every answer carries; `draining` says that no connection is kept any more."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.date = b""
        self.draining = False
        self.emptied = asyncio.Event()

    def left(self) -> None:
        """Something has ended; when it was the last, whoever waits for that is told."""
        if self.draining and not self.connections and not self.tasks:
            self.emptied.set()
