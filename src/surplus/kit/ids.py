"""Ids are injected, so that tests can name what they make.

An id is a prefix that says what it names, and 26 characters that sort by time of making (the layout of ULID:
48 bits of milliseconds, 80 random bits, Crockford's base 32 in lower case).
"""

import os
from typing import Protocol

from surplus.kit.clock import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_FIVE_BITS = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))


class Ids(Protocol):
    """A source of new ids and secrets."""

    def new(self, prefix: str) -> str:
        """A fresh id such as `org_01kag3…`."""
        ...

    def secret(self) -> str:
        """160 random bits as 32 characters."""
        ...


def _encode(number: int, length: int) -> str:
    out = ""
    for _ in range(length):
        out = _ALPHABET[number & 31] + out
        number >>= 5
    return out


def _random(length: int) -> str:
    """Characters of 5 random bits each."""
    return os.urandom(length).translate(_FIVE_BITS).decode()


class RandomIds:
    """Ids from the machine's random source and a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stamp = (-1, "")

    def new(self, prefix: str) -> str:
        ms = int(self._clock.now() * 1000)
        stamp = self._stamp  # one object, because the event loop and the database threads make ids at the same time
        if stamp[0] != ms:  # encoding the time once a millisecond keeps this off the hot path
            self._stamp = stamp = (ms, _encode(ms, 10))
        return f"{prefix}_{stamp[1]}{_random(16)}"

    def secret(self) -> str:
        return _random(32)


class CountedIds:
    """Ids that count up per prefix: `org_1`, `org_2`; for tests."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def new(self, prefix: str) -> str:
        self._next[prefix] = self._next.get(prefix, 0) + 1
        return f"{prefix}_{self._next[prefix]}"

    def secret(self) -> str:
        return _encode(int(self.new("secret").removeprefix("secret_")), 32)
