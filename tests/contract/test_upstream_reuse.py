"""Which connections every adapter of the upstream port uses again, and which it must not."""

import asyncio
import gc
import random

import pytest

from surplus.serving.errors import UpstreamCut, UpstreamUnreachable
from surplus.serving.upstream import Answer, Upstream
from tests.contract.scripted import CHUNKED_HEAD, LAST_CHUNK, Peer, ScriptedServer, chunk, whole
from tests.contract.test_upstream_contract import SOON_S, post, rest, settle, upstream

__all__ = ["upstream"]


async def ask(upstream: Upstream, server: ScriptedServer, body: bytes = b"{}") -> bytes:
    """One request whose whole answer is read and given back."""
    answer = await post(upstream, server.url, body=body)
    data = await answer.read(100_000, SOON_S)
    answer.release()
    return data


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndata",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\ndata",
        b"HTTP/1.1 200 OK\r\n\r\ndata",
    ],
)
async def test_a_server_that_does_not_keep_its_connection_is_not_asked_on_it_again(
    upstream: Upstream, sent: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        if b"Length" in sent:
            await peer.gone()

    async with ScriptedServer(script) as server:
        for count in range(1, 4):
            assert await ask(upstream, server) == b"data"
            assert server.connections == count


async def test_a_request_that_keeps_nothing_takes_nothing_that_is_kept(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(whole(b"data"))

    async with ScriptedServer(script) as server:
        assert await ask(upstream, server) == b"data"
        (await post(upstream, server.url, reuse=False)).release()
        assert server.connections == 2
        assert await ask(upstream, server) == b"data"
        assert server.connections == 2


async def test_a_connection_that_was_refused_a_part_of_a_request_is_not_used_again(upstream: Upstream) -> None:
    answered = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head_only()
        await peer.send(whole(b"no", "400 Bad Request"))
        await answered.wait()
        await peer.gone()

    async with ScriptedServer(script) as server:
        for count in range(1, 3):
            answered.clear()
            answer = await post(upstream, server.url, body=bytes(64 * 1024 * 1024))
            assert await answer.read(10, SOON_S) == b"no"
            answered.set()
            for _ in range(20):
                await settle()
            answer.release()
            assert server.connections == count


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_connection_that_ended_while_it_was_idle_is_not_used(upstream: Upstream, end: str) -> None:
    served: asyncio.Queue[Peer] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"data"))
        served.put_nowait(peer)
        await peer.gone()

    async with ScriptedServer(script) as server:
        for count in range(1, 4):
            assert await ask(upstream, server) == b"data"
            assert server.connections == count
            peer = await served.get()
            peer.reset() if end == "reset" else peer.close()
            await settle()


@pytest.mark.parametrize("together", [True, False])
async def test_an_answer_to_no_request_is_never_taken_for_the_next_one(upstream: Upstream, together: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        mine = whole(b"for " + peer.body)
        stray = whole(b"for someone else")
        if together:
            await peer.send(mine + stray)
        else:
            await peer.send(mine)
            await settle()
            await peer.send(stray)
        await peer.gone()

    async with ScriptedServer(script) as server:
        for name in (b"one", b"two", b"three"):
            assert await ask(upstream, server, name) == b"for " + name
            await settle()
            await settle()
        assert server.connections == 3


async def test_a_request_on_a_used_connection_is_not_repeated_either(upstream: Upstream) -> None:
    """The engine may have begun to work, and may bill for it: only whoever asked can decide."""
    requests = 0

    async def script(peer: Peer) -> None:
        nonlocal requests
        await peer.request()
        requests += 1
        await peer.send(whole(b"data"))
        await peer.request()
        requests += 1

    async with ScriptedServer(script) as server:
        assert await ask(upstream, server) == b"data"
        with pytest.raises(UpstreamUnreachable):
            await ask(upstream, server)
        assert (requests, server.connections) == (2, 1)


async def test_an_answer_that_nobody_holds_any_more_gives_up_its_connection(upstream: Upstream) -> None:
    dropped = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data"))
        await peer.gone()
        dropped.set()

    async with ScriptedServer(script) as server, asyncio.timeout(SOON_S):

        async def careless() -> None:
            answer = await post(upstream, server.url)
            await rest(answer)

        reader = asyncio.create_task(careless())
        while not server.connections:
            await settle()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        del reader
        gc.collect()
        await dropped.wait()


class Customers:
    """Many at once: some read all, some a part, some go away while they wait; every server ends as it likes."""

    def __init__(self) -> None:
        self._chance = random.Random(7)

    async def serve(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(CHUNKED_HEAD)
            for _ in range(5):
                await peer.send(chunk(peer.body))
                await asyncio.sleep(0)
            if self._chance.random() < 0.1:
                return
            await peer.send(LAST_CHUNK)

    async def one(self, upstream: Upstream, server: ScriptedServer, number: int) -> str:
        """How it ended; fails if what came was not meant for this one."""
        body = b"<%d>" % number
        try:
            answer = await post(upstream, server.url, body=body)
            return await self._read(answer, body)
        except (UpstreamCut, UpstreamUnreachable):
            return "broken"

    async def _read(self, answer: Answer, body: bytes) -> str:
        wanted, got = self._chance.randrange(8), b""
        while len(got) < wanted * len(body) and (data := await answer.chunk(SOON_S)):
            got += data
        assert got == body * (len(got) // len(body))
        assert wanted <= 5 or got == body * 5
        answer.abort() if self._chance.random() < 0.1 else answer.release()
        return "whole" if wanted > 5 else "left"


async def test_answers_are_never_mixed_up(upstream: Upstream) -> None:
    customers = Customers()
    ends: set[str] = set()
    async with ScriptedServer(customers.serve) as server, asyncio.timeout(40):
        for start in range(0, 600, 30):
            numbers = range(start, start + 30)
            tasks = [asyncio.create_task(customers.one(upstream, server, number)) for number in numbers]
            await asyncio.sleep(0)
            tasks[0].cancel()
            gone, *others = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(gone, asyncio.CancelledError)
            ends.update(other if isinstance(other, str) else repr(other) for other in others)
        assert ends == {"whole", "left", "broken"}
        assert server.connections < 600
