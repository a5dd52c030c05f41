"""Errors that cross a link: what was raised on one side is raised on the other, as the same class where it is known."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from surplus.kit.errors import SurplusError, Unavailable


class LinkLost(Unavailable):
    """The other process did not answer. What was asked of it may have been done all the same."""

    code = "link_lost"


class _Sent(msgspec.Struct, array_like=True):
    """`kinds` are the names of the error's class and its bases, the nearest first; `facts` are its attributes."""

    kinds: list[str]
    facts: dict[str, Any]


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=str)  # a detail of some other type is words by the time it is read
_decoder: Final = msgspec.msgpack.Decoder(_Sent)
_known: Final[dict[str, type[SurplusError]]] = {}


def encode_error(error: SurplusError) -> bytes:
    """The bytes of an error, with all its attributes."""
    kinds = [_name(kind) for kind in type(error).__mro__ if issubclass(kind, SurplusError)]
    facts = {"code": error.code, "retryable": error.retryable, **vars(error)}
    return _encoder.encode(_Sent(kinds, facts))


def decode_error(data: bytes) -> SurplusError:
    """The error again. A class that is not known here becomes its nearest base that is, with the same status."""
    sent = _decoder.decode(data)
    kind = next((known for name in sent.kinds if (known := _find(name)) is not None), SurplusError)
    error = kind.__new__(kind, str(sent.facts["message"]))  # each class has a constructor of its own
    error.args = (str(sent.facts["message"]),)
    vars(error).update(sent.facts)
    return error


def _find(name: str) -> type[SurplusError] | None:
    if name not in _known:  # of a module that was loaded since, or of none
        _known.update((_name(kind), kind) for kind in _below(SurplusError))
    return _known.get(name)


def _below(kind: type[SurplusError]) -> Iterator[type[SurplusError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _below(below)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
