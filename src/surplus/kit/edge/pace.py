"""How fast a request arrives, and when that is too slow.

Whoever holds a connection costs memory and a file; this says when it is taken back. Times are monotonic seconds.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from surplus.kit.edge.limits import Limits
from surplus.kit.errors import TooSlow


class Phase(Enum):
    """What the caller has to send next."""

    NEW = "new"  # a connection on which nothing has come
    HEAD = "head"
    BODY = "body"
    NOTHING = "nothing"  # the request is whole


class Silence(Enum):
    """What is to be done about a caller who has sent nothing."""

    KEEP = "keep"
    CLOSE = "close"  # no request has begun, so there is nobody to tell


KEEP: Final = Silence.KEEP


@dataclass(slots=True)
class Pace:
    """The arrival of one connection's requests. `since` is when the phase began, `heard` when it last went on."""

    since: float
    heard: float
    phase: Phase = Phase.NEW
    received: int = 0

    def head(self, now: float) -> None:
        """The first byte of a request has come."""
        self.phase, self.since = Phase.HEAD, now

    def body(self, now: float) -> None:
        """The head is whole; what follows is the body, if there is one."""
        self.phase, self.since, self.heard, self.received = Phase.BODY, now, now, 0

    def more(self, size: int, now: float) -> None:
        """So many more bytes of the body."""
        self.received += size
        self.heard = now

    def whole(self, now: float) -> None:
        """The request has arrived, or the answer to it has gone: the caller owes nothing."""
        self.phase, self.since = Phase.NOTHING, now

    def pardon(self, now: float) -> None:
        """Until now it was we who did not read."""
        self.since, self.heard, self.received = now, now, 0

    def verdict(self, limits: Limits, now: float, *, answering: bool) -> Silence | TooSlow:
        """What is due now; `answering`: a whole request of this connection is still being worked on."""
        match self.phase:
            case Phase.HEAD if now - self.since > limits.head_s:
                return _slow(f"the head of the request was not whole within {limits.head_s:g} s")
            case Phase.BODY:
                return self._body(limits, now)
            case Phase.NEW if now - self.since > limits.head_s:
                return Silence.CLOSE
            case Phase.NOTHING if not answering and now - self.since > limits.idle_s:
                return Silence.CLOSE
            case _:
                return KEEP

    def _body(self, limits: Limits, now: float) -> Silence | TooSlow:
        if now - self.heard > limits.body_s:
            return _slow(f"nothing of the body has arrived for {limits.body_s:g} s")
        past = now - self.since - limits.body_s
        if past > 0 and self.received < past * limits.body_rate:
            return _slow(f"the body arrives more slowly than {limits.body_rate} bytes per second")
        return KEEP


def _slow(what: str) -> TooSlow:
    return TooSlow(f"{what}; send it again over a better connection")
