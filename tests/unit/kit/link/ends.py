"""Both ends of a link in one loop, over a real socket."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surplus.kit.link import Hub, Link, Peer
from surplus.kit.link.server import bind

PATIENCE_S = 10.0
TOKEN = b"this run"


async def eventually(condition: Callable[[], Any], what: str = "the condition") -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while not condition():
        assert loop.time() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.001)


@dataclass
class Ends:
    """A hub with an `echo`, a `wait` that a gate holds up, a `fail` that raises `error`; links to it; what happened."""

    path: Path
    hub: Hub
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    error: BaseException | None = None
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    pushed: list[bytes] = field(default_factory=list)
    begun: int = 0

    async def echo(self, _peer: Peer, payload: bytes) -> bytes:
        return payload

    async def wait(self, _peer: Peer, payload: bytes) -> bytes:
        self.begun += 1
        await self.gate.wait()
        return payload

    async def fail(self, _peer: Peer, _payload: bytes) -> bytes:
        assert self.error is not None
        raise self.error

    def reply(self, peer: Peer, payload: bytes) -> bytes:
        if self.error is not None:
            raise self.error
        self.heard.append((peer.name, payload))
        return payload

    def hear(self, peer: Peer, payload: bytes) -> None:
        self.heard.append((peer.name, payload))

    @asynccontextmanager
    async def linked(self, name: str = "worker-1", token: bytes = TOKEN) -> AsyncIterator[Link]:
        link = Link(
            self.path,
            name,
            token,
            topics={"news": self.pushed.append},
            jitter=random.random,
            up=lambda: self.events.append("up"),
            down=lambda: self.events.append("down"),
        )
        running = asyncio.create_task(link.run())
        try:
            yield link
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    @asynccontextmanager
    async def up(self, name: str = "worker-1") -> AsyncIterator[Link]:
        async with self.linked(name) as link:
            async with asyncio.timeout(PATIENCE_S):
                await link.wait_up()
            yield link


def make_hub(ends: Ends) -> Hub:
    return Hub(
        calls={"echo": ends.echo, "wait": ends.wait, "fail": ends.fail},
        replies={"reply": ends.reply},
        hears={"hear": ends.hear},
        admits=lambda _name, token: token == TOKEN,
        joined=lambda peer: ends.events.append(f"{peer.name} joined"),
        left=lambda peer: ends.events.append(f"{peer.name} left"),
    )


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Ends]:
    ends = Ends(path, None)  # type: ignore[arg-type]
    ends.hub = make_hub(ends)
    with bind(path) as sock:
        await ends.hub.listen(sock)
        try:
            yield ends
        finally:
            ends.gate.set()
            await ends.hub.close()
