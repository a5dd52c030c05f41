"""Frames: four bytes of length, then that many bytes of MessagePack."""

from enum import IntEnum
from typing import Final

import msgspec

LENGTH: Final = 4
FRAME_MAX: Final = 16 * 1024 * 1024
"""Bytes of one frame; a longer one is a fault, and ends the link that it comes over."""


class Kind(IntEnum):
    """What a frame is. HELLO and WELCOME open a link; a CALL has one ANSWER or ERROR with its number."""

    HELLO = 0
    WELCOME = 1
    CALL = 2
    ANSWER = 3
    ERROR = 4
    TELL = 5
    PUSH = 6


class Frame(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """`number` ties an answer to its call, `name` is the channel or topic."""

    kind: int
    number: int
    name: str
    payload: bytes


class BadFrame(Exception):
    """The bytes are no frame of ours; nothing that follows them can be read."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """The bytes of a frame, its length included. Raises ValueError for one that is too long to send."""
    body = _encoder.encode(frame)
    if len(body) > FRAME_MAX:
        raise ValueError(f"a frame of {len(body)} bytes is over the limit of {FRAME_MAX}")
    return len(body).to_bytes(LENGTH, "big") + body


class Splitter:
    """Bytes as they come in, frames out. Holds less than one frame."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now. Raises BadFrame."""
        whole: bytes | bytearray = data
        if self._rest:
            self._rest += data
            whole = self._rest
        frames, end = _split(whole)
        if whole is data:
            self._rest += data[end:]
        else:
            del self._rest[:end]
        return frames


def _split(data: bytes | bytearray) -> tuple[list[Frame], int]:
    """The whole frames at the beginning of `data`, and where they end."""
    frames: list[Frame] = []
    start, total = 0, len(data)
    with memoryview(data) as view:
        while total - start >= LENGTH:
            size = int.from_bytes(view[start : start + LENGTH], "big")
            if size > FRAME_MAX:
                raise BadFrame(f"a frame of {size} bytes is announced, and {FRAME_MAX} are the most")
            end = start + LENGTH + size
            if end > total:
                break
            with view[start + LENGTH : end] as body:
                try:
                    frames.append(_decoder.decode(body))
                except msgspec.DecodeError as error:
                    raise BadFrame(str(error)) from error
            start = end
    return frames, start
