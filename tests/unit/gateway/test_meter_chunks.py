"""The chunks that a stream comes in change nothing of what the caller sees, or of what is metered."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from surplus.gateway.meter import StreamMeter
from surplus.serving.engines.dialects import DIALECTS
from surplus.serving.model import EngineKind
from tests.unit.gateway.following import LLAMA, OPENAI, VLLM, feed, follow, usages
from tests.unit.gateway.parts import TRIES
from tests.unit.gateway.streams import (
    DONE,
    bytewise,
    chunk,
    closing,
    cuts,
    event,
    llama,
    openai,
    read_events,
    usage,
    vllm,
)
from tests.unit.gateway.test_meter_ends import BAD

WORDS = st.lists(
    st.sampled_from(["a", " b", "[DONE]", '"finish_reason":null', "\n\n", "é", "\U0001f600", ""]), max_size=4
)
SAID = st.one_of(
    st.tuples(st.just(OPENAI), WORDS.map(openai), st.just(1)),
    st.tuples(st.just(VLLM), st.tuples(WORDS, WORDS).map(lambda words: vllm(*words)), st.just(2)),
    st.tuples(st.just(VLLM), WORDS.map(vllm), st.just(1)),
    st.tuples(st.just(LLAMA), WORDS.map(llama), st.just(1)),
    st.tuples(st.just(LLAMA), st.tuples(WORDS, WORDS).map(lambda words: llama(*words)), st.just(2)),
)
NOISE = st.one_of(
    st.sampled_from([b": keep-alive\n\n", b": x\r\n\r\n", event(None), b"event: ping\n\n", b"\n", b"id: 5\n\n"]),
    st.sampled_from([event(chunk("z", usage=None)), event(chunk("y", error=None)), event(closing(usage=usage(3, 1)))]),
    st.sampled_from([*BAD[:15], *BAD[16:], event({"error": {"message": "overloaded"}}), DONE]),
)
End = st.sampled_from(
    [DONE, b"", b"data: [DONE]", DONE + b": bye\n\n", DONE + event(chunk("late")), DONE.replace(b"\n", b"\r\n")]
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[EngineKind, int, bytes]:
    """An engine, its number of choices, and all it sends: mostly sound, sometimes with noise in it, sometimes cut."""
    engine, said, choices = draw(SAID)
    events = [event(payload) for payload in said]
    for place, noise in draw(st.lists(st.tuples(st.integers(0, len(events)), NOISE), max_size=2)):
        events.insert(place, noise)
    whole = b"".join(events) + draw(End)
    if draw(st.booleans()):
        whole = whole.replace(b"\n\n", b"\r\n\r\n")
    return engine, choices, whole[: draw(st.integers(0, len(whole)) | st.just(len(whole)))]


def outcome(engine: EngineKind, pieces: Sequence[bytes], *, asked: bool, choices: int) -> tuple[object, ...]:
    seen, meter = follow(engine, *pieces, asked=asked, choices=choices)
    error = None if meter.error is None else (type(meter.error), meter.error.message)
    return (
        read_events(seen),
        meter.usage,
        meter.final,
        meter.degraded,
        meter.events,
        meter.done,
        meter.complete,
        error,
    )


@TRIES
@given(streams(), st.booleans(), st.data())
def test_any_chunking_has_the_same_outcome(
    sent: tuple[EngineKind, int, bytes], asked: bool, data: st.DataObject
) -> None:
    engine, choices, stream = sent
    whole = outcome(engine, [stream], asked=asked, choices=choices)
    assert outcome(engine, data.draw(cuts(stream)), asked=asked, choices=choices) == whole
    assert outcome(engine, list(bytewise(stream)), asked=asked, choices=choices) == whole


@TRIES
@given(SAID, st.booleans(), st.data())
def test_the_bytes_of_a_sound_stream_are_the_same_in_any_chunks(
    said: tuple[EngineKind, list, int], asked: bool, data: st.DataObject
) -> None:
    engine, payloads, choices = said
    stream = b"".join(event(payload) for payload in payloads) + DONE
    seen, _ = follow(engine, stream, asked=asked, choices=choices)
    assert follow(engine, *data.draw(cuts(stream)), asked=asked, choices=choices)[0] == seen
    assert len(usages(seen)) == asked
    assert b"timings" not in seen


@TRIES
@given(streams(), st.booleans())
def test_a_caller_gets_whole_events_at_every_moment(sent: tuple[EngineKind, int, bytes], asked: bool) -> None:
    engine, choices, stream = sent
    meter = StreamMeter(DIALECTS[engine], include_usage=asked, choices=choices)
    seen = b""
    for piece in bytewise(stream):
        seen += feed(meter, [piece])
        assert not seen or seen.endswith((b"\n\n", b"\n\r\n", b"\r\r"))
    assert seen.count(b"data: [DONE]\n") <= 1
    assert not (meter.done and meter.error)
    if meter.done:
        assert seen.endswith(DONE)
