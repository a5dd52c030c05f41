"""Limits of keys over all workers: the control process counts, and a worker asks it for keys that have limits."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from surplus.gateway.limits import Lease, Limiter, Standing
from surplus.gateway.worker import channels
from surplus.identity.model import Limits
from surplus.kit.clock import Clock
from surplus.kit.errors import SurplusError
from surplus.kit.link import Link, Peer, decode_error, encode_error

STANDINGS_MAX: Final = 10_000


class LinkLease:
    """What a request of this worker took at the control process."""

    __slots__ = ("_limits", "_number")

    def __init__(self, limits: "LinkLimits", number: int) -> None:
        self._limits = limits
        self._number = number

    def release(self, tokens: int) -> None:
        """It ended, and used so many tokens."""
        self._limits.end(self._number, tokens)

    def cancel(self) -> None:
        """It was refused after all."""
        self._limits.end(self._number, None)


class LinkLimits:
    """`Limiting` on the other side of a link. Keys without limits cost nothing here; others one call for a request."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._number = 0
        self._held: set[int] = set()
        self._standing: OrderedDict[str, list[channels.Stood]] = OrderedDict()

    async def lease(self, key: str, limits: Limits, tokens: int, now: float) -> LinkLease | None:  # noqa: ARG002  the port's
        """One lease, counted with those of all workers. Raises Limited, and Unavailable without the control process."""
        if limits.rpm is None and limits.tpm is None and limits.concurrency is None:
            return None
        self._number += 1
        number = self._number
        self._held.add(number)
        answered = False
        try:
            asked = channels.Take(number, key, limits, tokens)
            answer = channels.taken(await self._link.call(channels.TAKE, channels.encode(asked)))
            answered = not answer.refusal
        finally:
            if not answered:  # it may have been taken all the same
                self.end(number, None)
        self._remember(key, answer.standing)
        if answer.refusal:
            raise decode_error(answer.refusal)
        return LinkLease(self, number)

    def standing(self, key: str, limits: Limits, now: float) -> Iterable[tuple[str, Standing]]:  # noqa: ARG002  the port's
        """Where the key stood when it last took a lease here."""
        for stood in self._standing.get(key, ()):
            yield stood.what, Standing(stood.limit, stood.remaining, stood.reset_s)

    def end(self, number: int, tokens: int | None) -> None:
        """A lease is over; a second time nothing happens."""
        if number in self._held:
            self._held.discard(number)
            self._link.tell(channels.RELEASE, channels.encode(channels.Release(number, tokens)))

    def up(self) -> None:
        """The link is there (again): what was said in between was lost."""
        self._link.tell(channels.HELD, channels.encode(sorted(self._held)))

    def _remember(self, key: str, standing: list[channels.Stood]) -> None:
        self._standing[key] = standing
        self._standing.move_to_end(key)
        if len(self._standing) > STANDINGS_MAX:
            self._standing.popitem(last=False)


class LimitsDesk:
    """Counts for all workers. A lease is over when its worker says so, or has ended."""

    def __init__(self, limiter: Limiter, clock: Clock) -> None:
        self._limiter = limiter
        self._clock = clock
        self._leases: dict[str, dict[int, Lease]] = {}

    def take(self, peer: Peer, payload: bytes) -> bytes:
        """Replies to TAKE."""
        asked = channels.take(payload)
        now = self._clock.monotonic()
        refusal = b""
        try:
            lease = self._limiter.take(asked.key, asked.limits, asked.tokens, now)
            if lease is not None:
                self._leases.setdefault(peer.name, {})[asked.number] = lease
        except SurplusError as error:
            refusal = encode_error(error)
        standing = [
            channels.Stood(what, one.limit, one.remaining, one.reset_s)
            for what, one in self._limiter.standing(asked.key, asked.limits, now)
        ]
        return channels.encode(channels.Taken(standing, refusal))

    def release(self, peer: Peer, payload: bytes) -> None:
        """Hears RELEASE."""
        told = channels.release(payload)
        lease = self._leases.get(peer.name, {}).pop(told.number, None)
        if lease is None:
            return
        if told.tokens is None:
            lease.cancel()
        else:
            lease.release(told.tokens)

    def held(self, peer: Peer, payload: bytes) -> None:
        """Hears HELD."""
        still = set(channels.numbers(payload))
        leases = self._leases.get(peer.name, {})
        for number in leases.keys() - still:
            lease = leases.pop(number)
            lease.release(lease.tokens)  # what it used was told to nobody: its bound stays counted

    def gone(self, name: str) -> None:
        """A worker has ended, and all its requests with it."""
        for lease in self._leases.pop(name, {}).values():
            lease.release(lease.tokens)
