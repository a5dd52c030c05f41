"""Events are whole, whatever the chunks they came in."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from surplus.gateway import sse
from tests.unit.gateway.parts import TRIES
from tests.unit.gateway.streams import ENDS, bytewise, cuts, read_events

LINES = st.one_of(
    st.binary(max_size=20).map(lambda raw: b"data: " + raw),
    st.binary(max_size=20).map(lambda raw: b"data:" + raw),
    st.sampled_from([b": comment", b":", b"event: message", b"id: 7", b"retry: 10", b"garbage", b"data: [DONE]"]),
).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))
LAST = b": nothing waits for the byte after a CR\n\n"
EVENTS = st.lists(LINES, min_size=1, max_size=3)


def written(found: list[list[bytes]], ends: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The events as one stream; each line ends as `ends` says."""
    lines = [line for event in found for line in (*event, b"")]
    return st.tuples(*(ends for _ in lines)).map(
        lambda chosen: b"".join(line + end for line, end in zip(lines, chosen, strict=True))
    )


STREAMS = st.lists(EVENTS, max_size=5).flatmap(
    lambda found: st.one_of(*(written(found, st.just(end)) for end in ENDS), written(found, st.sampled_from(ENDS)))
)


def pieces_read(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """What a reader takes out of the pieces: the data of whole events, and the bytes that were never whole."""
    rest, found = b"", []
    for piece in pieces:
        rest += piece
        end = sse.whole(rest)
        found += sse.events(rest[:end])
        rest = rest[end:]
    return [data for data in map(sse.payload, found) if data], rest


@TRIES
@given(STREAMS.flatmap(lambda stream: st.tuples(st.just(stream), cuts(stream))))
@example((b"data: a\r\n\r\ndata: b\r\r\rdata: c\n\n", [b"data: a\r\n\r", b"\ndata: b\r\r", b"\rdata: c\n", b"\n"]))
def test_any_chunking_gives_the_events_that_the_specification_gives(given_: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = given_
    found, rest = pieces_read([*pieces, LAST])
    assert found == [data for data in read_events(stream + LAST) if data]
    assert rest == b""


@TRIES
@given(STREAMS)
def test_every_byte_alone_gives_the_same(stream: bytes) -> None:
    assert pieces_read(list(bytewise(stream + LAST))) == pieces_read([stream + LAST])


@TRIES
@given(STREAMS, st.binary(max_size=30))
def test_a_half_event_is_never_whole(stream: bytes, tail: bytes) -> None:
    half = b"data: " + tail.replace(b"\r", b"").replace(b"\n", b"")
    for cut in range(len(half)):
        data = stream + half[: cut + 1]
        assert sse.whole(data) <= len(stream)
        block = data[: sse.whole(data)]
        assert all(event.endswith((b"\n", b"\r")) for event in sse.events(block))


@pytest.mark.parametrize(("first", "second"), list(itertools.product(ENDS, repeat=2)))
def test_any_two_ends_of_line_end_an_event(first: bytes, second: bytes) -> None:
    data = b"data: a" + first + second
    if (first, second) == (b"\r", b"\n"):
        assert sse.whole(data) == 0, "that is one CRLF"
        return
    following = data + b"data: b"
    assert sse.whole(following) == len(data)
    assert [sse.payload(event) for event in sse.events(data)] == [b"a"]
    assert sse.whole(data) == (0 if second == b"\r" else len(data))


def test_a_crlf_that_is_cut_in_two_is_one_end_of_line() -> None:
    assert pieces_read([b"data: a\r", b"\ndata: b\r\n\r", b"\ndata: c\r\n\r\n"])[0] == [b"a\nb", b"c"]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"data:  a \n\n", b" a "),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\rdata: b\r\r", b"a\nb"),
        (b"data: a\rid: 5\r\r", b"a"),
        (b"event: x\r\ndata: a\r\n\r\n", b"a"),
        (b"data: \ndata: x\n\n", b"\nx"),
        (b": data: a\n\n", b""),
        (b"event: ping\n\n", b""),
        (b"\n\n", b""),
        (b"database: a\n\n", b""),
        (b" data: a\n\n", b""),
    ],
)
def test_the_data_of_an_event(event: bytes, data: bytes) -> None:
    assert sse.payload(event) == data


def test_events_are_the_block_again() -> None:
    block = b": hello\n\ndata: a\r\n\r\nevent: x\ndata: b\n\n"
    assert sse.events(block) == [b": hello\n\n", b"data: a\r\n\r\n", b"event: x\ndata: b\n\n"]
    assert sse.event(b"{}") == b"data: {}\n\n"
    assert read_events(sse.DONE) == [b"[DONE]"]
