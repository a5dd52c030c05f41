"""The server's settings: what `surplus.toml` and SURPLUS_<SECTION>_<FIELD> may say."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field, structs

from surplus.kit.edge import BadProxy, Proxies
from surplus.kit.errors import BadSetting


class Server(Struct, frozen=True):
    """[server]"""

    host: Annotated[str, Meta(min_length=1, description="Address to listen on; 0.0.0.0 is every network.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8080
    role: Annotated[
        Literal["all", "gateway", "control"],
        Meta(description="What this server does, of several on one database server: requests, the rest, or both."),
    ] = "all"
    workers: Annotated[int, Meta(ge=1, le=64, description="Processes that take requests; 1 is the server itself.")] = 1
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important log lines to write.")
    ] = "info"
    tls_certificate: Annotated[
        str, Meta(description="File with the certificate and its chain (PEM); empty serves plain HTTP.")
    ] = ""
    tls_key: Annotated[str, Meta(description="File with the private key of the certificate (PEM, no password).")] = ""
    trusted_proxies: Annotated[
        str,
        Meta(description="Addresses and networks of proxies whose X-Forwarded-For and -Proto are believed."),
    ] = ""
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=2**30, description="Largest request body that is read, in bytes.")
    ] = 8 * 2**20
    max_head_bytes: Annotated[
        int, Meta(ge=1024, le=2**20, description="Largest head of a request, all its headers together, in bytes.")
    ] = 32 * 1024
    max_headers: Annotated[int, Meta(ge=10, le=10_000, description="Headers that a request may have.")] = 100
    max_url_bytes: Annotated[int, Meta(ge=256, le=2**20, description="Longest address of a request, in bytes.")] = (
        8 * 1024
    )
    head_timeout_s: Annotated[
        float, Meta(ge=0.05, le=3600, description="Seconds until the head of a request has to be whole.")
    ] = 30.0
    body_timeout_s: Annotated[
        float, Meta(ge=0.05, le=3600, description="Seconds that may pass between two parts of a body.")
    ] = 30.0
    min_body_rate: Annotated[
        int, Meta(ge=0, le=2**30, description="Bytes per second of a body, once body_timeout_s has passed; 0 is any.")
    ] = 1024
    keep_alive_s: Annotated[
        float, Meta(ge=0.05, le=86400, description="Seconds that a connection may be idle between two requests.")
    ] = 75.0
    unread_timeout_s: Annotated[
        float, Meta(ge=0.05, le=86400, description="Seconds that a caller may leave an answer unread.")
    ] = 60.0
    max_connections: Annotated[
        int, Meta(ge=1, le=2**20, description="Open connections; fewer, where the system allows fewer open files.")
    ] = 8192
    max_connections_per_key: Annotated[
        int, Meta(ge=1, le=2**20, description="Open connections of one key; through a trusted proxy, its requests.")
    ] = 4096
    max_connections_per_address: Annotated[
        int, Meta(ge=1, le=2**20, description="Open connections of one address that have shown no valid key yet.")
    ] = 4096
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

    def with_flags(self, **flags: object) -> "Settings":
        """The same with those of [server] that are given (not None) on the command line. Raises BadSetting."""
        given = {name: value for name, value in flags.items() if value is not None}
        changed = structs.replace(self, server=structs.replace(self.server, **given))
        if problems := changed.conflicts():
            raise BadSetting("\n".join(problems), detail={"problems": problems})
        return changed

    def conflicts(self) -> list[str]:
        """Settings that would have no effect beside the others; none is accepted in silence."""
        bounds = [
            *_overtaken("gateway", self.gateway, Gateway(), _GATEWAY_BOUNDS),
            *_overtaken("server", self.server, Server(), _SERVER_BOUNDS),
        ]
        return [*_tracing_conflicts(self.tracing), *_server_conflicts(self.server), *_role_conflicts(self), *bounds]


_SERVER_BOUNDS: Final = {
    "max_url_bytes": "max_head_bytes",
    "max_connections_per_key": "max_connections",
    "max_connections_per_address": "max_connections",
}
_GATEWAY_BOUNDS: Final = {
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


def _server_conflicts(server: Server) -> Iterator[str]:
    if bool(server.tls_certificate) != bool(server.tls_key):
        given, other = ("tls_certificate", "tls_key") if server.tls_certificate else ("tls_key", "tls_certificate")
        yield f"server.{given} has no effect without server.{other}; give both, or neither for plain HTTP"
    try:
        Proxies.parse(server.trusted_proxies)
    except BadProxy as error:
        yield f"server.trusted_proxies: {error}; write addresses and networks, as in 10.0.0.0/8, 192.0.2.7"


def _role_conflicts(settings: Settings) -> Iterator[str]:
    server = settings.server
    if server.role != "all" and not settings.store.url:
        yield (
            f"server.role is {server.role}, but a database in the data directory has one server, which does all; "
            "give store.url, or leave the role out"
        )
    if server.role == "control" and server.workers > 1:
        yield "server.workers has no effect where server.role is control: no requests are taken; leave one out"


def _overtaken(section: str, given: Struct, default: Struct, bounds: Mapping[str, str]) -> Iterator[str]:
    """Nobody asked for a default: one that another setting overtakes is no contradiction."""
    for name, bound in bounds.items():
        value = getattr(given, name)
        if value > getattr(given, bound) and value != getattr(default, name):
            above = f"{section}.{name} is above {section}.{bound}"
            yield f"{above}, so it never applies; lower it, or raise {section}.{bound}"
