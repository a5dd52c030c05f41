"""The upstream itself: endpoints, the queue of plans, and the record of what happened."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from tests.upstream import faults, refusals, shapes, tokens
from tests.upstream.answers import Ask, Traits, answer, cached_tokens, chat_ask, completion_ask, embedding_ask
from tests.upstream.behaviour import Behaviour
from tests.upstream.record import Outcome, Seen, Usage
from tests.upstream.reply import Body, End, Head, Json, Reply
from tests.upstream.wire import Connection, RawRequest

Plan = Behaviour | tuple[Behaviour, ...]


@dataclass(frozen=True)
class _Endpoint:
    prefix: str  # of the reply's id
    needs: str  # the field without which a body is refused
    ask: Callable[[str, Json], Ask]


_ENDPOINTS = {
    "/chat/completions": _Endpoint("chatcmpl", "messages", chat_ask),
    "/completions": _Endpoint("cmpl", "prompt", completion_ask),
    "/embeddings": _Endpoint("embd", "input", embedding_ask),
}
_HOST = "127.0.0.1"
_PATIENCE_S = 10


class FaultyUpstream:
    """An OpenAI-compatible engine on a real socket that can be told to misbehave.

    >>> async with FaultyUpstream() as upstream:
    ...     upstream.plan(Fault.CutAfter(3), Fault.Healthy(), (Fault.Cached(4), Fault.NoDone()))

    Plans are used up in order, one per generation request (chat, completions, embeddings). A tag in the last user
    message, ``[[fault=cut_after:3]]``, adds a fault to its own request; ``[[once=…]]`` only to the first request with
    that text, so that a retry passes; ``[[fault=cut_after:3@name]]`` only on the upstream of that name.

    Leaving the context raises what went wrong inside: a plan that could not apply, a peer that spoke no HTTP.
    """

    def __init__(self, name: str = "upstream", *, models: tuple[str, ...] = ("tiny-chat",)) -> None:
        self.name = name
        self.models = models
        self.requests: list[Seen] = []
        self._arrival = asyncio.Condition()
        self._plans: deque[tuple[Behaviour, ...]] = deque()
        self._path_plans: dict[str, deque[tuple[Behaviour, ...]]] = {}
        self._standing: tuple[Behaviour, ...] = ()
        self._used_tags: set[tuple[str, str]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        if self._errors:
            raise self._errors[0]

    @property
    def root(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://{_HOST}:{self._port}"

    @property
    def url(self) -> str:
        """The base URL of an OpenAI client."""
        return f"{self.root}/v1"

    @property
    def port(self) -> int:
        return self._port

    async def start(self) -> None:
        """Listen: on a free port at first, on the same port again after ``stop``."""
        self._server = await asyncio.start_server(self._accept, _HOST, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections from now on, and drop those that are open, mid-answer or not."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def plan(self, *plans: Plan, path: str | None = None) -> None:
        """Queue one plan per coming generation request; with ``path`` (``"/health"``), per request to that path."""
        queue = self._plans if path is None else self._path_plans.setdefault(_bare(path), deque())
        queue.extend(_many(plan) for plan in plans)

    def always(self, *behaviours: Behaviour) -> None:
        """From now on, every generation request without a plan of its own behaves like this."""
        self._standing = behaviours

    def heal(self) -> None:
        """Forget all plans."""
        self._plans.clear()
        self._path_plans.clear()
        self._standing = ()

    def release(self) -> None:
        """Let every request that has arrived go on past its holds."""
        for seen in self.requests:
            seen.release()

    async def arrived(self, count: int = 1) -> Seen:
        """The request number ``count`` to a generation endpoint (from 1), once it has been read whole.

        Raises ``TimeoutError`` after ten seconds.
        """
        async with asyncio.timeout(_PATIENCE_S), self._arrival:
            await self._arrival.wait_for(lambda: len(self.generations) >= count)
        return self.generations[count - 1]

    @property
    def generations(self) -> list[Seen]:
        """The requests to generation endpoints: health checks and model lists left out."""
        return [seen for seen in self.requests if _bare(seen.path) in _ENDPOINTS]

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return sum(not seen.ended.is_set() for seen in self.requests)

    @property
    def generated_tokens(self) -> dict[str, int]:
        """Tokens really generated, by the id that the reply carries."""
        return {seen.id: seen.generated_tokens for seen in self.generations}

    @property
    def usage(self) -> Usage:
        """The sum of ``seen.usage`` over all requests."""
        return sum((seen.usage for seen in self.requests), Usage())

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(Connection(reader, writer, self._connections)))
        self._tasks.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._errors.append(error)

    async def _serve(self, connection: Connection) -> None:
        try:
            async with contextlib.aclosing(connection.requests()) as requests:
                async for request in requests:
                    await self._handle(connection, request)
            await connection.close()
        finally:
            connection.abort()

    async def _handle(self, connection: Connection, request: RawRequest) -> None:
        seen = self._record(request, connection.number)
        async with self._arrival:
            self._arrival.notify_all()
        try:
            await connection.play(self._reply(seen), seen)
        finally:
            if not seen.ended.is_set():
                seen.end(Outcome.BROKEN)

    def _record(self, request: RawRequest, connection: int) -> Seen:
        target = urlsplit(request.target.decode())
        path = unquote(target.path)
        endpoint = _ENDPOINTS.get(_bare(path))
        seen = Seen(
            id=f"{endpoint.prefix if endpoint else 'doc'}-{self.name}-{len(self.requests) + 1}",
            connection=connection,
            method=request.method,
            path=path,
            query=target.query,
            headers=request.headers,
            raw=bytes(request.body),
        )
        self.requests.append(seen)
        return seen

    def _reply(self, seen: Seen) -> Reply:
        if seen.raw:
            try:
                seen.body = json.loads(seen.raw)
            except ValueError:
                return _refused(400, "The body is not JSON.")
        path = _bare(seen.path)
        if path in _ENDPOINTS:
            return self._generation(seen, path) if seen.method == "POST" else _refused(405, "Use POST.")
        document = self._document(path, seen.body)
        if document is None:
            return _refused(404, f"There is nothing at {seen.path}.")
        reply = Reply((Head(), Body(document), End()), request=seen.body)
        seen.faults = _next(self._path_plans.get(path)) or ()
        return _edited(reply, seen.faults)

    def _generation(self, seen: Seen, path: str) -> Reply:
        endpoint = _ENDPOINTS[path]
        if not isinstance(seen.body, dict) or not seen.body.get("model") or not seen.body.get(endpoint.needs):
            return _refused(400, f"The body needs 'model' and '{endpoint.needs}'.")
        ask = endpoint.ask(seen.id, seen.body)
        planned = _next(self._path_plans.get(path)) or _next(self._plans) or self._standing
        seen.faults = (*planned, *self._tagged(ask))
        traits = Traits()
        for behaviour in seen.faults:
            traits = behaviour.shape(traits)
        seen.prompt_tokens = ask.prompt_tokens
        seen.cached_tokens = cached_tokens(ask, traits)
        return _edited(answer(ask, traits), seen.faults)

    def _tagged(self, ask: Ask) -> Iterable[Behaviour]:
        for tag in faults.tags(ask.prompt, self.name):
            use = (ask.prompt, tag.text)
            if not (tag.once and use in self._used_tags):
                self._used_tags.add(use)
                yield tag.behaviour

    def _document(self, path: str, body: Any) -> dict[str, Any] | None:
        """The endpoints that generate nothing, in llama.cpp's shapes; None for an unknown path."""
        match path:
            case "/health":
                return {"status": "ok"}
            case "/models":
                models = [
                    {"id": name, "object": "model", "created": shapes.CREATED, "owned_by": self.name}
                    for name in self.models
                ]
                return {"object": "list", "data": models}
            case "/tokenize":
                return _tokenized(body)
            case "/apply-template":
                return {"prompt": tokens.apply_template(body["messages"], body.get("tools") or [])}
            case _:
                return None


