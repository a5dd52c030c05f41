"""The books of a worker: what it wants written goes over the link to the process that writes."""

from collections.abc import Callable, Sequence

from surplus.gateway.ports import Books, FundsCommand, Load, Loaded
from surplus.gateway.worker import channels
from surplus.kit.link import Link, Peer
from surplus.ledger.model import Outcome, Recalled


class LinkBooks:
    """`Books` on the other side of a link. What is under way when the link is lost may have been done."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def apply(self, command: FundsCommand) -> Outcome:
        """Do it, durably, with those of other workers in one commit."""
        return channels.outcome(await self._link.call(channels.APPLY, channels.encode(command)))

    async def load(self, load: Load) -> Loaded:
        """Do all of it in one transaction."""
        return channels.loaded(await self._link.call(channels.LOAD, channels.encode(load)))

    async def recalled(self, holder: str) -> Sequence[str]:
        """The slices of a process that have to give back what is idle."""
        return channels.names(await self._link.call(channels.RECALLED, holder.encode()))


class BooksDesk:
    """Does what workers ask of the books; `recalling` is called when money is asked back from them."""

    def __init__(self, books: Books, recalling: Callable[[], None]) -> None:
        self._books = books
        self._recalling = recalling

    async def apply(self, _peer: Peer, payload: bytes) -> bytes:
        """Answers APPLY."""
        outcome = await self._books.apply(channels.command(payload))
        if isinstance(outcome, Recalled):
            self._recalling()
        return channels.encode(outcome)

    async def load(self, _peer: Peer, payload: bytes) -> bytes:
        """Answers LOAD."""
        return channels.encode(await self._books.load(channels.load(payload)))

    async def recalled(self, _peer: Peer, payload: bytes) -> bytes:
        """Answers RECALLED."""
        return channels.encode(list(await self._books.recalled(payload.decode())))
