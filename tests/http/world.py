"""What tests of the control plane start from: an operator, the customer acme with its people, and a rival."""

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import select

from surplus.api.app import ApiDeps, create_api
from surplus.app import keys, money, organizations
from surplus.app.callers import Caller
from surplus.app.keys import KeySpec
from surplus.gateway.access import Access
from surplus.gateway.books import LocalBooks
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.refresh import Refresh
from surplus.gateway.standing import Standing
from surplus.gateway.tariffs import Tariffs
from surplus.identity import service as identity
from surplus.identity.model import Organization, Role
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, ReadSession, WriteSession, metadata
from surplus.kit.ids import CountedIds
from surplus.ledger import service as ledger
from surplus.serving.engines.factory import Engines
from surplus.serving.replicas import Pool
from surplus.serving.upstream_http import HttpUpstream

NOW = 1_795_251_600.0  # 2026-11-21T09:00:00Z


@dataclass
class World:
    """`tokens` by name: acme's by role, `operator`, `rival` (an admin elsewhere). readyz says what `not_ready` has."""

    database: Database
    clock: ManualClock
    ids: CountedIds
    upstream: HttpUpstream
    deps: ApiDeps
    app: FastAPI
    acme: Organization
    rival: Organization
    tokens: dict[str, str]
    not_ready: list[str]
    pool: Pool
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    async def call(self, who: str | None, method: str, path: str, json: Any = None, **more: Any) -> httpx.Response:
        """One request by whoever has the token of that name; None sends no key."""
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["authorization"] = f"Bearer {self.tokens[who]}"
        if json is not None:
            more["json"] = json
        return await self.clients[0].request(method, path, headers=headers, **more)

    async def ok(self, who: str, method: str, path: str, json: Any = None, **more: Any) -> Any:
        """The JSON of an answer that has to be good."""
        answer = await self.call(who, method, path, json, **more)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def refused(self, who: str | None, method: str, path: str, json: Any = None, **more: Any) -> dict[str, Any]:
        """The error of a request that has to be refused, and must have changed nothing; with its `status`."""
        before = self.rows()
        answer = await self.call(who, method, path, json, **more)
        assert answer.status_code >= 400, answer.text
        assert self.rows() == before
        assert answer.headers["x-request-id"] == answer.headers["request-id"] != ""
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"error"}
        error = answer.json()["error"]
        assert set(error) == {"message", "code", "param", "detail"}
        return {**error, "status": answer.status_code}

    def rows(self) -> dict[str, list[Any]]:
        """Everything that is in the database."""
        return self.database.read_now(_rows)

    def client(self, app: Any = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
        """A client of the application, as if it called from `address`."""
        transport = httpx.ASGITransport(app or self.app, client=(address, 50_000))
        self.clients.append(httpx.AsyncClient(transport=transport, base_url="http://surplus.test"))
        return self.clients[-1]

    def another(self, **changes: Any) -> httpx.AsyncClient:
        """A client of a control plane that differs in some of its parts."""
        return self.client(create_api(dataclasses.replace(self.deps, **changes)))

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()
        await self.upstream.close()


def _rows(session: ReadSession) -> dict[str, list[Any]]:
    return {table.name: list(session.all(select(table))) for table in metadata.sorted_tables}


async def build(database: Database) -> World:
    """A world on an empty database."""
    clock, ids = ManualClock(NOW), CountedIds()
    operator = database.write_now(identity.ensure_operator_key, ids, now=NOW)
    assert operator is not None
    tokens = {"operator": operator.token}
    acme, rival = database.write_now(_customers, ids, Caller(operator.key, _operator_of(database)), tokens)
    upstream = HttpUpstream()
    pool = Pool(Engines(upstream=upstream, ids=ids, environment={}), ids=ids, clock=clock, jitter=lambda: 0.5)
    registry = CollectorRegistry()
    Counter("surplus_tests", "Something to scrape", registry=registry)
    refresh = Refresh(
        database=database,
        clock=clock,
        access=Access(database, clock),
        tariffs=Tariffs(database),
        pool=pool,
        answer_recalls=EscrowFunds(LocalBooks(database, clock), clock, ids, "gateway-test").answer_recalls,
        runs=lambda _deployment: True,
    )
    not_ready: list[str] = []
    deps = ApiDeps(
        database=database,
        clock=clock,
        ids=ids,
        refresh=refresh.now,
        pool=pool,
        not_ready=lambda: not_ready,
        standing=Standing,
        verify=partial(database.read, ledger.verify),
        in_flight=lambda: 3,
        journal_lag_bytes=lambda: 77,
        registry=registry,
        version="1.2.3",
    )
    app = create_api(deps)
    made = World(database, clock, ids, upstream, deps, app, acme, rival, tokens, not_ready, pool)
    made.client()
    return made


def _operator_of(database: Database) -> Organization:
    return database.read_now(identity.find_organization, "operator")


def _customers(
    session: WriteSession, ids: CountedIds, operator: Caller, tokens: dict[str, str]
) -> tuple[Organization, Organization]:
    acme = organizations.create(session, ids, "acme", credit_micro=10_000_000, limit_micro=5_000_000, now=NOW)
    rival = organizations.create(session, ids, "rival", now=NOW)
    wanted = {"admin": acme, "developer": acme, "finance": acme, "rival": rival}
    for name, organization in wanted.items():
        role = Role.ADMIN if name == "rival" else Role(name)
        caller = Caller(operator.key, organization)
        tokens[name] = keys.create(session, ids, caller, KeySpec(role=role, name=name), now=NOW).token
    assert money.funds(session, acme.id, now=NOW).available == 15_000_000
    return acme, rival
