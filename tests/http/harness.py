"""A real server in the test's event loop, and shops in it: customers, keys, prices, and engines that can misbehave."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from openai import AsyncOpenAI

from surplus import bootstrap
from surplus.app import keys, money, organizations, prices
from surplus.app.budgets import BudgetSpec
from surplus.app.budgets import put as put_budget
from surplus.app.callers import Caller
from surplus.app.keys import KeySpec
from surplus.billing.budgets import BudgetState
from surplus.billing.rating import PriceSheet, TokenClass
from surplus.gateway.entries import Admitted
from surplus.identity import service as identity
from surplus.identity.model import OPERATOR_NAME, Key, KeySecret, Limits, Organization, Project
from surplus.kit.clock import SystemClock
from surplus.kit.db import WriteSession
from surplus.kit.ids import RandomIds
from surplus.kit.money import parse_dollars
from surplus.ledger import service as ledger
from surplus.ledger.model import Verification
from surplus.metering import service as metering
from surplus.metering.model import UsageRecord
from surplus.serving import service as deployments
from surplus.serving.spec import DeploymentSpec
from surplus.settings import Journal, Server, Settings
from tests.http.holding import Held, admissions, held
from tests.upstream import FaultyUpstream
from tests.upstream.raw_client import Heard

PATIENCE_S: Final = 15.0
PROMPT: Final = "Where is the café?"
PRICES: Final = {
    TokenClass.INPUT: "2.00",
    TokenClass.CACHE_READ: "0.50",
    TokenClass.CACHE_WRITE: "3.00",
    TokenClass.OUTPUT: "8.00",
}
"""Dollars per million tokens, all different, so that a token in the wrong class shows in the charge."""
WIDE: Final = Limits(rpm=100_000, tpm=10_000_000_000, concurrency=10_000)
"""Limits that no test meets by accident, so that every request takes its leases and has to give them back."""
CLOCK: Final = SystemClock()
IDS: Final = RandomIds(CLOCK)


def quick(**sections: Any) -> Settings:
    """Settings under which records are in the database at once, and a server drains within seconds."""
    sections = {"journal": Journal(fsync_ms=1, load_ms=1), "server": Server(drain_s=5), **sections}
    return Settings(**sections)


async def eventually(condition: Callable[[], Any], what: str = "the condition") -> None:
    """Wait until a condition holds, however slow the machine is; fails after PATIENCE_S."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while not condition():
        assert loop.time() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.002)


