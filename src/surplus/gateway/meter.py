"""Reads what an engine's answer says about itself: usage, progress, the end, errors.

A stream passes through as the bytes it came in. Every event is checked to be JSON, because upstream bytes are not
trusted; a whole block of events is checked at once, by joining it to one JSON array (no string in JSON can hold a line
break, so the joint cannot be forged). Only blocks that carry figures, an error or the end are looked at one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from surplus.gateway import sse
from surplus.gateway.errors import StreamBroken
from surplus.gateway.upstream_errors import from_error_object
from surplus.kit.errors import SurplusError
from surplus.metering.usage import MAX_TOKENS, TokenUsage
from surplus.serving.engines.dialects import Dialect


class Timings(msgspec.Struct):
    """llama.cpp's cumulative figures of one choice: prompt tokens computed and cached, tokens predicted."""

    prompt_n: int = 0
    cache_n: int = 0
    predicted_n: int = 0


class Choice(msgspec.Struct, gc=False):
    """The part of a choice that says whether it has ended."""

    index: int = 0
    finish_reason: str | None = None


class Chunk(msgspec.Struct, gc=False):
    """The part of a stream chunk that we read. A raw field that is missing is empty."""

    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    timings: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_NO_ERROR: Final = frozenset({b"", b"null", b"false", b"{}", b'""'})


class PlainChunk(msgspec.Struct, gc=False):
    """A chunk that carries neither figures nor an error; one that does is no PlainChunk."""

    choices: list[Choice] | None = None
    usage: None = None
    error: None = None


class OpenChoice(msgspec.Struct, gc=False):
    """A choice that has not ended."""

    index: int = 0
    finish_reason: None = None


class OpenChunk(msgspec.Struct, gc=False):
    """A PlainChunk that ends no choice, as nearly all of them are."""

    choices: list[OpenChoice] | None = None
    usage: None = None
    error: None = None


_open_block: Final = msgspec.json.Decoder(list[OpenChunk])
_plain_block: Final = msgspec.json.Decoder(list[PlainChunk])
_chunk: Final = msgspec.json.Decoder(Chunk | None)
_timings: Final = msgspec.json.Decoder(Timings | None)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_JOINT: Final = b"\n\ndata: "
_JOINT_SAVES: Final = len(_JOINT) - 1
CLOSING_EVENTS: Final = 3
"""The reason to finish, the usage, and [DONE]: what most streams end with."""


