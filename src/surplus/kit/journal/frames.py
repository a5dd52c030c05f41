"""How one record lies in a segment: u32 length, u32 checksum, payload; little endian. Pure functions over bytes.

The checksum is the CRC-32 of position, length and payload. The position is in it so that a frame is valid in one place
only: a renamed segment, or a payload that holds the bytes of another frame, is never taken for a record.
"""

from struct import Struct
from zlib import crc32

HEADER_BYTES = 8

_HEADER = Struct("<II")
_SEAL = Struct("<QI")


def encode(payload: bytes, position: int) -> bytes:
    """The frame of `payload` at journal position `position` (bytes)."""
    length = len(payload)
    return _HEADER.pack(length, crc32(payload, crc32(_SEAL.pack(position, length)))) + payload


def decode(data: bytes, offset: int, position: int) -> bytes | None:
    """The payload of the frame at `data[offset:]`, or None where no whole, valid frame of that position lies."""
    room = len(data) - offset - HEADER_BYTES
    if room < 0:
        return None
    length, checksum = _HEADER.unpack_from(data, offset)
    if length > room:
        return None
    payload = data[offset + HEADER_BYTES : offset + HEADER_BYTES + length]
    if crc32(payload, crc32(_SEAL.pack(position, length))) != checksum:
        return None
    return payload


def frame_bytes(data: bytes, offset: int) -> int:
    """The size that the header at `data[offset:]` claims for its frame; the header has to be there in full."""
    return HEADER_BYTES + _HEADER.unpack_from(data, offset)[0]


def valid_bytes(data: bytes, start: int) -> int:
    """How many bytes of `data`, which begins at journal position `start`, are valid frames without a gap."""
    offset = 0
    while (payload := decode(data, offset, start + offset)) is not None:
        offset += HEADER_BYTES + len(payload)
    return offset


def find_valid(data: bytes, offset: int, start: int, longest: int) -> int | None:
    """The offset of the first valid frame after `offset` with a payload of at most `longest` bytes, or None.

    Looks at every byte, because damage to a length loses the boundaries; `longest` keeps that from costing the square
    of the size.
    """
    if data.count(b"\0", offset) == len(data) - offset:
        return None  # a file that was extended but never filled; every offset would be tried for nothing
    for candidate in range(offset + 1, len(data) - HEADER_BYTES + 1):
        claimed = frame_bytes(data, candidate) - HEADER_BYTES
        if claimed <= longest and decode(data, candidate, start + candidate) is not None:
            return candidate
    return None
