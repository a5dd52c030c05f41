"""A small engine behind a URL, which can fall ill in every way that a health check should notice."""

import asyncio
import json
from typing import Self

from tests.contract.scripted import Peer, ScriptedServer, whole


class EngineServer:
    """Answers health checks, model lists and chats; `status` is what it says to health checks, `silent` says nothing.

    With a `key` it wants that key everywhere but at `/health`, as vLLM does.
    """

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.status = "200 OK"
        self.silent = False
        self.asked: list[str] = []
        self._server = ScriptedServer(self._script)

    @property
    def url(self) -> str:
        return self._server.url

    async def _script(self, peer: Peer) -> None:
        while True:
            await peer.request()
            if self.silent:
                await peer.gone()
                return
            path = peer.head.split(b" ")[1].decode()
            self.asked.append(path)
            await peer.send(self._answer(path, peer.headers.get("authorization")))

    def _answer(self, path: str, authorization: str | None) -> bytes:
        if path != "/health" and self.key is not None and authorization != f"Bearer {self.key}":
            return whole(b'{"error":"Unauthorized"}', "401 Unauthorized")
        if path in {"/health", "/v1/models"}:
            return whole(b"", self.status)
        message = {"role": "assistant", "content": "hello"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
        return whole(json.dumps({"choices": [{"index": 0, "message": message}], "usage": usage}).encode())

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.__aexit__()

    async def restart(self) -> None:
        """Come back at the same address."""
        port = int(self._server.root.rsplit(":", 1)[1])
        self._server = ScriptedServer(self._script)
        self.silent = False
        await self._server.listen(port)


async def until(condition, within_s: float = 10.0) -> None:
    """Wait until `condition()` holds; fails after `within_s` seconds."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.01)
