"""The server's settings: what `surplus.toml` and SURPLUS_<SECTION>_<FIELD> may say."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field


class Server(Struct, frozen=True):
    """[server]"""

    host: Annotated[str, Meta(min_length=1, description="Address to listen on; 0.0.0.0 is every network.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8080
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important log lines to write.")
    ] = "info"
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=2**30, description="Largest request body that is read, in bytes.")
    ] = 8 * 2**20
    drain_s: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds that running requests get to end when the server stops.")
    ] = 30.0


class Store(Struct, frozen=True):
    """[store]"""

    url: Annotated[
        str,
        Meta(
            description="Database of the server: postgresql://USER@HOST:PORT/NAME; "
            "empty is a SQLite file in the data directory."
        ),
    ] = ""


class Gateway(Struct, frozen=True):
    """[gateway]"""

    attempts: Annotated[
        int, Meta(ge=1, le=10, description="Replicas tried for one request before its first event; 1 never retries.")
    ] = 3
    retry_pause_s: Annotated[
        float, Meta(ge=0, le=60, description="Seconds before the second attempt; doubled for each one after it.")
    ] = 0.05
    retry_pause_max_s: Annotated[
        float, Meta(ge=0, le=60, description="Longest pause between two attempts, in seconds.")
    ] = 2.0
    first_event_timeout_s: Annotated[
        float, Meta(ge=0.1, le=86400, description="Seconds until an engine has to send its first event.")
    ] = 120.0
    idle_timeout_s: Annotated[
        float, Meta(ge=0.1, le=86400, description="Seconds that a started stream may be silent.")
    ] = 60.0
    request_timeout_s: Annotated[
        float, Meta(ge=0.1, le=86400, description="Seconds that one request may take from beginning to end.")
    ] = 600.0
    keepalive_s: Annotated[
        float, Meta(ge=0.1, le=86400, description="Seconds of silence after which a stream sends a comment.")
    ] = 15.0
    drain_upstream_s: Annotated[
        float,
        Meta(ge=0, le=3600, description="Seconds that a remote engine's stream is read on after its caller has left."),
    ] = 30.0
    slots: Annotated[
        int, Meta(ge=1, le=2**20, description="Requests in flight at one time; more are asked to wait.")
    ] = 4096


class Journal(Struct, frozen=True):
    """[journal]"""

    fsync_ms: Annotated[
        int, Meta(ge=1, le=1000, description="Milliseconds of settlements that a power cut can cost at most.")
    ] = 20
    load_ms: Annotated[
        int, Meta(ge=1, le=1000, description="Milliseconds between two loads of the journal into the database.")
    ] = 100
    lag_mib: Annotated[
        int,
        Meta(ge=1, le=2**20, description="MiB of settled work that may wait for the database; then requests get 503."),
    ] = 256
    segment_mib: Annotated[int, Meta(ge=1, le=4096, description="Size of one journal file, in MiB.")] = 64


class Ledger(Struct, frozen=True):
    """[ledger]"""

    verify_every_s: Annotated[
        float,
        Meta(ge=0, le=2**31, description="Seconds between two checks of what is new in the ledger; 0 never checks."),
    ] = 3600.0
    verify_all_every_s: Annotated[
        float,
        Meta(ge=0, le=2**31, description="Seconds between two checks of the whole ledger; 0 never checks all of it."),
    ] = 86400.0


class Tracing(Struct, frozen=True):
    """[tracing]"""

    endpoint: Annotated[str, Meta(description="OTLP/HTTP address that spans are sent to; empty sends none.")] = ""
    sample_ratio: Annotated[float, Meta(ge=0, le=1, description="Share of requests that are traced.")] = 0.0


class Metrics(Struct, frozen=True):
    """[metrics]"""

    enabled: Annotated[bool, Meta(description="Whether /metrics answers.")] = True


class Settings(Struct, frozen=True):
    """Everything an operator can set."""

    server: Server = field(default_factory=Server)
    store: Store = field(default_factory=Store)
    gateway: Gateway = field(default_factory=Gateway)
    journal: Journal = field(default_factory=Journal)
    ledger: Ledger = field(default_factory=Ledger)
    tracing: Tracing = field(default_factory=Tracing)
    metrics: Metrics = field(default_factory=Metrics)

    def conflicts(self) -> list[str]:
        """Settings that would have no effect beside the others; none is accepted in silence."""
        return [*_tracing_conflicts(self.tracing), *_gateway_conflicts(self.gateway)]


_BOUNDS: Final = {
    "retry_pause_s": "retry_pause_max_s",
    "first_event_timeout_s": "request_timeout_s",
    "idle_timeout_s": "request_timeout_s",
    "keepalive_s": "request_timeout_s",
}
"""Settings that can only apply while they stay within another one."""


def _tracing_conflicts(tracing: Tracing) -> Iterator[str]:
    if tracing.endpoint and not tracing.sample_ratio:
        yield "tracing.endpoint has no effect while tracing.sample_ratio is 0; set a ratio, or no endpoint"
    if tracing.sample_ratio and not tracing.endpoint:
        yield "tracing.sample_ratio has no effect without tracing.endpoint; set an endpoint, or no ratio"


def _gateway_conflicts(gateway: Gateway) -> Iterator[str]:
    default = Gateway()  # nobody asked for a default: one that another setting overtakes is no contradiction
    for name, bound in _BOUNDS.items():
        value = getattr(gateway, name)
        if value > getattr(gateway, bound) and value != getattr(default, name):
            yield f"gateway.{name} is above gateway.{bound}, so it never applies; lower it, or raise gateway.{bound}"
