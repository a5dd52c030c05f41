"""The roll of gateways for a worker: the process that writes keeps it."""

from surplus.gateway.model import Process
from surplus.gateway.processes import Roll
from surplus.gateway.worker import channels
from surplus.kit.link import Link, Peer


class LinkRoll:
    """`Roll` on the other side of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def beat(self, process: Process) -> None:
        """The gateway is there."""
        await self._link.call(channels.BEAT, channels.encode(process))

    async def leave(self, name: str) -> None:
        """The gateway has ended in good order."""
        await self._link.call(channels.LEAVE, name.encode())


class RollDesk:
    """Writes down what workers say."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll

    async def beat(self, _peer: Peer, payload: bytes) -> bytes:
        """Answers BEAT."""
        await self._roll.beat(channels.process(payload))
        return b""

    async def leave(self, _peer: Peer, payload: bytes) -> bytes:
        """Answers LEAVE."""
        await self._roll.leave(payload.decode())
        return b""
