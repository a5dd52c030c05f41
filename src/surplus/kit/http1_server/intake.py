"""What arrives on a connection: heads and bodies, taken apart, measured, and refused where they break the rules."""

import asyncio
from typing import Final, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from surplus.kit.edge.errors import Unreadable
from surplus.kit.edge.limits import Limits, check_framing, check_head, check_head_size, check_url
from surplus.kit.edge.pace import Pace, Phase
from surplus.kit.errors import SurplusError
from surplus.kit.http1_server.exchange import Exchange
from surplus.kit.http1_server.head import Head, Headers, split_target

_UNREADABLE: Final = "this is no HTTP/1.1 request that can be read; check what sends it, and any proxy in between"
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class Owner(Protocol):
    """Who is told of requests."""

    def begin(self, head: Head) -> Exchange:
        """A head is whole. May raise a SurplusError, which refuses the request."""
        ...

    def complete(self, exchange: Exchange) -> None:
        """A request is whole."""
        ...


class Intake:
    """Fed with all that is read. `taking` is the request whose body is coming, `expects` that its sender waits to hear
    that the body is wanted, `pace` how fast it all arrives.
    """

    def __init__(self, owner: Owner, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self.pace = Pace(now, now)
        self.taking: Exchange | None = None
        self.expects = False
        self.target = b""
        self._owner = owner
        self._limits = limits
        self._loop = loop
        self._small = min(limits.head_bytes, limits.url_bytes)
        self._fields: Headers = []
        self._read = 0  # bytes of the piece that is being parsed
        self._begun = 0  # requests that began in it
        self._unparsed = 0  # bytes of a head without an end
        self._after_head = 0  # bytes since the last head
        self._upgrading = False
        # The parser calls methods of ours by name.
        self._parser: HttpRequestParser | None = HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Take what was read. Raises Unreadable, HeadTooLarge, UrlTooLong, and what `Owner.begin` raises; nothing can
        be fed then, or after `stop`.
        """
        parser = self._parser
        if parser is None:
            return
        before = self.pace.phase
        self._read, self._begun = len(data), 0
        try:
            parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except HttpParserError as error:
            raise _refusal(error) from error
        if self.pace.phase is Phase.HEAD:
            self._head_so_far(len(data), before)
        elif self.pace.phase is Phase.BODY and self._begun == 0 and before is Phase.BODY:
            self._after_head += len(data)
            check_framing(self._limits, self._after_head, self.pace.received)

    def stop(self) -> None:
        """Nothing more is read."""
        self._parser = None

    @property
    def stopped(self) -> bool:
        return self._parser is None

    def on_message_begin(self) -> None:
        self._begun += 1
        self.pace.head(self._loop.time())
        self.target = b""
        self._fields = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.pace.phase is Phase.HEAD:  # else it is a trailer, which nobody may take for a header
            self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.pace.body(self._loop.time())
        if self._upgrading:
            return
        parser, fields = self._parser, self._fields
        assert parser is not None
        if self._unparsed + self._read > self._small or len(fields) > self._limits.headers:
            check_head(self._limits, self.target, fields)
        self._unparsed = self._after_head = 0
        version = parser.get_http_version()
        if version not in _VERSIONS:
            raise Unreadable(_UNREADABLE)
        path, raw_path, query = split_target(self.target)
        method = parser.get_method().decode("ascii")
        self.expects = version == "1.1" and (b"expect", b"100-continue") in fields
        head = Head(method, path, raw_path, query, fields, version, parser.should_keep_alive())
        self.taking = self._owner.begin(head)

    def on_body(self, data: bytes) -> None:
        self.pace.more(len(data), self._loop.time())
        self.expects = False
        if self.taking is not None:
            self.taking.feed(data)

    def on_message_complete(self) -> None:
        parser, exchange = self._parser, self.taking
        if parser is None or exchange is None or (not self._upgrading and parser.should_upgrade()):
            return
        self._upgrading = self.expects = False
        self.taking = None
        self.pace.whole(self._loop.time())
        exchange.complete()
        self._owner.complete(exchange)

    def _head_so_far(self, size: int, before: Phase) -> None:
        """What has no end yet is in no callback either. Bytes that hold other requests too are not counted."""
        if self._begun == 0:
            self._unparsed += size
        else:
            self._unparsed = size if self._begun == 1 and before in {Phase.NEW, Phase.NOTHING} else 0
        check_url(self._limits, self.target)
        check_head_size(self._limits, self._unparsed)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """We speak no other protocol, so the request is one like any other (RFC 9110, section 7.8). The parser thinks
        that it has no body; another one is told that it has, and goes on from there.
        """
        if self.taking is None:
            raise Unreadable(_UNREADABLE)
        fields = [b"%b: %b\r\n" % field for field in self.taking.head.headers if field[0] in _FRAMING]
        self._upgrading = True
        self._parser = HttpRequestParser(self)
        try:
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(fields))
            if rest:
                self._parser.feed_data(rest)
        except HttpParserError as error:
            raise _refusal(error) from error


def _refusal(error: HttpParserError) -> SurplusError:
    """What a callback has raised, or that nobody can read this."""
    why = error.__context__
    return why if isinstance(why, SurplusError) else Unreadable(_UNREADABLE)
