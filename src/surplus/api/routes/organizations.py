"""Organizations, their projects and their members."""

from fastapi import APIRouter

from surplus.api import outputs
from surplus.api.callers import AnyKey, ManagerOf, Operator, ReaderOf
from surplus.api.deps import Deps
from surplus.api.errors import declared
from surplus.api.inputs import dollars
from surplus.app import callers, members, organizations
from surplus.identity import service as identity
from surplus.identity.model import Role
from surplus.wire.members import Member, MemberRequest, RoleRequest
from surplus.wire.organizations import Organization, OrganizationRequest
from surplus.wire.projects import Project, ProjectRequest

router = APIRouter(prefix="/api/organizations", tags=["Organizations"])


@router.post("", status_code=201, summary="Create an organization", responses=declared(409))
async def create_organization(body: OrganizationRequest, _operator: Operator, deps: Deps) -> Organization:
    """A new customer, with its wallet and the credit that it has paid. For the operator."""
    made = await deps.change(
        organizations.create,
        deps.ids,
        body.name,
        credit_micro=dollars(body.credit, "credit"),
        limit_micro=dollars(body.credit_limit, "credit_limit"),
        now=deps.clock.now(),
    )
    return outputs.organization(made)


@router.get("", summary="List organizations", responses=declared())
async def list_organizations(key: AnyKey, deps: Deps) -> list[Organization]:
    """Every organization for the operator, the key's own for anybody else."""
    return [outputs.organization(one) for one in await deps.read(callers.reached, key)]


@router.get("/{org}", summary="Get an organization", responses=declared(404))
async def get_organization(caller: ReaderOf) -> Organization:
    """One organization by name or id."""
    return outputs.organization(caller.organization)


@router.post("/{org}/projects", status_code=201, summary="Create a project", responses=declared(404, 409))
async def create_project(body: ProjectRequest, caller: ManagerOf, deps: Deps) -> Project:
    """A new part of the organization, for keys and budgets. For its admins."""
    org = caller.organization.id
    made = await deps.change(identity.create_project, deps.ids, org=org, name=body.name, now=deps.clock.now())
    return outputs.project(made)


@router.get("/{org}/projects", summary="List projects", responses=declared(404))
async def list_projects(caller: ReaderOf, deps: Deps) -> list[Project]:
    """The organization's projects by name."""
    return [outputs.project(one) for one in await deps.read(identity.list_projects, caller.organization.id)]


@router.post("/{org}/members", status_code=201, summary="Add a member", responses=declared(404, 409))
async def add_member(body: MemberRequest, caller: ManagerOf, deps: Deps) -> Member:
    """A new member. For admins, who cannot give a role that may do more than their own."""
    now = deps.clock.now()
    made = await deps.change(members.add, deps.ids, caller, email=body.email, role=Role(body.role), now=now)
    return outputs.member(made)


@router.get("/{org}/members", summary="List members", responses=declared(404))
async def list_members(caller: ManagerOf, deps: Deps) -> list[Member]:
    """The organization's members by email. For its admins."""
    return [outputs.member(one) for one in await deps.read(identity.list_members, caller.organization.id)]


@router.patch("/{org}/members/{member:path}", summary="Change a member's role", responses=declared(404))
async def set_role(member: str, body: RoleRequest, caller: ManagerOf, deps: Deps) -> Member:
    """Another role for a member (email or id). Keys of the member that may do more than it allows are revoked."""
    now = deps.clock.now()
    return outputs.member(await deps.change(members.set_role, caller, member=member, role=Role(body.role), now=now))


@router.delete("/{org}/members/{member:path}", summary="Remove a member", responses=declared(404))
async def remove_member(member: str, caller: ManagerOf, deps: Deps) -> Member:
    """Forget a member (email or id) and revoke all its keys."""
    return outputs.member(await deps.change(members.remove, caller, member=member, now=deps.clock.now()))
