"""One parse and one splice of a request's body.

The top level of the JSON object is split into fields, each kept as the bytes the caller sent. Only the few fields that
decide about money and routing are decoded; the rest is passed on untouched, however large. Because the body that goes
upstream is put together from these fields, a field given twice cannot mean one thing to us and another to the engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from surplus.gateway.errors import BadBody

CHOICES_MAX: Final = 128
INPUTS_MAX: Final = 2048

_INPUTS: Final = "a string, a list of strings, a list of token ids, or a list of such lists"
_split: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class StreamOptions(msgspec.Struct):
    """The part of `stream_options` that we answer for."""

    include_usage: bool = False


_text: Final = msgspec.json.Decoder(str)
_flag: Final = msgspec.json.Decoder(bool | None)
_count: Final = msgspec.json.Decoder(int | None)
_options: Final = msgspec.json.Decoder(StreamOptions | None)
_inputs: Final = msgspec.json.Decoder(str | list[str | int | list[int]])


@dataclass(slots=True)
class Body:
    """A request body, split. `fields` maps each top-level name to its raw JSON."""

    fields: dict[str, bytes]
    size: int
    model: str
    stream: bool
    include_usage: bool

    @property
    def wants_logprobs(self) -> bool:
        """The caller asked for log probabilities."""
        return self.fields.get("logprobs", b"null") not in {b"null", b"false"}

    def count(self, name: str, *, least: int, most: int) -> int | None:
        """A whole number within `[least, most]`, or None where it is missing or null."""
        value = _decode(self.fields, name, _count, "a whole number")
        if value is not None and not least <= value <= most:
            message = f"`{name}` is {value}; it must be between {least} and {most}"
            raise BadBody(message, param=name)
        return value

    def inputs(self, name: str) -> int:
        """How many separate inputs a `prompt` or `input` field holds: a string or one list of token ids is one."""
        value: str | list[Any] | None = _decode(self.fields, name, _inputs, _INPUTS)
        if value is None:
            message = f"`{name}` is missing"
            raise BadBody(message, param=name)
        if isinstance(value, str):
            return 1
        kinds: set[type[Any]] = {type(item) for item in value}
        if len(kinds) > 1:  # engines differ in what they make of a mixture, and so in how many answers there are
            message = f"`{name}` must be {_INPUTS}, not a mixture"
            raise BadBody(message, param=name)
        if kinds == {int}:
            return 1
        if not value or len(value) > INPUTS_MAX:
            message = f"`{name}` holds {len(value)} inputs; send between 1 and {INPUTS_MAX}"
            raise BadBody(message, param=name)
        return len(value)

    def with_fields(self, changes: Mapping[str, bytes | None]) -> bytes:
        """The body as JSON with some fields set (raw JSON) or left out (None)."""
        fields = {**self.fields, **changes}
        return b"{" + b",".join(b'"%b":%b' % (_name(k), v) for k, v in fields.items() if v is not None) + b"}"


def _name(name: str) -> bytes:
    return msgspec.json.encode(name)[1:-1]


def _decode(fields: Mapping[str, bytes], name: str, decoder: msgspec.json.Decoder[Any], what: str) -> Any:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"`{name}` must be {what}"
        raise BadBody(message, param=name) from error


def parse(data: bytes) -> Body:
    """Split a request body. Raises BadBody where it is no JSON object, or names no model."""
    try:
        if not data.isascii():
            data.decode()  # the decoder checks only the strings that it keeps
        fields = {name: bytes(raw) for name, raw in _split.decode(data).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"the body is not a JSON object: {error}"
        raise BadBody(message) from error
    model = _decode(fields, "model", _text, "a string")
    if not model:
        message = "`model` is missing; name one of the models that GET /v1/models lists"
        raise BadBody(message, param="model")
    stream = _decode(fields, "stream", _flag, "true or false") or False
    options: StreamOptions | None = _decode(fields, "stream_options", _options, "an object")
    if options is not None and not stream:
        message = "`stream_options` is only allowed when `stream` is true"
        raise BadBody(message, param="stream_options")
    return Body(fields, len(data), model, stream, bool(options and options.include_usage))
