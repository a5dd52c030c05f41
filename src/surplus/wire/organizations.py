"""Organizations: customers, and the operator."""

from surplus.wire.base import Answer, Dollars, Instant, Name, Request


class OrganizationRequest(Request):
    """A new customer, with what it has paid in advance and how far it may go below zero."""

    name: Name
    credit: Dollars = "0"
    credit_limit: Dollars = "0"


class Organization(Answer):
    """A customer, or the operator."""

    id: str
    name: str
    created_at: Instant