def _bare(path: str) -> str:
    """A path without the version: engines answer with and without it."""
    return path.removeprefix("/v1")


def _many(plan: Plan) -> tuple[Behaviour, ...]:
    return plan if isinstance(plan, tuple) else (plan,)


def _next(queue: deque[tuple[Behaviour, ...]] | None) -> tuple[Behaviour, ...] | None:
    return queue.popleft() if queue else None


def _edited(reply: Reply, behaviours: tuple[Behaviour, ...]) -> Reply:
    for behaviour in behaviours:
        reply = behaviour.edit(reply)
    return reply


def _refused(status: int, message: str) -> Reply:
    return refusals.refusal(Reply(()), status, shapes.error(message, "invalid_request_error"))


def _tokenized(body: dict[str, Any]) -> dict[str, Any]:
    """In llama.cpp's shape, or, where a prompt or messages come instead of content, in vLLM's."""
    if "content" not in body:
        said = body["prompt"] if "prompt" in body else tokens.apply_template(body["messages"], body.get("tools") or [])
        ids = [tokens.token_id(piece) for piece in tokens.split(said)]
        return {"count": len(ids), "max_model_len": 4096, "tokens": ids}
    pieces = tokens.split(body["content"])
    if body.get("with_pieces"):
        return {"tokens": [{"id": tokens.token_id(piece), "piece": piece} for piece in pieces]}
    return {"tokens": [tokens.token_id(piece) for piece in pieces]}
