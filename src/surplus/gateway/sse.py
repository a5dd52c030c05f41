"""Server-sent events as bytes: whole events go on as they came; nothing is parsed that need not be.

`whole` cuts at the last event boundary, so a half event is never passed on. `events` splits a block into events and
`payload` takes the data out of one (WHATWG HTML, section 9.2: lines `data:`, joined by newlines; comments start with a
colon; lines end in LF, CRLF or CR).
"""

import re
from typing import Final

EVENT_MAX: Final = 16 * 1024 * 1024
DONE: Final = b"data: [DONE]\n\n"

_boundary: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def whole(data: bytes) -> int:
    """Length of the part of `data` that ends with a complete event; 0 where no event is complete."""
    if data.endswith(b"\n\n"):
        return len(data)
    ends = (data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4, data.rfind(b"\r\r") + 2)
    starts = (1, 3, 1)  # what rfind's -1 becomes
    return max((end for end, none in zip(ends, starts, strict=True) if end != none), default=0)


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
    if event.startswith(b"data: ") and event.count(b"\n") <= 2:
        return event[6:].strip(b"\r\n")
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)


def event(data: bytes) -> bytes:
    """One event with this data."""
    return b"data: " + data + b"\n\n"
