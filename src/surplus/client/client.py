"""The client: one method for each route of the control plane.

`org` is a name or an id. Dollars are decimal strings, instants ISO 8601 with an offset; what is left out is for the
server to choose. Every method raises ApiError (refused), Unreachable (no answer), BadAnswer (not a Surplus server of
this version) or BadArgument (nothing was sent).
"""

from typing import Final, Self

from surplus.client.transport import Transport, build, segment
from surplus.wire.budgets import Budget, BudgetRequest, PeriodName, ScopeName
from surplus.wire.deployments import Deployment, DeploymentRequest, EngineName, Replica
from surplus.wire.gateways import ForgottenGateway, Gateway
from surplus.wire.invoices import Invoice
from surplus.wire.keys import Key, KeyCreated, KeyRequest, RotateRequest
from surplus.wire.ledger import Head, Verification
from surplus.wire.members import Member, MemberRequest, RoleName, RoleRequest
from surplus.wire.models import Model
from surplus.wire.money import Balance, CreditLimitRequest, CreditRequest, Entry
from surplus.wire.organizations import Organization, OrganizationRequest
from surplus.wire.prices import Price, PriceRequest
from surplus.wire.projects import Project, ProjectRequest
from surplus.wire.status import Status
from surplus.wire.usage import Record, Usage

VERIFY_S: Final = 3600.0
"""The ledger is read from its beginning, so checking it takes as long as it has grown."""