class StreamMeter:
    """Follows one stream. `feed` takes upstream's bytes and gives back those that the caller should see.

    The stream answers `inputs` prompts with `choices` answers each.
    """

    def __init__(self, dialect: Dialect, *, include_usage: bool, choices: int, inputs: int = 1) -> None:
        self._dialect = dialect
        self._include_usage = include_usage
        self._choices = choices
        self._answers = inputs * choices
        self._sum_choices = dialect.per_choice and self._answers > 1
        self._each = dialect.every_chunk is not None
        self._running: dict[int, TokenUsage] = {}  # of each answer, from engines that tell while they work
        self._index = 0  # of the answer that the last chunk was about
        self._rest = b""
        self._told_usage = False  # the caller has got the usage that it asked for
        self._envelope: dict[str, msgspec.Raw] | None = None  # of the last chunk with usage that the caller did not get
        self._unfinished: set[int] = set(range(self._answers))
        self.usage: TokenUsage | None = None
        self.degraded = False
        self.final = False  # the usage is the engine's last word
        self.done = False  # the stream said [DONE]
        self.error: SurplusError | None = None
        self.events = 0

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; returns whole events for the caller, and nothing after `done` or `error`."""
        if self.done or self.error is not None:
            return b""
        if self._rest:
            data = self._rest + data
        end = sse.whole(data)
        self._rest = data[end:]
        block = data[:end] if self._rest else data
        plain = 0 if self._each or not block else self._plain(block)
        if plain < len(block):
            block = block[:plain] + b"".join([self._event(event) for event in sse.events(block[plain:])])
        if len(self._rest) > sse.EVENT_MAX and not self.done:
            self._broken("the engine sent an event without an end")
        return block

    def end(self) -> bytes:
        """The last events for the caller: the usage, if it asked and has not got it, and [DONE]."""
        return self._usage_event() + sse.DONE

    @property
    def complete(self) -> bool:
        """Every choice has said why it finished, so the answer is whole even without a closing [DONE]."""
        if self._unfinished or self.error is not None:
            return self.done
        return self.done or sse.payload(self._rest) in {b"", b"[DONE]"}

    def _broken(self, message: str) -> bytes:
        """What follows cannot be trusted. What came before it stands. An error of the engine's own comes first."""
        self.error = self.error or StreamBroken(message)
        return b""

    def _plain(self, block: bytes) -> int:
        """How much of the block, from its beginning, is well-formed chunks that the caller may see as they are.

        What is not plain comes last in a stream: the usage and the end. So all of the block is tried, then all but its
        last few events.
        """
        end = len(block)
        if not (block.startswith(b"data: ") and block.endswith(b"\n\n")):
            return 0
        if b"[DONE]" in block[-16:]:
            for _ in range(CLOSING_EVENTS):
                end = block.rfind(b"\n\n", 0, end - 2) + 2
        return end if end > 1 and self._all_plain(block[:end]) else 0

    def _all_plain(self, block: bytes) -> bool:
        joined = block[6:-2].replace(_JOINT, b",")
        if b"\n" in joined:  # an event that is no JSON by itself, or an uncommon one
            return False
        joined = b"[%b]" % joined
        try:
            if not block.isascii():
                block.decode()  # the decoders check only the strings that they keep
            chunks = _open_or_plain(joined)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        count = (len(block) - len(joined) - 6) // _JOINT_SAVES + 1
        if len(chunks) != count:
            return False
        if type(chunks[0]) is PlainChunk:
            for chunk in chunks:
                self._finish(chunk)
        self.events += count
        return True

    def _finish(self, chunk: Chunk | PlainChunk | OpenChunk) -> None:
        for choice in chunk.choices or ():
            if choice.finish_reason:
                self._unfinished.discard(choice.index)

    def _event(self, event: bytes) -> bytes:
        data = sse.payload(event)
        if not data or self.done or self.error is not None:
            return b""  # comments and pings are ours to send; what follows the end is not for the caller
        if data.strip() == b"[DONE]":
            self.done = True
            return self.end()
        try:
            chunk = _chunk.decode(data)
            _check_text(data)
            timings = _timings.decode(chunk.timings) if chunk is not None and self._timed(chunk) else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._broken("the engine sent a malformed event; the answer up to here is all there is")
        if chunk is None:  # llama.cpp opens a completion stream with `null`
            return b""
        if bytes(chunk.error) not in _NO_ERROR:
            self.error = from_error_object(bytes(chunk.error))
            return b""
        self._finish(chunk)
        return self._measured(event, data, chunk, timings)

    def _timed(self, chunk: Chunk) -> bool:
        """We asked for the timings of this chunk; those that an engine sends unasked are not ours to judge."""
        return bool(chunk.timings) and self._dialect.every_chunk == "timings"

    def _measured(self, event: bytes, data: bytes, chunk: Chunk, timings: Timings | None) -> bytes:
        if chunk.choices:
            self._index = min(max(chunk.choices[0].index, 0), self._answers - 1)
        if timings is not None:  # those of a closing chunk belong to the choice that has just finished
            self._progress(
                TokenUsage(_tokens(timings.prompt_n), _tokens(timings.cache_n), 0, _tokens(timings.predicted_n))
            )
        closing = chunk.usage is not None and not chunk.choices
        if chunk.usage is not None and not self._sum_choices:
            self._take_usage(chunk.usage, closing=closing)
        self.events += not closing
        keep_usage = self._include_usage and closing and not self._sum_choices
        self._told_usage = self._told_usage or keep_usage
        if (chunk.usage is None or keep_usage or not self._each) and not self._timed(chunk):
            if closing and not keep_usage:
                return b""
            return event
        return self._cleaned(data, chunk, closing=closing, keep_usage=keep_usage)

    def _take_usage(self, given: dict[str, Any], *, closing: bool) -> None:
        usage, mended = TokenUsage.from_openai(given)
        self.degraded = self.degraded or mended
        if not usage.input:  # no prompt is empty: these are no figures
            return
        if self._dialect.every_chunk == "usage" and not closing:
            self._progress(usage)
        else:
            self.usage, self.final = usage, True

    def _progress(self, usage: TokenUsage) -> None:
        """One answer has come so far. Engines count each answer alone until their last word, which is about all."""
        self._running[self._index] = usage
        if not self.final:
            self.usage = _together(self._running, self._choices)

    def _cleaned(self, data: bytes, chunk: Chunk, *, closing: bool, keep_usage: bool) -> bytes:
        """The chunk without the figures that only we asked for; nothing, if it held nothing else."""
        fields = _fields.decode(data)
        fields.pop("timings", None)
        if not keep_usage and fields.pop("usage", None) is not None and chunk.usage is not None:
            self._envelope = fields
            if closing:
                return b""
        return sse.event(msgspec.json.encode(fields))

    def _usage_event(self) -> bytes:
        """The usage in a closing chunk, where the caller asked for one and the engine has its own way of telling."""
        if self._sum_choices:
            self.final = self.usage is not None
        if not self._include_usage or self._told_usage or self._envelope is None or self.usage is None:
            return b""
        usage = msgspec.Raw(msgspec.json.encode(openai_usage(self.usage)))
        return sse.event(msgspec.json.encode({**self._envelope, "choices": [], "usage": usage}))


def _open_or_plain(block: bytes) -> Sequence[OpenChunk | PlainChunk]:
    """The chunks of a JSON array; all of one kind. Raises msgspec.DecodeError."""
    try:
        return _open_block.decode(block)
    except msgspec.ValidationError:
        return _plain_block.decode(block)


def _tokens(count: int) -> int:
    """A count of tokens that can be true: an engine's figures are not trusted."""
    return min(max(count, 0), MAX_TOKENS)


def _check_text(data: bytes) -> None:
    """Raises UnicodeDecodeError: the decoders check only the strings that they keep."""
    if not data.isascii():
        data.decode()


def _together(running: Mapping[int, TokenUsage], choices: int) -> TokenUsage:
    """Usage of several answers: those to one prompt (`choices` each) share its input, and each has its own output."""
    if len(running) == 1:
        return next(iter(running.values()))
    prompts: dict[int, TokenUsage] = {}
    for index, usage in running.items():
        prompts.setdefault(index // choices, usage)
    return TokenUsage(
        uncached=sum(usage.uncached for usage in prompts.values()),
        cache_read=sum(usage.cache_read for usage in prompts.values()),
        cache_write=sum(usage.cache_write for usage in prompts.values()),
        output=sum(usage.output for usage in running.values()),
        reasoning=sum(usage.reasoning for usage in running.values()),
    )


def openai_usage(usage: TokenUsage) -> dict[str, Any]:
    """A usage object as OpenAI writes it: `prompt_tokens` includes what came from the cache."""
    prompt = usage.uncached + usage.cache_read + usage.cache_write
    return {
        "prompt_tokens": prompt,
        "completion_tokens": usage.output,
        "total_tokens": prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    }