@dataclass
class Live:
    """A running server: its parts, and where it listens."""

    server: bootstrap.Server
    port: int
    data: Path

    @property
    def root(self) -> str:
        return f"{'https' if self.server.edge.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL of an OpenAI client."""
        return f"{self.root}/v1"

    @property
    def operator_token(self) -> str:
        return (self.data / bootstrap.OPERATOR_KEY).read_text().strip()

    async def read(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self.server.database.read(function, *args, **kwargs)

    async def change(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """One transaction, which the data plane follows before this returns, as after a call of the control plane."""
        result = await self.server.database.write(function, *args, **kwargs)
        await self.server.refresh.now()
        return result

    async def quiet(self) -> None:
        """Wait until nothing is in flight and all that was settled is in the database."""
        server = self.server
        await eventually(lambda: not server.path.in_flight and not server.slots.in_use, "requests in flight")
        await eventually(lambda: not server.loader.lag_bytes, "the journal to be loaded")
        await server.funds.settle_releases()
        await eventually(lambda: not server.funds.changed, "what is held to be told")

    def admissions(self) -> Mapping[str, Admitted]:
        """What the journal says of every request that was admitted."""
        return admissions(self.server.journal)

    async def verify(self) -> Verification:
        return await self.read(ledger.verify)


@asynccontextmanager
async def running(data: Path, settings: Settings, *, verify: ssl.SSLContext | bool = True) -> AsyncIterator[Live]:
    """A server on a data directory, from its start to the end of its drain; `verify`: whom to believe, over TLS."""
    database = bootstrap.open_store(data, settings.store.url)
    bootstrap.ensure_operator(database, IDS, data, CLOCK.now())
    server = await bootstrap.build(settings, data, database, {})
    stop = asyncio.Event()
    with bootstrap.listen("127.0.0.1", 0) as sock:
        live = Live(server, sock.getsockname()[1], data)
        task = asyncio.create_task(bootstrap.run(server, sock, stop))
        try:
            await _answers(live, task, verify)
            yield live
        finally:
            stop.set()
            await task


async def _answers(live: Live, task: asyncio.Task[None], verify: ssl.SSLContext | bool) -> None:
    async with httpx.AsyncClient(base_url=live.root, verify=verify) as client:
        async with asyncio.timeout(PATIENCE_S):
            while not task.done():
                try:
                    assert (await client.get("/healthz")).status_code == 200
                    return
                except httpx.ConnectError:
                    await asyncio.sleep(0.002)
        await task


@dataclass
class Shop:
    """One customer of a running server with a wallet and a key, a model at PRICES, and the engines behind it.

    `neighbour` is another customer who buys nothing. Leaving the shop stops the engines, which raises what went wrong
    inside them.
    """

    live: Live
    org: Organization
    neighbour: Organization
    secret: KeySecret
    model: str
    sheets: dict[str, PriceSheet]
    stack: AsyncExitStack = field(repr=False)
    upstreams: list[FaultyUpstream] = field(default_factory=list)
    heard: list[httpx.Response] = field(default_factory=list)

    @property
    def upstream(self) -> FaultyUpstream:
        return self.upstreams[0]

    @property
    def key(self) -> Key:
        return self.secret.key

    @property
    def sheet(self) -> PriceSheet:
        """The prices of the shop's model; those of other skus are in `sheets` too, by version."""
        return next(iter(self.sheets.values()))

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret.token}"}

    async def _hear(self, response: httpx.Response) -> None:
        self.heard.append(response)

    async def client(self, token: str | None = None) -> httpx.AsyncClient:
        """A plain HTTP client with the shop's key, or another token; what it hears is in `heard` too."""
        headers = {"authorization": f"Bearer {token or self.secret.token}"}
        hooks = {"response": [self._hear]}
        limits = httpx.Limits(max_connections=None)
        made = httpx.AsyncClient(
            base_url=self.live.url, headers=headers, timeout=PATIENCE_S * 2, event_hooks=hooks, limits=limits
        )
        return await self.stack.enter_async_context(made)

    async def sdk(self, token: str | None = None, *, max_retries: int = 0) -> AsyncOpenAI:
        """The official SDK with the shop's key, or another token; it retries only if asked to."""
        made = AsyncOpenAI(
            base_url=self.live.url,
            api_key=token or self.secret.token,
            max_retries=max_retries,
            http_client=httpx.AsyncClient(event_hooks={"response": [self._hear]}, timeout=PATIENCE_S * 2),
        )
        return await self.stack.enter_async_context(made)

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """One request with the shop's key, read to its end."""
        client = await self.client()
        if isinstance(body, bytes):
            return await client.post(path, content=body, headers={"content-type": "application/json", **headers})
        return await client.post(path, json=body, headers=headers)

    async def dial(self, sent: bytes) -> Heard:
        """A bare connection on which `sent` was sent; `leave` ends it."""
        _, heard = await asyncio.get_running_loop().create_connection(Heard, "127.0.0.1", self.live.port)
        heard.send(sent)
        self.stack.callback(heard.leave)
        return heard

    async def hang_up(self, caller: Heard, *, reset: bool = False) -> None:
        """Leave while the request is being answered, and wait until the server has noticed."""
        address = caller.address

        def known(*, busy: bool) -> bool:
            connections = self.live.server.http.connections
            return any(each.ends.caller == address and each.busy >= busy for each in connections)

        await eventually(lambda: known(busy=True), "the request to arrive")
        caller.leave(reset=reset)
        await eventually(lambda: not known(busy=False), "the server to notice")

    async def records(self) -> Sequence[UsageRecord]:
        """Every usage record of the customer, once all that was settled is loaded."""
        await self.live.quiet()
        return await self.live.read(metering.records, org=self.org.id, limit=1000)

    async def record(self, answer: httpx.Response | str) -> UsageRecord:
        """The one usage record of an answered request (or of a request id)."""
        wanted = answer if isinstance(answer, str) else answer.headers["x-request-id"]
        found = [record for record in await self.records() if record.id == wanted]
        assert len(found) == 1, f"{len(found)} records of {wanted}"
        return found[0]

    async def only_record(self) -> UsageRecord:
        """The record of the only request that was admitted."""
        (found,) = await self.records()
        return found

    async def hold(self, request: str) -> Held:
        return await self.live.read(held, self.live.admissions()[request])

    async def funds(self) -> money.Funds:
        return await self.live.read(money.funds, self.org.id, now=CLOCK.now())

    async def set_budget(self, **spec: Any) -> BudgetState:
        return await self.live.change(put_budget, IDS, self.org, BudgetSpec(**spec), now=CLOCK.now())

    async def project(self, name: str) -> Project:
        return await self.live.change(identity.create_project, IDS, org=self.org.id, name=name, now=CLOCK.now())

    async def new_key(self, **spec: Any) -> KeySecret:
        return await self.live.change(_make_key, self.org, KeySpec(**spec))

    async def price(
        self, sku: str, dollars: dict[TokenClass, str], *, effective_from: float | None = None
    ) -> PriceSheet:
        given = {"effective_from": effective_from, "now": CLOCK.now(), "force": False}
        sheet = await self.live.change(prices.publish, IDS, sku, dollars, **given)
        self.sheets[sheet.version] = sheet
        return sheet

    async def _undeploy(self, deployment: str) -> None:
        if deployment in {one.id for one in await self.live.read(deployments.list_deployments)}:
            await self.live.change(deployments.delete_deployment, deployment)

    async def deploy(self, engine: str, **given: Any) -> FaultyUpstream:
        """Put one more engine behind the shop's model, and wait until it takes requests."""
        upstream = await self.stack.enter_async_context(FaultyUpstream(f"engine{len(self.upstreams)}"))
        self.upstreams.append(upstream)
        wanted = {"context": 4096, "max_output": 64, "embeddings": True, "url": upstream.url}
        names = {"model": self.model, "engine": engine, "upstream_model": "tiny-chat"}
        spec = DeploymentSpec(**{**names, **wanted, **given})
        made = await self.live.change(deployments.create_deployment, IDS, spec, now=CLOCK.now())
        self.stack.push_async_callback(self._undeploy, made.id)
        candidates = self.live.server.pool.candidates
        await eventually(lambda: any(r.deployment.id == made.id for r in candidates(self.model)), "a replica")
        return upstream


@asynccontextmanager
async def opened(
    live: Live,
    *engines: str,
    credit: str = "10",
    key: KeySpec | None = None,
    price: dict[TokenClass, str] | None = None,
    model: str | None = None,
    **spec: Any,
) -> AsyncIterator[Shop]:
    """A shop with one upstream per engine kind (`openai` is a provider, all others are our own engines)."""
    model = model or IDS.new("model")
    now = {"now": CLOCK.now()}
    sheet = await live.change(prices.publish, IDS, model, price or PRICES, effective_from=None, force=False, **now)
    org, neighbour, secret = await live.change(_furnish, credit, key or KeySpec(limits=WIDE))
    async with AsyncExitStack() as stack:
        shop = Shop(live, org, neighbour, secret, model, {sheet.version: sheet}, stack)
        for priority, engine in enumerate(engines):
            await shop.deploy(engine, **{"priority": priority, **spec})
        yield shop


def _furnish(session: WriteSession, credit: str, spec: KeySpec) -> tuple[Organization, Organization, KeySecret]:
    now = CLOCK.now()
    made = [
        organizations.create(session, IDS, f"{name} {IDS.new('o')}", credit_micro=parse_dollars(credit), now=now)
        for name in ("customer", "neighbour")
    ]
    if spec.project is not None:
        identity.create_project(session, IDS, org=made[0].id, name=spec.project, now=now)
    secret = _make_key(session, made[0], spec)
    return made[0], made[1], secret


def _make_key(session: WriteSession, org: Organization, spec: KeySpec) -> KeySecret:
    operator = identity.find_organization(session, OPERATOR_NAME)
    acting = identity.list_keys(session, operator.id)[0]
    return keys.create(session, IDS, Caller(acting, org), spec, now=CLOCK.now())
