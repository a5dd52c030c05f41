"""Server-sent events as bytes: whole events go on as they came; nothing is parsed that need not be.

`whole` cuts at the last event boundary, so a half event is never passed on. `events` splits a block into events and
`payload` takes the data out of one (WHATWG HTML, section 9.2: lines `data:`, joined by newlines; comments start with a
colon; lines end in LF, CRLF or CR, in any mixture).
"""

import re
from typing import Final

EVENT_MAX: Final = 16 * 1024 * 1024
DONE: Final = b"data: [DONE]\n\n"

_boundary: Final = re.compile(rb"\n\r?\n|\n\r|\r\r\n?")  # two ends of line; the first may be the LF of a CRLF


def whole(data: bytes) -> int:
    """Length of the part of `data` that ends with a complete event; 0 where no event is complete."""
    if data.endswith(b"\n\n"):
        return len(data)
    if b"\r" not in data:
        head, boundary, _ = data.rpartition(b"\n\n")
        return len(head) + len(boundary)
    known = len(data) - data.endswith(b"\r")  # a CR at the very end may be one half of a CRLF
    return max((match.end() for match in _boundary.finditer(data) if match.end() <= known), default=0)


def events(block: bytes) -> list[bytes]:
    """The complete events of a block, each with its boundary; put together they are the block again."""
    out: list[bytes] = []
    start = 0
    for match in _boundary.finditer(block):
        out.append(block[start : match.end()])
        start = match.end()
    return out


def payload(event: bytes) -> bytes:
    """The data of one event; empty for comments and events without data."""
    if event.startswith(b"data: "):
        data = event[6:].rstrip(b"\r\n")
        if b"\n" not in data and b"\r" not in data:
            return data
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)


def event(data: bytes) -> bytes:
    """One event with this data."""
    return b"data: " + data + b"\n\n"
