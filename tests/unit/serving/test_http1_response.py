"""One answer, fed in pieces of any size."""

import gc
from collections.abc import Iterator
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given

from surplus.serving.http1.response import HEAD_MAX, Response

HEAD = b"HTTP/1.1 200 OK\r\n"


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The data, cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        yield data[start:end]


def fed(parts: Iterator[bytes] | list[bytes]) -> tuple[Response, bytes]:
    """The answer after these parts, and the body that was taken on the way."""
    response, body = Response(), b""
    for part in parts:
        response.feed(part)
        body += response.take()
    return response, body


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=8),
    st.lists(st.integers(0, 2000), max_size=30),
    st.booleans(),
    st.booleans(),
)
def test_how_bytes_are_cut_into_reads_changes_nothing(
    chunks: list[bytes], cuts: list[int], chunked: bool, interim: bool
) -> None:
    whole = b"".join(chunks)
    if chunked:
        body = b"".join(b"%x;e=1\r\n%b\r\n" % (len(each), each) for each in chunks) + b"0\r\nX-Trailer: t\r\n\r\n"
        head = HEAD + b"X-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    else:
        body, head = whole, HEAD + b"X-A: 1\r\nContent-Length: %d\r\n\r\n" % len(whole)
    early = b"HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n" if interim else b""
    response, got = fed(pieces(early + head + body, cuts))
    assert (response.status, response.ready, response.ended, response.error) == (200, True, True, None)
    assert response.keep_alive
    assert got == whole
    assert response.headers["x-a"] == "1"
    assert not {"x-early", "x-trailer"} & set(response.headers)


@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=5), st.booleans())
def test_any_bytes_are_either_an_answer_or_an_error(junk: bytes, cuts: list[int], after_a_head: bool) -> None:
    start = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" if after_a_head else b""
    response, _ = fed(pieces(start + junk, cuts))
    response.close()
    assert response.over
    assert response.ended == (response.error is None)


@given(st.binary(min_size=1, max_size=20), st.integers(0, 200))
def test_what_follows_an_answer_is_not_part_of_it(more: bytes, cut: int) -> None:
    response, body = fed(pieces(HEAD + b"Content-Length: 2\r\n\r\nab" + more, [cut]))
    assert (body, response.ended, response.error) == (b"ab", True, None)
    assert not response.keep_alive or not more.strip(b"\r\n")


@given(st.integers(1, 3000), st.sampled_from([b"", HEAD, HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"]))
def test_what_is_no_body_is_bounded(size: int, start: bytes) -> None:
    response = Response()
    response.feed(start + b"HTTP/1.1 200 OK\r\nX: " if not start else start + b"X: ")
    sent = 0
    while response.error is None:
        response.feed(b"a" * size)
        sent += size
        assert sent < 2 * HEAD_MAX
    assert sent + size > HEAD_MAX - len(start) - 100


def test_a_head_in_one_read_has_the_same_limit() -> None:
    response = Response()
    response.feed(HEAD + b"X: " + b"a" * HEAD_MAX + b"\r\nContent-Length: 0\r\n\r\n")
    assert response.error is not None
    response = Response()
    response.feed(HEAD + b"X: " + b"a" * (HEAD_MAX - 100) + b"\r\nContent-Length: 0\r\n\r\n")
    assert response.ended


@pytest.mark.parametrize(
    ("head", "ended"),
    [
        (b"", True),
        (b"Transfer-Encoding: gzip\r\n", True),
        (b"Content-Length: 3\r\n", False),
        (b"Transfer-Encoding: Chunked\r\n", False),
    ],
)
def test_the_end_of_the_connection_ends_only_a_body_of_unstated_length(head: bytes, ended: bool) -> None:
    response, _ = fed([HEAD + head + b"\r\n"])
    assert not response.over
    response.close()
    assert (response.ended, response.error is None) == (ended, ended)
    assert not response.keep_alive


def test_the_bytes_before_an_error_can_be_taken() -> None:
    response = Response()
    response.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\nno size\r\n")
    assert response.error is not None
    assert response.take() == b"ab"
    assert response.take() == b""


def test_a_dropped_answer_has_nothing_and_did_not_end() -> None:
    response = Response()
    response.feed(HEAD + b"Content-Length: 2\r\n\r\nab")
    response.drop()
    assert response.take() == b""
    assert not response.ended
    assert response.error is not None


def test_a_long_stream_of_small_reads_is_no_excess() -> None:
    response = Response()
    response.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(HEAD_MAX):
        response.feed(b"1\r\n")
        response.feed(b"a\r\n")
        assert response.take() == b"a"
    assert response.error is None


def test_an_answer_that_is_over_leaves_nothing_for_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        for end in (b"Content-Length: 0\r\n\r\n", b"\r\n", b"nonsense"):
            response = Response()
            response.feed(HEAD + end)
            if not response.over:
                response.close()
        del response
        assert not [each for each in gc.get_objects() if isinstance(each, Response)]
    finally:
        gc.enable()


def test_what_is_held_is_counted_until_it_is_taken() -> None:
    response = Response()
    response.feed(HEAD + b"\r\n")
    response.feed(b"a" * 1000)
    response.feed(b"b" * 1000)
    assert response.held >= 2000
    assert response.unread
    assert response.take() == b"a" * 1000 + b"b" * 1000
    assert response.held == 0
    assert not response.unread
