"""Where a URL leads, and the heads of requests that go there."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

_PORTS: Final = {"http": 80, "https": 443}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_AS_IT_IS: Final = "!#$%&'()*+,/:;=?@[]~"


class Origin(NamedTuple):
    """What one connection leads to. Connections of one origin are as good as each other."""

    tls: bool
    host: str
    port: int

    @property
    def numeric(self) -> bool:
        """Whether the host is an IP address, so that nothing has to be looked up."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


class Target:
    """A method and a URL. Keeps the head that it made last: as a rule the next request has the same fields."""

    __slots__ = ("_bodiless", "_fields", "_head", "_start", "origin")

    def __init__(self, method: str, url: str, *, reuse: bool) -> None:
        """Raises ValueError for what is no http or https URL."""
        assert _TOKEN.fullmatch(method)
        assert method not in {"HEAD", "CONNECT"}, "their answers have another form"
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("not the URL of an HTTP server")
        port = parts.port or _PORTS[parts.scheme]
        self.origin = Origin(parts.scheme == "https", parts.hostname, port)
        name = parts.hostname.encode("ascii" if self.origin.numeric else "idna").decode()
        host = f"[{name}]" if ":" in name else name
        host = host if port == _PORTS[parts.scheme] else f"{host}:{port}"
        path = quote(parts.path or "/", safe=_AS_IT_IS) + (
            f"?{quote(parts.query, safe=_AS_IT_IS)}" if parts.query else ""
        )
        close = "" if reuse else "connection: close\r\n"
        self._start = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{close}"
        self._bodiless = method == "GET"
        self._fields: dict[str, str] = {}
        self._head = self._start.encode()

    def head(self, fields: Mapping[str, str], body_size: int) -> bytes:
        """The head of a request. Raises ValueError for fields that cannot be sent; never repeats them."""
        if fields != self._fields:
            self._fields = dict(fields)
            self._head = (self._start + "".join(map(_line, fields, fields.values()))).encode("latin-1")
        if self._bodiless and not body_size:
            return self._head + b"\r\n"
        return b"%bcontent-length: %d\r\n\r\n" % (self._head, body_size)


def _line(name: str, value: str) -> str:
    if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError("a field of the request has a name or value that HTTP does not allow")
    return f"{name}: {value}\r\n"
