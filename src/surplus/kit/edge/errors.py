"""What the edge refuses, before anybody has looked at what is asked."""

from surplus.kit.errors import BadRequest, Limited, Unavailable


class Unreadable(BadRequest):
    """What came is not an HTTP/1.1 request."""


class TooManyConnections(Limited):
    """A key, or an address that has shown no key yet, has as many connections open as it may."""

    code = "too_many_connections"


class ConnectionsFull(Unavailable):
    """This server has as many connections open as it takes."""

    code = "connections_full"
