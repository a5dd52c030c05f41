"""Dispatch: choose a replica, send the request, and hold back the answer until its first event is good.

Until then nothing has reached the caller, so a failure can be answered by another replica, a fallback deployment, or a
second try; after it, never.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from surplus.gateway.admission import Admission, Offer
from surplus.gateway.answers import Whole, count_choices, read_whole
from surplus.gateway.errors import ContextTooLong, NoCapacity, StreamBroken, UpstreamBroken, UpstreamSilent
from surplus.gateway.meter import StreamMeter
from surplus.gateway.tracing import Attempt, Tracer
from surplus.gateway.upstream_body import sums_choices, upstream_body
from surplus.gateway.upstream_errors import from_error_object, from_status, is_error_body, may_help, retry_after
from surplus.kit.clock import Clock
from surplus.kit.errors import SurplusError
from surplus.serving.directory import Directory
from surplus.serving.engines.dialects import DIALECTS
from surplus.serving.errors import AnswerTooLarge, UpstreamCut, UpstreamTimedOut, UpstreamUnreachable
from surplus.serving.replica import Replica
from surplus.serving.upstream import Answer, Upstream

ANSWER_MAX: Final = 64 * 1024 * 1024
ERROR_MAX: Final = 256 * 1024
_TRANSPORT: Final = (UpstreamUnreachable, UpstreamCut, UpstreamTimedOut, AnswerTooLarge, StreamBroken, UpstreamBroken)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often we try, and how long we wait (seconds)."""

    attempts: int
    pause_s: float
    pause_max_s: float
    connect_s: float
    first_event_s: float
    idle_s: float
    request_s: float
    drain_s: float


