"""Projects: parts of an organization that keys and budgets can belong to."""

from surplus.wire.base import Answer, Instant, Name, Request


class ProjectRequest(Request):
    """A new project."""

    name: Name


class Project(Answer):
    """A project of the organization with the id `organization`."""

    id: str
    organization: str
    name: str
    created_at: Instant
