"""Faults of what the reply says, seen from a bare socket."""

import json

import pytest

from tests.upstream import CATALOGUE, Fault
from tests.upstream.answers import Traits, answer, chat_ask
from tests.upstream.raw_client import chat, chat_body

HUGE = str(30 * 24 * 3600)
NOT_FAULTS = {"healthy"}


async def test_malformed_json_in_one_event_and_the_stream_goes_on(upstream):
    upstream.plan(Fault.MalformedJson(2))
    heard = await chat(upstream)
    frames = [frame.removeprefix(b"data: ") for frame in heard.body.split(b"\n\n")[:-2]]
    broken = [place for place, frame in enumerate(frames) if not _is_json(frame)]
    assert broken == [2]
    assert heard.body.endswith(b"data: [DONE]\n\n")


async def test_malformed_json_as_the_whole_body(upstream):
    upstream.plan(Fault.MalformedJson())
    heard = await chat(upstream, stream=False)
    assert heard.complete
    assert not _is_json(heard.body)


async def test_garbage_between_events(upstream):
    upstream.plan(Fault.MalformedSse(2))
    heard = await chat(upstream)
    assert heard.body.split(b"\n\n")[2] == b"\x00\x01garbage {]\x7f"
    assert heard.complete
    assert len(heard.events) == 16


@pytest.mark.parametrize("fields", [{}, {"stream": False}], ids=["stream", "whole"])
async def test_invalid_utf8_in_the_text(upstream, fields):
    upstream.plan(Fault.InvalidUtf8())
    heard = await chat(upstream, **fields)
    assert heard.body.count(b'"content":"\xff\xfe') == 1
    with pytest.raises(UnicodeDecodeError):
        heard.body.decode()


async def test_an_error_as_the_first_event(upstream):
    upstream.plan(Fault.ErrorEventFirst())
    heard = await chat(upstream)
    assert (heard.status, heard.header("content-type")) == (200, "text/event-stream")
    assert [event["error"]["code"] for event in heard.events] == ["overloaded"]
    assert heard.complete


@pytest.mark.parametrize("done", [False, True])
async def test_an_error_in_mid_stream_ends_it(upstream, done):
    upstream.plan(Fault.ErrorEventAfter(3, done=done))
    heard = await chat(upstream)
    assert "error" in heard.events[3]
    assert heard.events[4:] == (["[DONE]"] if done else [])
    assert heard.complete
    assert upstream.requests[0].usage.completion == 2


async def test_no_done(upstream):
    upstream.plan(Fault.NoDone())
    heard = await chat(upstream)
    assert heard.events[-1]["usage"]["completion_tokens"] == 12
    assert heard.complete


@pytest.mark.parametrize("stream", [True, False])
async def test_no_finish_reason(upstream, stream):
    upstream.plan(Fault.NoFinishReason())
    heard = await chat(upstream, stream)
    documents = heard.events[:-1] if stream else [heard.json]
    assert {choice["finish_reason"] for document in documents for choice in document["choices"]} == {None}


@pytest.mark.parametrize("stream", [True, False])
async def test_wrong_content_type(upstream, stream):
    upstream.plan(Fault.WrongContentType("application/octet-stream"))
    heard = await chat(upstream, stream)
    assert heard.header("content-type") == "application/octet-stream"
    assert heard.complete


@pytest.mark.parametrize("stream", [True, False])
async def test_status_200_with_an_error_body(upstream, stream):
    upstream.plan(Fault.ErrorBodyWithStatus200())
    heard = await chat(upstream, stream)
    assert (heard.status, heard.header("content-type")) == (200, "application/json")
    assert heard.json["error"]["type"] == "server_error"


@pytest.mark.parametrize("stream", [True, False])
async def test_status_200_with_html(upstream, stream):
    upstream.plan(Fault.HtmlWithStatus200())
    heard = await chat(upstream, stream)
    assert (heard.status, heard.header("content-type")) == (200, "text/html")
    assert heard.body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("stream", [True, False])
async def test_status_200_with_nothing(upstream, stream):
    upstream.plan(Fault.EmptyBody())
    heard = await chat(upstream, stream)
    assert (heard.status, heard.header("content-length"), heard.body) == (200, "0", b"")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.RateLimited(), 429, "rate_limit_exceeded"),
        (Fault.ServerError(500), 500, "internal_error"),
        (Fault.ServerError(502), 502, "internal_error"),
        (Fault.ServerError(503), 503, "internal_error"),
        (Fault.ContextLengthExceeded(), 400, "context_length_exceeded"),
        (Fault.ContentFiltered(), 400, "content_filter"),
        (Fault.NotFound(), 404, "model_not_found"),
        (Fault.TooLarge(), 413, None),
        (Fault.RejectsStreamOptions(), 400, "unknown_parameter"),
    ],
)
async def test_refusals_carry_status_and_code_and_cost_nothing(upstream, fault, status, code):
    upstream.plan(fault)
    heard = await chat(upstream)
    assert (heard.status, heard.json["error"]["code"]) == (status, code)
    assert heard.complete
    assert heard.header("retry-after") is None
    assert upstream.requests[0].usage == upstream.usage == type(upstream.usage)()


@pytest.mark.parametrize("wait", ["1", HUGE, "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_retry_after_is_sent_as_it_stands(upstream, wait):
    upstream.plan(Fault.RateLimited(wait))
    assert (await chat(upstream)).header("retry-after") == wait


async def test_401_in_the_shape_of_vllm(upstream):
    upstream.plan(Fault.Unauthorized())
    heard = await chat(upstream)
    assert (heard.status, heard.json) == (401, {"error": "Unauthorized"})


async def test_a_server_error_as_a_page_of_a_proxy(upstream):
    upstream.plan(Fault.ServerError(529, html=True))
    heard = await chat(upstream)
    assert (heard.status, heard.header("content-type")) == (529, "text/html")


async def test_stream_options_are_refused_only_where_they_are(upstream):
    upstream.always(Fault.RejectsStreamOptions())
    assert (await chat(upstream, stream=False)).status == 200


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - NOT_FAULTS))
def test_every_behaviour_changes_the_answer(name):
    ask = chat_ask("chatcmpl-1", chat_body())
    behaviour = CATALOGUE[name]()
    assert behaviour.edit(answer(ask, behaviour.shape(Traits()))) != answer(ask, Traits())


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
