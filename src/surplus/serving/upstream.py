"""The port to whatever answers over HTTP: an engine of ours, or another provider.

An answer is handed on as it comes, byte for byte; a clean end, a cut and a silence are three different things.
"""

from collections.abc import Callable, Mapping
from typing import Protocol


class Answer(Protocol):
    """An answer whose head has arrived. End every one with `release` or `abort`; one reader at a time."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The head's fields by lower-case name; of a repeated one, the last."""
        ...

    async def chunk(self, timeout_s: float) -> bytes:
        """All bytes that are there, as soon as there are any; b"" at a clean end.

        Bytes that came before a cut are given out before it is raised. Raises UpstreamCut on an unclean end,
        UpstreamTimedOut when nothing comes for `timeout_s` seconds; the answer is of no further use after either.
        """
        ...

    async def follow(self, take: Callable[[bytes], bool], timeout_s: float) -> bool:
        """Call `take` with all bytes that are there, as soon as there are any, again and again; no task runs between.

        Ends with True when `take` has returned False, and what comes then waits for the next call; with False at a
        clean end. Raises like `chunk`. An error that `take` raises ends the connection, and so becomes UpstreamCut.
        """
        ...

    async def read(self, limit: int, timeout_s: float) -> bytes:
        """The rest of the answer, in at most `timeout_s` seconds.

        Raises AnswerTooLarge beyond `limit` bytes, UpstreamCut and UpstreamTimedOut like `chunk`.
        """
        ...

    def abort(self) -> None:
        """Drop the connection at once, so that the engine stops working. Any number of times."""
        ...

    def release(self) -> None:
        """Give the connection back. Aborts instead if bytes are unread, or if the end does not come within a moment."""
        ...


class Upstream(Protocol):
    """Sends requests."""

    async def send(
        self,
        replica_url: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        connect_timeout_s: float,
        first_byte_timeout_s: float,
        reuse: bool,
        method: str = "POST",
    ) -> Answer:
        """Send `body` to `replica_url + path`; returns when the head of the answer has arrived.

        No redirects, no cookies, no retries; of the fields of the head only `host` and `content-length` are added to
        `headers`. `reuse=False` closes the connection after this answer. Raises UpstreamUnreachable when there is no
        connection within `connect_timeout_s` or it breaks before a head, UpstreamTimedOut when there is no head
        `connect_timeout_s + first_byte_timeout_s` after the start.
        """
        ...

    async def close(self) -> None:
        """Close every connection, also those in use."""
        ...