class Exchange:
    """One request on one replica. `close` ends it: what has not been read to its end is cut off."""

    def __init__(self, replica: Replica, attempt: Attempt) -> None:
        self.replica = replica
        self.attempt = attempt
        self.answer: Answer | None = None
        self.meter: StreamMeter | None = None
        self.first = b""
        self.whole: Whole | None = None
        self.finished = False
        self._lease = replica.lease()
        self._lease.__enter__()
        self._closed = False

    def close(self) -> None:
        """Give the replica back. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._lease.__exit__(None, None, None)
        self.attempt.end()
        if self.answer is not None:
            if self.finished:
                self.answer.release()
            else:
                self.answer.abort()


class _TryAgain(Exception):
    def __init__(self, error: SurplusError, retry_after_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after_s = retry_after_s


class Dispatcher:
    """Sends admitted requests to replicas."""

    def __init__(
        self, *, clock: Clock, pool: Directory, upstream: Upstream, patience: Patience, tracer: Tracer
    ) -> None:
        self._clock = clock
        self._pool = pool
        self._upstream = upstream
        self._tracer = tracer
        self.patience = patience

    async def dispatch(self, admission: Admission) -> Exchange:
        """The exchange with the first replica that gives a good answer; whoever gets it closes it.

        Raises the SurplusError of the last attempt: the caller's own mistakes at once, all else when the attempts are
        used up. A prompt that was too long for one deployment is sent to those alone that have a larger context.
        """
        tried: list[str] = []
        context = 0
        failure: SurplusError = NoCapacity("no replica is ready; try again in a moment", retry_after_s=2)
        for number in range(self.patience.attempts):
            choice = self._choose(admission, tried, context)
            if choice is None:
                break
            replica, offer = choice
            if replica.id in tried:
                await asyncio.sleep(min(self.patience.pause_s * 2 ** (number - 1), self.patience.pause_max_s))
            tried.append(replica.id)
            admission.settlement.use(offer.deployment.id, offer.sheet)
            admission.working = replica
            try:
                return await self._try(admission, replica)
            except _TryAgain as again:
                failure = again.error
            except ContextTooLong as error:
                failure, context = error, offer.deployment.context + 1
            admission.working = None
        raise failure

    def _choose(self, admission: Admission, tried: Sequence[str], context: int) -> tuple[Replica, Offer] | None:
        """The first replica in the pool's order that was tried least, of those with at least this context."""
        offers = {offer.deployment.id: offer for offer in admission.offers}
        candidates = self._pool.candidates(admission.body.model, embeddings=admission.endpoint.embeddings)
        able = [each for each in candidates if each.deployment.id in offers and each.deployment.context >= context]
        if not able:
            return None
        replica = min(able, key=lambda candidate: tried.count(candidate.id))
        return replica, offers[replica.deployment.id]

    async def _try(self, admission: Admission, replica: Replica) -> Exchange:
        """One attempt. Whatever it ends in, the replica's breaker hears of it, unless the caller went away."""
        deployment = replica.deployment
        dialect = DIALECTS[deployment.engine]
        body = upstream_body(admission.body, admission.bounds, admission.endpoint, deployment, dialect)
        exchange = Exchange(replica, self._tracer.attempt(admission, replica))
        failure: _TryAgain | None = None
        good = False
        try:
            await self._exchange(admission, exchange, body)
            good = True
        except _TRANSPORT as error:
            failure = _TryAgain(_as_ours(error))
        except _TryAgain as again:
            failure = again
        except SurplusError as error:  # the engine is well: it is the request that it refused
            exchange.attempt.failed(error)
            replica.breaker.succeeded(self._clock.monotonic())
            raise
        finally:
            if failure is not None:
                exchange.attempt.failed(failure.error)
            if not good:
                exchange.close()
        if failure is not None:
            replica.breaker.failed(self._clock.monotonic(), retry_after_s=failure.retry_after_s)
            raise failure
        replica.breaker.succeeded(self._clock.monotonic())
        return exchange

    async def _exchange(self, admission: Admission, exchange: Exchange, body: bytes) -> None:
        answer = exchange.answer = await self._send(admission, exchange.replica, body)
        exchange.attempt.answered(answer.status)
        if answer.status != 200:
            await self._refused(answer)
        if admission.body.stream:
            await self._first_event(admission, exchange, answer)
        else:
            exchange.whole = await self._whole(admission, exchange.replica, answer)
            exchange.finished = True

    async def _send(self, admission: Admission, replica: Replica, body: bytes) -> Answer:
        # An answer that is no stream sends its first byte when the last token is there.
        first_byte_s = self.patience.first_event_s if admission.body.stream else self.patience.request_s
        return await self._upstream.send(
            replica.base_url,
            admission.endpoint.path,
            headers=replica.headers,
            body=body,
            connect_timeout_s=self.patience.connect_s,
            first_byte_timeout_s=first_byte_s,
            reuse=DIALECTS[replica.deployment.engine].reuse,
        )

    async def _refused(self, answer: Answer) -> None:
        body = await answer.read(ERROR_MAX, self.patience.idle_s)
        now = self._clock.now()
        error = from_status(answer.status, answer.headers, body, now)
        if may_help(answer.status):
            raise _TryAgain(error, retry_after(answer.headers, now))
        raise error

    async def _first_event(self, admission: Admission, exchange: Exchange, answer: Answer) -> None:
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            self._no_stream(await answer.read(ANSWER_MAX, self.patience.idle_s))
        meter = exchange.meter = StreamMeter(
            DIALECTS[exchange.replica.deployment.engine],
            include_usage=admission.body.include_usage,
            choices=admission.bounds.choices,
            inputs=admission.bounds.inputs,
        )
        while not exchange.first:
            data = await answer.chunk(self.patience.first_event_s)
            if not data:
                message = "the engine ended its stream before it began; try again"
                raise StreamBroken(message)
            exchange.first = meter.feed(data)
            if meter.error is not None and not exchange.first:
                raise _TryAgain(meter.error) if may_help(meter.error.status) else meter.error
            if meter.done:
                break

    def _no_stream(self, body: bytes) -> None:
        if is_error_body(body):
            error = from_error_object(body)
            raise _TryAgain(error) if may_help(error.status) else error
        message = "the engine answered a streaming request with something that is no stream; try again"
        raise UpstreamBroken(message)

    async def _whole(self, admission: Admission, replica: Replica, answer: Answer) -> Whole:
        data = await answer.read(ANSWER_MAX, self.patience.request_s)
        if is_error_body(data):
            error = from_error_object(data)
            raise _TryAgain(error) if may_help(error.status) else error
        whole = read_whole(data)
        if sums_choices(DIALECTS[replica.deployment.engine], admission.bounds):
            return count_choices(admission.body, whole)
        return whole


def _as_ours(error: SurplusError) -> SurplusError:
    """A transport failure in words for the caller, who knows nothing of replicas."""
    if isinstance(error, UpstreamTimedOut):
        return UpstreamSilent("the engine did not answer in time; try again")
    if isinstance(error, StreamBroken | UpstreamBroken):
        return error
    return UpstreamBroken("the connection to the engine broke before it answered; try again")
