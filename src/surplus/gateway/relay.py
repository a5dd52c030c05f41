"""Relay: the answer goes to the caller as it comes, and is settled before its last byte leaves."""

from typing import Final

from surplus.gateway import surface
from surplus.gateway.admission import Admission
from surplus.gateway.answers import Whole
from surplus.gateway.bounds import OUTPUT_MAX
from surplus.gateway.client import Client
from surplus.gateway.dispatch import Exchange, Patience
from surplus.gateway.errors import StreamBroken, UpstreamSilent
from surplus.gateway.estimate import estimated
from surplus.gateway.keepalive import KeepAlive
from surplus.gateway.meter import StreamMeter
from surplus.gateway.settlement import Ending
from surplus.gateway.sse import event
from surplus.kit.errors import SurplusError
from surplus.kit.http1_server import Headers
from surplus.metering.model import Outcome
from surplus.metering.usage import TokenUsage
from surplus.serving.errors import UpstreamCut, UpstreamTimedOut
from surplus.serving.replicas import Replica

STREAM_HEADERS: Final[Headers] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # reverse proxies pass events on at once
]


async def relay_whole(client: Client, admission: Admission, replica: Replica, whole: Whole, headers: Headers) -> None:
    """Pass a complete JSON answer on."""
    usage = whole.usage
    if usage is None:
        usage = estimated(admission.bounds, replica.deployment, answer_bytes=len(whole.data))
    admission.settlement.first_token()
    admission.settlement.settle(
        Ending(
            Outcome.ABORTED if client.gone else Outcome.COMPLETED,
            200,
            usage,
            degraded=whole.degraded,
            engine_request_id=whole.engine_id,
        )
    )
    if client.gone:
        return
    length = str(len(whole.data)).encode()
    client.start(200, [(b"content-type", b"application/json"), (b"content-length", length), *headers])
    await client.send(whole.data, more=False)


class StreamRelay:
    """Passes one stream on, event by event."""

    def __init__(self, client: Client, admission: Admission, exchange: Exchange, patience: Patience) -> None:
        assert exchange.meter is not None
        self._client = client
        self._settlement = admission.settlement
        self._admission = admission
        self._exchange = exchange
        self._meter = exchange.meter
        self._patience = patience
        self._bytes = 0
        self._last = b""  # what has not been passed on, because something is to be done before
        self._most = estimated(admission.bounds, exchange.replica.deployment, events=OUTPUT_MAX)

    async def run(self, headers: Headers, keepalive_s: float) -> None:
        """Relay to the end. Raises ClientGone where the caller's going has to be answered by someone else.

        An engine of ours is cut off as soon as the caller goes. A provider's stream is read on, within a bound, until
        it says what it will bill.
        """
        self._settlement.first_token()
        self._client.start(200, [*STREAM_HEADERS, *headers])
        keepalive = KeepAlive(self._client, keepalive_s)
        after_s = 0.0 if self._exchange.replica.deployment.engine.owned else self._patience.drain_s
        try:
            with self._client.abortable(lambda: after_s):
                await self._pump()
        except (UpstreamCut, UpstreamTimedOut, StreamBroken) as error:
            await self._broken(error)
        finally:
            keepalive.stop()

    async def _pump(self) -> None:
        answer, meter = self._exchange.answer, self._meter
        assert answer is not None
        stopped = not self._pass_on(self._exchange.first)
        while True:
            if meter.error is not None:
                await self._failed(self._last, meter.error)
                return
            if meter.done:
                self._exchange.finished = True
                await self._complete(self._last)
                return
            if stopped:
                await self._client.drained()
            stopped = await answer.follow(self._take, self._patience.idle_s)
            if not stopped:
                await self._ended()
                return

    def _take(self, data: bytes) -> bool:
        """Called with all that comes. False stops the reading: the stream has ended, or the caller does not keep up."""
        return self._pass_on(self._meter.feed(data))

    def _pass_on(self, block: bytes) -> bool:
        self._progress(block)
        if self._meter.done or self._meter.error is not None:
            self._last = block
            return False
        return not block or self._client.gone or self._client.push(block)

    def _progress(self, block: bytes) -> None:
        """Note in the slot what would be charged if this process ended now; `usage` says the same at the end."""
        self._bytes += len(block)
        meter = self._meter
        usage = meter.usage or self._most
        self._settlement.slot.update(
            uncached=usage.uncached,
            cache_read=usage.cache_read,
            cache_write=usage.cache_write,
            output=usage.output if meter.usage is not None else min(meter.events, usage.output),
            delivered_bytes=self._bytes,
            delivered_events=meter.events,
        )

    async def _ended(self) -> None:
        """The stream ended without [DONE]: whole if every choice had finished, broken off if not."""
        if not self._meter.complete:
            message = "the engine's stream ended in the middle of the answer"
            raise StreamBroken(message)
        self._exchange.finished = True
        await self._complete(self._meter.end())

    async def _complete(self, last: bytes) -> None:
        usage, degraded = self.usage()
        outcome = Outcome.ABORTED if self._client.gone else Outcome.COMPLETED
        self._settlement.settle(Ending(outcome, 200, usage, degraded))
        if not self._client.gone:
            await self._client.send(last, more=False)

    async def _broken(self, error: SurplusError) -> None:
        silent = isinstance(error, UpstreamTimedOut)
        words = "the engine fell silent in the middle of its answer; what arrived so far is incomplete"
        told = UpstreamSilent(words) if silent else StreamBroken(f"{error.message}; what arrived so far is incomplete")
        await self._failed(b"", told)

    async def _failed(self, block: bytes, error: SurplusError) -> None:
        """Tell the caller in the stream, exactly once, and never end as if all were well."""
        usage, degraded = self.usage()
        outcome = Outcome.ABORTED if self._client.gone else Outcome.FAILED
        self._settlement.settle(Ending(outcome, error.status, usage, degraded))
        if not self._client.gone:
            await self._client.send(block + event(surface.error_body(error)), more=False)

    def usage(self) -> tuple[TokenUsage, bool]:
        """What is charged if the stream ends here, and whether it is less than certain."""
        return usage_so_far(self._admission, self._exchange.replica, self._meter)


def usage_so_far(admission: Admission, replica: Replica, meter: StreamMeter) -> tuple[TokenUsage, bool]:
    """What the engine said last, or an estimate from what was delivered; and whether it is less than certain."""
    if meter.usage is None:
        return estimated(admission.bounds, replica.deployment, events=meter.events), True
    if meter.final or meter.events <= meter.usage.output:
        return meter.usage, meter.degraded
    return meter.usage, True
