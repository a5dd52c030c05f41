"""What the edge refuses, before anybody has looked at what is asked."""

from typing import ClassVar

from surplus.kit.errors import BadRequest, Limited, SurplusError, Unavailable


class Unreadable(BadRequest):
    """What came is not an HTTP/1.1 request."""


class HeadTooLarge(SurplusError):
    """The headers of the request are too many, or too long together."""

    status: ClassVar[int] = 431
    code = "head_too_large"


class UrlTooLong(SurplusError):
    """The address of the request is longer than this server reads."""

    status: ClassVar[int] = 414
    code = "url_too_long"


class RequestTooSlow(SurplusError):
    """The head or the body of the request did not arrive in time."""

    status: ClassVar[int] = 408
    code = "request_too_slow"


class TooManyConnections(Limited):
    """A key, or an address that has shown no key yet, has as many connections open as it may."""

    code = "too_many_connections"


class ConnectionsFull(Unavailable):
    """This server has as many connections open as it takes."""

    code = "connections_full"
