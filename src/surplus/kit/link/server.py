"""The side that listens: answers calls, hears what it is told, and pushes news to everyone who is connected."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from surplus.kit.errors import SurplusError, Unavailable
from surplus.kit.link.address import reachable
from surplus.kit.link.errors import encode_error
from surplus.kit.link.frames import Frame, Kind
from surplus.kit.link.wire import Wire

log: Final = logging.getLogger(__name__)

CALLS_MAX: Final = 4096
"""Calls of one peer that may wait for their answers; beyond them nothing more is read from it."""

Answering = Callable[["Peer", bytes], Awaitable[bytes]]
Replying = Callable[["Peer", bytes], bytes]
Hearing = Callable[["Peer", bytes], None]


def bind(path: Path) -> socket.socket:
    """A unix socket at `path` (mode 0600, in a directory of mode 0700) in place of one that a dead process left.

    The caller makes sure that there is no living one. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reachable(path) as address:
            made.bind(address)
            os.chmod(address, 0o600)  # noqa: PTH101  nobody can have connected: it does not listen yet
    except OSError:
        made.close()
        raise
    made.settimeout(0)
    return made


class Peer:
    """One process that is connected; `name` is what it calls itself."""

    def __init__(self, name: str, wire: Wire) -> None:
        self.name = name
        self._wire = wire
        self.tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<Peer {self.name}>"

    def push(self, topic: str, payload: bytes) -> None:
        """Tell this one alone."""
        self._wire.send(Frame(Kind.PUSH, 0, topic, payload))

    def cut(self) -> None:
        """End its link at once."""
        self._wire.abort()


class Hub:
    """By channel: `calls` are answered when there is an answer, `replies` at once, `hears` not at all.

    `admits(name, token)` decides who may connect; `joined` and `left` are told of peers. What a peer sends for
    `replies` and `hears` is taken in the order in which it was sent.
    """

    def __init__(
        self,
        *,
        calls: Mapping[str, Answering],
        replies: Mapping[str, Replying],
        hears: Mapping[str, Hearing],
        admits: Callable[[str, bytes], bool],
        joined: Callable[[Peer], None],
        left: Callable[[Peer], None],
    ) -> None:
        self._calls = calls
        self._replies = replies
        self._hears = hears
        self._admits = admits
        self._joined = joined
        self._left = left
        self._peers: dict[Wire, Peer] = {}
        self._wires: set[Wire] = set()
        self._server: asyncio.Server | None = None

    @property
    def peers(self) -> Iterable[Peer]:
        """Who is connected now."""
        return list(self._peers.values())

    async def listen(self, sock: socket.socket) -> None:
        """Take connections on a socket that `bind` made."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._wire, sock=sock)

    def push(self, topic: str, payload: bytes, *, but: Peer | None = None) -> None:
        """Tell everyone who is connected, or everyone but one."""
        for peer in self.peers:
            if peer is not but:
                peer.push(topic, payload)

    async def close(self) -> None:
        """Answer nothing more, and let everyone go."""
        if self._server is not None:
            self._server.close()
        tasks = [task for peer in self.peers for task in peer.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for wire in list(self._wires):
            wire.close()

    def _wire(self) -> Wire:
        return Wire(made=self._wires.add, received=self._received, lost=self._lost)

    def _received(self, wire: Wire, frames: list[Frame]) -> None:
        for frame in frames:
            peer = self._peers.get(wire)
            if peer is None:
                self._hello(wire, frame)
            elif frame.kind == Kind.CALL and frame.name in self._replies:
                wire.send(self._reply(peer, frame))
            elif frame.kind == Kind.CALL:
                self._begin(wire, peer, frame)
            elif frame.kind == Kind.TELL and frame.name in self._hears:
                self._hears[frame.name](peer, frame.payload)
            else:
                log.error("a link is cut: its peer says what nobody understands", extra={"fields": {"peer": peer.name}})
                wire.abort()
            if not wire.alive:
                return

    def _hello(self, wire: Wire, frame: Frame) -> None:
        if frame.kind != Kind.HELLO or not self._admits(frame.name, frame.payload):
            wire.abort()
            return
        peer = self._peers[wire] = Peer(frame.name, wire)
        wire.send(Frame(Kind.WELCOME, 0, "", b""))
        self._joined(peer)

    def _begin(self, wire: Wire, peer: Peer, frame: Frame) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(peer, frame))
        peer.tasks.add(task)
        task.add_done_callback(lambda ended: self._answered(wire, peer, frame.number, ended))
        if len(peer.tasks) >= CALLS_MAX:
            wire.hold_back(wanted=True)

    def _reply(self, peer: Peer, frame: Frame) -> Frame:
        try:
            return Frame(Kind.ANSWER, frame.number, "", self._replies[frame.name](peer, frame.payload))
        except SurplusError as error:
            return Frame(Kind.ERROR, frame.number, "", encode_error(error))

    async def _answer(self, peer: Peer, frame: Frame) -> Frame:
        try:
            answer = self._calls.get(frame.name)
            if answer is None:
                raise Unavailable(f"the other process does not know {frame.name!r}: it is of another version")
            payload = await answer(peer, frame.payload)
        except SurplusError as error:
            return Frame(Kind.ERROR, frame.number, "", encode_error(error))
        return Frame(Kind.ANSWER, frame.number, "", payload)

    def _answered(self, wire: Wire, peer: Peer, number: int, task: asyncio.Task[Frame]) -> None:
        peer.tasks.discard(task)
        if len(peer.tasks) < CALLS_MAX // 2:
            wire.hold_back(wanted=False)
        if task.cancelled():
            return
        fault = task.exception()
        if fault is not None:
            log.error("a call over a link failed", exc_info=fault)
            error = SurplusError("something failed that should not; the log of the control process says what")
            wire.send(Frame(Kind.ERROR, number, "", encode_error(error)))
            return
        try:
            wire.send(task.result())
        except ValueError as too_long:
            wire.send(Frame(Kind.ERROR, number, "", encode_error(SurplusError(f"the answer is no frame: {too_long}"))))

    def _lost(self, wire: Wire) -> None:
        self._wires.discard(wire)
        peer = self._peers.pop(wire, None)
        if peer is not None:  # its calls go on: what they do is asked for, whoever hears of it
            self._left(peer)
