"""The one path of every request that reaches a model: authenticate, admit, dispatch, first event, stream, settle."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from surplus.gateway import surface
from surplus.gateway.access import Access, Caller
from surplus.gateway.admission import Admission, Admitting
from surplus.gateway.body import parse
from surplus.gateway.client import Client, ClientGone
from surplus.gateway.dispatch import Dispatcher, Exchange
from surplus.gateway.endpoints import Endpoint
from surplus.gateway.errors import BadBody, Draining, UpstreamSilent
from surplus.gateway.estimate import estimated
from surplus.gateway.limits import Limiting
from surplus.gateway.metrics import Metrics
from surplus.gateway.overdue import Overdue
from surplus.gateway.relay import StreamRelay, relay_whole, usage_so_far
from surplus.gateway.settlement import Ending
from surplus.gateway.sse import event
from surplus.gateway.tokenizer import Tokenizer
from surplus.gateway.tracing import Tracer
from surplus.kit.clock import Clock
from surplus.kit.errors import SurplusError
from surplus.kit.http1_server import Headers
from surplus.kit.ids import Ids
from surplus.metering.model import Outcome
from surplus.metering.usage import TokenUsage
from surplus.serving.replicas import Replica

CLIENT_CLOSED: Final = 499
"""The status in the record of a request whose caller left before there was one (nginx's number for it)."""
LAST_WORDS_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Path:
    """Takes requests along the path. Everything it needs is given to it.

    `closed` says why nothing is sold now, None while it is; what is running then ends as it would have.
    """

    clock: Clock
    ids: Ids
    access: Access
    limiter: Limiting
    admitting: Admitting
    dispatcher: Dispatcher
    tokenizer: Tokenizer
    tracer: Tracer
    metrics: Metrics
    closed: Callable[[], SurplusError | None]
    max_body_bytes: int
    keepalive_s: float
    in_flight: int = 0
    draining: bool = False
    _overdue: Overdue = field(init=False)
    _background: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def __post_init__(self) -> None:
        self._overdue = Overdue(self.dispatcher.patience.request_s)

    async def serve(self, client: Client, endpoint: Endpoint) -> None:
        """Answer one request, whatever happens."""
        request = self.ids.new("req")
        headers = surface.request_headers(request)
        self.in_flight += 1
        try:
            with self.tracer.request(client, endpoint, request) as span:
                try:
                    await self._serve(client, endpoint, request, headers)
                except SurplusError as error:
                    span.failed(error)
                    await self.refuse(client, error, headers)
        except ClientGone:
            pass  # settled where it was noticed; there is nobody to answer
        finally:
            self.in_flight -= 1

    async def _serve(self, client: Client, endpoint: Endpoint, request: str, headers: Headers) -> None:
        if self.draining:
            message = "this server is shutting down; try again in a moment"
            raise Draining(message, retry_after_s=1)
        try:
            if (reason := self.closed()) is not None:
                raise reason
            admission = await self._admit(client, endpoint, request, headers)
        except SurplusError as error:
            self.metrics.refuse(error)
            raise
        await self._run(client, admission, headers)

    async def _admit(self, client: Client, endpoint: Endpoint, request: str, headers: Headers) -> Admission:
        caller = await self.access.model_caller(client)
        body = parse(await client.body(self.max_body_bytes))
        if body.stream and not endpoint.streams:
            message = f"{endpoint.path} does not stream; leave `stream` out"
            raise BadBody(message, param="stream")
        try:
            with client.abortable():
                return await self.admitting.admit(request, endpoint, caller, body)
        finally:  # refused or not, the caller hears where its key stands
            headers += self.limit_headers(caller)

    async def _run(self, client: Client, admission: Admission, headers: Headers) -> None:
        """Dispatch and relay; whatever happens, the request is settled when this returns or will be without help."""
        settlement = admission.settlement
        exchange: Exchange | None = None
        handed_on = False
        patience = self.dispatcher.patience
        try:
            with self._overdue.limit():
                exchange = await self._dispatch(client, admission)
                if exchange.whole is not None:
                    await relay_whole(client, admission, exchange.replica, exchange.whole, headers)
                else:
                    await StreamRelay(client, admission, exchange, patience).run(headers, self.keepalive_s)
        except ClientGone:
            handed_on = self._client_left(admission, exchange)
            raise
        except TimeoutError as error:
            settlement.settle(_cut_short(Outcome.FAILED, admission, exchange))
            message = f"the answer took longer than the {patience.request_s:.0f} s that this server allows"
            raise UpstreamSilent(message) from error
        except SurplusError as error:
            settlement.settle(Ending(Outcome.FAILED, error.status))
            raise
        finally:
            if exchange is not None:
                exchange.close()
            if not handed_on:
                outcome = Outcome.ABORTED if client.gone else Outcome.INTERRUPTED
                settlement.settle(_cut_short(outcome, admission, exchange))

    async def _dispatch(self, client: Client, admission: Admission) -> Exchange:
        def after_s() -> float:  # a provider bills the answer anyway: hear what it says
            working = admission.working
            owned = working is None or working.deployment.engine.owned
            return 0.0 if owned else self.dispatcher.patience.drain_s

        with client.abortable(after_s):
            return await self.dispatcher.dispatch(admission)

    def _client_left(self, admission: Admission, exchange: Exchange | None) -> bool:
        """Charge by the engine's last figures; where it has said nothing yet, by its count of the input.

        Returns whether the settlement is left to a task that outlives the request.
        """
        meter = exchange.meter if exchange is not None else None
        if meter is not None and meter.usage is not None:
            admission.settlement.settle(Ending(Outcome.ABORTED, CLIENT_CLOSED, meter.usage, meter.degraded))
        elif admission.working is None:
            admission.settlement.settle(Ending(Outcome.ABORTED, CLIENT_CLOSED))
        else:
            events = meter.events if meter is not None else 0
            self.spawn(self._settle_input(admission, admission.working, events))
            return True
        return False

    async def _settle_input(self, admission: Admission, replica: Replica, events: int) -> None:
        usage, degraded = estimated(admission.bounds, replica.deployment, events=events), True
        try:
            counted = await self.tokenizer.count_on(replica, admission.body) if replica.tokenizer else None
            if counted is not None:
                usage, degraded = TokenUsage(uncached=counted, output=usage.output), events > 0
        finally:
            admission.settlement.settle(Ending(Outcome.ABORTED, CLIENT_CLOSED, usage, degraded))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Finish this after the request; `finish` waits for it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def finish(self) -> None:
        """Wait for everything that outlived its request."""
        while self._background:
            await asyncio.wait(self._background)

    def limit_headers(self, caller: Caller) -> Headers:
        """Where the caller's key stands against its limits."""
        limits = caller.key.limits
        if limits.rpm is None and limits.tpm is None:
            return []
        return surface.limit_headers(self.limiter.standing(caller.key.id, limits, self.clock.monotonic()))

    async def refuse(self, client: Client, error: SurplusError, headers: Headers) -> None:
        """Send the error in the surface's shape: as the answer, or as an event where the answer has begun."""
        if client.gone or client.ended:
            return
        body = surface.error_body(error)
        if client.started:
            with suppress(TimeoutError):  # a caller who does not read gets no more: its connection is closed
                async with asyncio.timeout(LAST_WORDS_S):
                    await client.send(event(body), more=False)
            return
        client.start(error.status, [*surface.error_headers(error), *headers])
        await client.send(body, more=False)


def _cut_short(outcome: Outcome, admission: Admission, exchange: Exchange | None) -> Ending:
    """The ending of a request that nothing else has settled: a timeout, or a server that is going down."""
    if exchange is None or exchange.meter is None:
        return Ending(outcome, 504, degraded=True)  # nothing has reached the caller
    return Ending(outcome, 504, *usage_so_far(admission, exchange.replica, exchange.meter))
