"""Members: the people of an organization."""

from typing import Literal

from surplus.wire.base import Answer, Instant, Name, Request

RoleName = Literal["operator", "admin", "developer", "finance"]


class MemberRequest(Request):
    """A new member."""

    email: Name
    role: RoleName = "developer"


class RoleRequest(Request):
    """What a member may do from now on. Keys of the member that may do more are revoked."""

    role: RoleName


class Member(Answer):
    """A member of the organization with the id `organization`."""

    id: str
    organization: str
    email: str
    role: RoleName
    created_at: Instant
