"""Comments on a silent stream, so that proxies and clients with idle timeouts do not give up on a slow model."""

import asyncio
from typing import Final

from surplus.gateway.client import Client

COMMENT: Final = b": keep-alive\n\n"


class KeepAlive:
    """Sends a comment whenever nothing was sent for `every_s` seconds. One timer per stream, no task."""

    def __init__(self, client: Client, every_s: float) -> None:
        self._client = client
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(every_s, self._tick)

    def _tick(self) -> None:
        silent = self._loop.time() - self._client.last_sent_at
        if silent >= self._every_s and self._client.idle:
            self._client.push(COMMENT)
            silent = 0.0
        self._timer = self._loop.call_later(max(0.05, self._every_s - silent), self._tick)

    def stop(self) -> None:
        """No more comments."""
        self._timer.cancel()