class Client:
    """Talks to the server at `url` with `key`; a context manager, or `close` it. Not for several threads at once."""

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0) -> None:
        """Nothing is sent yet. Raises BadArgument for an address or a key that cannot be one."""
        self._http = Transport(url, key, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def create_organization(self, name: str, *, credit: str = "0", credit_limit: str = "0") -> Organization:
        """A new customer that has paid `credit` and may go `credit_limit` below zero."""
        body = build(OrganizationRequest, name=name, credit=credit, credit_limit=credit_limit)
        return self._http.one(Organization, "POST", "/api/organizations", body=body)

    def list_organizations(self) -> list[Organization]:
        """Every organization that the key can see."""
        return self._http.many(Organization, "/api/organizations")

    def get_organization(self, org: str) -> Organization:
        """One organization."""
        return self._http.one(Organization, "GET", _org(org))

    def add_credit(self, org: str, amount: str, *, note: str = "", idempotency_key: str | None = None) -> Balance:
        """Book a payment. With an `idempotency_key`, sending it again books nothing."""
        headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        body = build(CreditRequest, amount=amount, note=note)
        return self._http.one(Balance, "POST", _org(org, "credit"), body=body, headers=headers)

    def set_credit_limit(self, org: str, credit_limit: str) -> Balance:
        """How far the wallet may go below zero from now on."""
        body = build(CreditLimitRequest, credit_limit=credit_limit)
        return self._http.one(Balance, "PUT", _org(org, "credit-limit"), body=body)

    def get_balance(self, org: str) -> Balance:
        """What is available, held and settled at this moment."""
        return self._http.one(Balance, "GET", _org(org, "balance"))

    def list_entries(self, org: str, *, after: int | None = None, limit: int | None = None) -> list[Entry]:
        """Ledger entries of the wallet after the entry numbered `after`, oldest first."""
        return self._http.many(Entry, _org(org, "entries"), query={"after": after, "limit": limit})

    def create_project(self, org: str, name: str) -> Project:
        """A new project."""
        return self._http.one(Project, "POST", _org(org, "projects"), body=build(ProjectRequest, name=name))

    def list_projects(self, org: str) -> list[Project]:
        """The organization's projects."""
        return self._http.many(Project, _org(org, "projects"))

    def add_member(self, org: str, email: str, *, role: RoleName = "developer") -> Member:
        """A new member."""
        body = build(MemberRequest, email=email, role=role)
        return self._http.one(Member, "POST", _org(org, "members"), body=body)

    def list_members(self, org: str) -> list[Member]:
        """The organization's members."""
        return self._http.many(Member, _org(org, "members"))

    def set_role(self, org: str, member: str, role: RoleName) -> Member:
        """Give a member (email or id) another role."""
        path = _org(org, "members", segment(member))
        return self._http.one(Member, "PATCH", path, body=build(RoleRequest, role=role))

    def remove_member(self, org: str, member: str) -> Member:
        """Forget a member (email or id) and revoke its keys."""
        return self._http.one(Member, "DELETE", _org(org, "members", segment(member)))

    def create_key(  # noqa: PLR0913  each of these is a property of the key
        self,
        org: str,
        *,
        project: str | None = None,
        member: str | None = None,
        role: RoleName = "developer",
        name: str = "",
        budget: str | None = None,
        budget_period: PeriodName = "forever",
        rpm: int | None = None,
        tpm: int | None = None,
        concurrency: int | None = None,
        expires_at: str | None = None,
    ) -> KeyCreated:
        """A new key. Its `key` is shown this once and cannot be had again."""
        body = build(
            KeyRequest,
            project=project,
            member=member,
            role=role,
            name=name,
            budget=budget,
            budget_period=budget_period,
            rpm=rpm,
            tpm=tpm,
            concurrency=concurrency,
            expires_at=expires_at,
        )
        return self._http.one(KeyCreated, "POST", _org(org, "keys"), body=body)

    def list_keys(self, org: str) -> list[Key]:
        """The organization's keys, without their secrets."""
        return self._http.many(Key, _org(org, "keys"))

    def rotate_key(self, key_id: str, *, overlap_s: float = 0) -> KeyCreated:
        """A new secret for a key; the earlier one stays valid for `overlap_s` seconds."""
        body = build(RotateRequest, overlap_s=overlap_s)
        return self._http.one(KeyCreated, "POST", f"/api/keys/{segment(key_id)}/rotate", body=body)

    def revoke_key(self, key_id: str) -> Key:
        """End a key at once."""
        return self._http.one(Key, "DELETE", f"/api/keys/{segment(key_id)}")

    def set_budget(
        self,
        org: str,
        *,
        scope: ScopeName,
        cap: str,
        period: PeriodName,
        scope_id: str | None = None,
        hard: bool = True,
    ) -> Budget:
        """Cap what a scope may spend in each period; there is one budget of a scope and a period."""
        body = build(BudgetRequest, scope=scope, scope_id=scope_id, cap=cap, period=period, hard=hard)
        return self._http.one(Budget, "PUT", _org(org, "budgets"), body=body)

    def list_budgets(self, org: str) -> list[Budget]:
        """The organization's budgets, each with its present window."""
        return self._http.many(Budget, _org(org, "budgets"))

    def delete_budget(self, org: str, budget_id: str) -> Budget:
        """Cap no more."""
        return self._http.one(Budget, "DELETE", _org(org, "budgets", segment(budget_id)))

    def get_usage(
        self,
        org: str,
        *,
        project: str | None = None,
        key: str | None = None,
        start: str | None = None,
        end: str | None = None,
    ) -> Usage:
        """Sums of `[start, end)`, of a project or a key alone where one is named."""
        query = {"project": project, "key": key, "from": start, "to": end}
        return self._http.one(Usage, "GET", _org(org, "usage"), query=query)

    def list_records(self, org: str, *, before: str | None = None, limit: int | None = None) -> list[Record]:
        """Requests, newest first; `before` is the id of the last one of the page before."""
        return self._http.many(Record, _org(org, "records"), query={"before": before, "limit": limit})

    def get_invoice(self, org: str, *, month: str | None = None) -> Invoice:
        """The draft invoice of a month such as `2026-11`; left out: the present one."""
        return self._http.one(Invoice, "GET", _org(org, "invoice"), query={"month": month})

    def set_price(
        self,
        model: str,
        *,
        input: str,  # noqa: A002  the word of the price sheet
        output: str,
        cache_read: str | None = None,
        cache_write: str | None = None,
        effective_from: str | None = None,
        force: bool = False,
    ) -> Price:
        """Publish prices (dollars per million tokens), for good, from now or a later instant on."""
        body = build(
            PriceRequest,
            model=model,
            input=input,
            output=output,
            cache_read=cache_read,
            cache_write=cache_write,
            effective_from=effective_from,
            force=force,
        )
        return self._http.one(Price, "POST", "/api/prices", body=body)

    def list_prices(self) -> list[Price]:
        """Prices in force, and those that are to come."""
        return self._http.many(Price, "/api/prices")

    def create_deployment(  # noqa: PLR0913  each of these is a property of the deployment
        self,
        model: str,
        *,
        engine: EngineName,
        context: int,
        id: str | None = None,  # noqa: A002  the word of the deployment
        path: str | None = None,
        url: str | None = None,
        key_env: str | None = None,
        key_file: str | None = None,
        upstream_model: str | None = None,
        max_output: int | None = None,
        template_tokens: int | None = None,
        slots: int | None = None,
        replicas: int | None = None,
        priority: int | None = None,
        embeddings: bool | None = None,
        sku: str | None = None,
    ) -> Deployment:
        """Put a model on an engine; the server starts it. `context` and `max_output` are tokens."""
        body = build(
            DeploymentRequest,
            model=model,
            engine=engine,
            context=context,
            id=id,
            path=path,
            url=url,
            key_env=key_env,
            key_file=key_file,
            upstream_model=upstream_model,
            max_output=max_output,
            template_tokens=template_tokens,
            slots=slots,
            replicas=replicas,
            priority=priority,
            embeddings=embeddings,
            sku=sku,
        )
        return self._http.one(Deployment, "POST", "/api/deployments", body=body)

    def list_deployments(self) -> list[Deployment]:
        """Every deployment."""
        return self._http.many(Deployment, "/api/deployments")

    def drain_deployment(self, deployment_id: str) -> Deployment:
        """No new requests for it, and its end when the present ones have ended."""
        return self._http.one(Deployment, "POST", f"/api/deployments/{segment(deployment_id)}/drain")

    def delete_deployment(self, deployment_id: str) -> Deployment:
        """Forget it; where it still runs, it is drained first."""
        return self._http.one(Deployment, "DELETE", f"/api/deployments/{segment(deployment_id)}")

    def list_models(self) -> list[Model]:
        """What customers can name."""
        return self._http.many(Model, "/api/models")

    def list_gateways(self) -> list[Gateway]:
        """Every gateway that is at work or lost. For the operator."""
        return self._http.many(Gateway, "/api/gateways")

    def forget_gateway(self, name: str) -> ForgottenGateway:
        """Free what a lost gateway holds. For the operator."""
        return self._http.one(ForgottenGateway, "POST", f"/api/gateways/{segment(name)}/forget")

    def list_replicas(self) -> list[Replica]:
        """Running engines, and those that should be."""
        return self._http.many(Replica, "/api/replicas")

    def verify_ledger(self) -> Verification:
        """Check the whole ledger; this may take a while."""
        return self._http.one(Verification, "GET", "/api/ledger/verify", timeout_s=VERIFY_S)

    def get_ledger_head(self) -> Head:
        """The end of the ledger's log, to be kept elsewhere."""
        return self._http.one(Head, "GET", "/api/ledger/head")

    def get_status(self) -> Status:
        """How the server is."""
        return self._http.one(Status, "GET", "/api/status")


def _org(org: str, *rest: str) -> str:
    return "/".join(("/api/organizations", segment(org), *rest))
