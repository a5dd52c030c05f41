"""One answer as its bytes come in: the state of a message, without a connection."""

from collections.abc import Mapping
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

HEAD_MAX: Final = 64 * 1024
_PER_FIELD: Final = 4  # the colon, the blank and the end of the line
_BODILESS: Final = frozenset({204, 304})


class Response:
    """Fed with what a connection reads; gives out the body as it comes.

    `ready` once the head is here; `ended` after a clean end, and then `keep_alive` says whether the connection may
    be used again; `error` is what broke the answer off. `held` counts the bytes fed since the last `take`.

    Memory is bounded whatever comes: a head beyond HEAD_MAX bytes, and as many bytes in a row without one of a body
    (trailers, chunk extensions, interim answers), break the answer off; for the body, `held` tells when to stop.
    """

    __slots__ = (
        "_barren", "_fields", "_head_size", "_headers", "_parser", "_parts",
        "ended", "error", "held", "keep_alive", "on_body", "ready", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = 0
        self.ready = False
        self.ended = False
        self.keep_alive = False
        self.error: Exception | None = None
        self.held = 0
        self._barren = 0
        self._head_size = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._headers: Mapping[str, str] | None = None
        self._parts: list[bytes] = []
        # The parser calls these by name. Pieces of a body go straight into the list: no Python runs for each.
        self.on_body = self._parts.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    @property
    def headers(self) -> Mapping[str, str]:
        """The head's fields by lower-case name; of a repeated one, the last."""
        if self._headers is None:
            self._headers = {
                name.decode("latin-1").lower(): value.decode("latin-1").strip(" \t") for name, value in self._fields
            }
        return self._headers

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self.ended or self.error is not None

    @property
    def unread(self) -> bool:
        """Whether `take` would give anything."""
        return bool(self._parts)

    def feed(self, data: bytes) -> None:
        """Take what was read. Bytes after the end are nobody's, and spoil the connection."""
        parser = self._parser
        if parser is None:
            self.keep_alive = False
            return
        self.held += len(data)
        try:
            parser.feed_data(data)
        except HttpParserUpgrade:
            self.fail(ConnectionError("the engine changed to another protocol unasked"))
        except HttpParserError as error:
            self.fail(error.__context__ or error)
        if self.ended or self.error is not None:
            self._parser = None  # they hold each other; a collector should not have to find that out
        elif self._parts:
            self._barren = 0
        else:
            self._barren += len(data)
            if self._barren > HEAD_MAX:
                self.fail(_too_large())

    def take(self) -> bytes:
        """The body's bytes that came since the last time; b"" if none did."""
        parts = self._parts
        if not parts:
            return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.held = 0
        return data

    def close(self) -> None:
        """The other side has said that nothing more will come: the end of an answer of unstated length."""
        if not self.over and self.ready and self._length_is_open():
            self.ended = True
            self._parser = None
        self.fail(ConnectionError("the connection ended before the answer did"))

    def fail(self, error: BaseException) -> None:
        """Nothing more will come, and that is not as it should be; too late to matter after a clean end."""
        self._parser = None
        self.keep_alive = False
        if not self.over:
            self.error = error if isinstance(error, Exception) else ConnectionError(repr(error))

    def drop(self) -> None:
        """Nobody wants the rest, what has come included."""
        self._parts.clear()
        self.ended = False
        self.fail(ConnectionError("the answer was dropped"))

    def _length_is_open(self) -> bool:
        """RFC 9112, section 6.3: the body ends with the connection when nothing else says where."""
        coding = self.headers.get("transfer-encoding")
        if coding is not None:
            return not coding.lower().endswith("chunked")
        return "content-length" not in self.headers

    def on_message_begin(self) -> None:
        if self.ended:
            raise ConnectionError("a second answer came, to no request of ours")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + _PER_FIELD
        if self._head_size > HEAD_MAX:
            raise _too_large()
        if not self.ready:  # else it is a trailer
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        status = parser.get_status_code()
        if status < 200:  # an interim answer, 100 Continue for one; the real one follows
            self._fields.clear()
            return
        self.status = status
        self.keep_alive = parser.should_keep_alive()
        self.ready = True

    def on_message_complete(self) -> None:
        self.ended = self.ready


def _too_large() -> ConnectionError:
    return ConnectionError(f"more than {HEAD_MAX} bytes of an answer came that are not its body")
