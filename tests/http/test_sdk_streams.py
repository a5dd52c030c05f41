"""Streams through the official SDK."""

import json
from typing import Any

import openai
import pytest

from surplus.metering.model import Outcome
from surplus.settings import Gateway
from tests.http.harness import PROMPT, Shop, quick
from tests.http.reading import BODIES, GENERATING, chat, read_stream
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1, keepalive_s=0.1))
STORES = ("sqlite", "postgres")

SAID = [{"role": "user", "content": PROMPT}]
ENGINES = ("openai", "vllm", "llama-server")
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}},
}


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_chat_streams_token_by_token(open_shop, engine: str) -> None:
    shop = await open_shop(engine)
    stream = await (await shop.sdk()).chat.completions.create(model=shop.model, messages=SAID, stream=True)
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-1]] == _words(shop)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 13 + ["stop"]
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1
    record = await shop.only_record()
    assert (record.usage.output, record.outcome, record.degraded) == (12, Outcome.COMPLETED, False)
    assert record.first_token_at is not None


def _words(shop: Shop) -> list[str]:
    text = "Hello, the café is open — tea ☕ and 日本 cake"
    assert shop.upstream.generations[0].generated_tokens == 12
    pieces = ["Hello", ",", " the", " café", " is", " open", " —", " tea", " ☕", " and", " 日本", " cake"]
    assert "".join(pieces) == text
    return pieces


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", GENERATING)
async def test_c12_usage_is_metered_although_the_caller_did_not_ask(open_shop, engine: str, path: str) -> None:
    """The engine is always asked; the caller sees no chunk without choices that it did not ask for."""
    shop = await open_shop(engine)
    seen = read_stream((await shop.post(path, BODIES[path](shop.model, stream=True))).content)
    assert shop.upstream.generations[0].body["stream_options"]["include_usage"] is True
    assert all(chunk["choices"] for chunk in seen.chunks)
    assert not seen.usage
    assert not any("timings" in chunk for chunk in seen.chunks)
    record = await shop.only_record()
    assert (record.usage.output, record.usage.input) == (12, shop.upstream.usage.prompt)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", GENERATING)
async def test_the_usage_chunk_comes_once_to_whoever_asks(open_shop, engine: str, path: str) -> None:
    shop = await open_shop(engine)
    body = BODIES[path](shop.model, stream=True, stream_options={"include_usage": True})
    seen = read_stream((await shop.post(path, body)).content)
    (usage,) = seen.usage
    assert (usage["completion_tokens"], usage["prompt_tokens"]) == (12, shop.upstream.usage.prompt)
    assert seen.chunks[-1]["choices"] == []


async def test_the_sdk_reads_the_usage_that_it_asked_for(shop: Shop) -> None:
    sdk = await shop.sdk()
    options = {"include_usage": True}
    stream = await sdk.chat.completions.create(model=shop.model, messages=SAID, stream=True, stream_options=options)
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage.completion_tokens == 12
    assert all(chunk.usage is None for chunk in chunks[:-1])


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_choices_of_a_stream_are_all_charged(open_shop, engine: str) -> None:
    shop = await open_shop(engine)
    body = chat(shop.model, stream=True, n=3, max_tokens=4, stream_options={"include_usage": True})
    seen = read_stream((await shop.post("/chat/completions", body)).content)
    assert seen.tokens == 12
    assert [usage["completion_tokens"] for usage in seen.usage] == [12]
    record = await shop.only_record()
    assert (record.usage.output, record.degraded) == (12, False)


async def test_tool_calls_stream_with_their_index(shop: Shop) -> None:
    sdk = await shop.sdk()
    stream = await sdk.chat.completions.create(model=shop.model, messages=SAID, tools=[WEATHER], stream=True)
    parts = [chunk.choices[0].delta.tool_calls or [] async for chunk in stream]
    calls = [call for part in parts for call in part]
    assert {call.index for call in calls} == {0}
    assert json.loads("".join(call.function.arguments or "" for call in calls)) == {"city": "Paris"}
    assert (await shop.only_record()).usage.output == shop.upstream.usage.completion


async def test_the_streaming_helper_of_the_sdk_works(shop: Shop) -> None:
    sdk = await shop.sdk()
    async with sdk.chat.completions.stream(model=shop.model, messages=SAID) as stream:
        said = [event.delta async for event in stream if event.type == "content.delta" and event.delta]
        final = await stream.get_final_completion()
    assert said == _words(shop)
    assert final.choices[0].message.content.startswith("Hello")


async def test_completions_stream(shop: Shop) -> None:
    stream = await (await shop.sdk()).completions.create(model=shop.model, prompt=PROMPT, stream=True, max_tokens=5)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "Hello, the café is"


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_error_in_a_stream_is_raised_by_the_sdk(open_shop, engine: str) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.CutAfter(4))
    heard: list[object] = []
    stream = await (await shop.sdk()).chat.completions.create(model=shop.model, messages=SAID, stream=True)
    with pytest.raises(openai.APIError, match="incomplete") as error:
        await _listen(stream, heard)
    assert error.value.code == "stream_interrupted"
    assert len(heard) == 4
    record = await shop.only_record()
    assert (record.outcome, record.status) == (Outcome.FAILED, 502)


async def _listen(stream: openai.AsyncStream[Any], heard: list[object]) -> None:
    async for chunk in stream:
        heard.append(chunk)  # noqa: PERF401  what came before the error counts


async def test_a_silent_stream_is_kept_alive_with_comments(shop: Shop) -> None:
    shop.upstream.plan(Fault.StallAfter(3))
    async with (await shop.client()).stream("POST", "/chat/completions", json=chat(shop.model, stream=True)) as answer:
        body = b""
        async for part in answer.aiter_bytes():
            body += part
            if b": keep-alive" in body:
                shop.upstream.release()
    seen = read_stream(body)
    assert seen.comments >= 1
    assert seen.tokens == 12


async def test_streams_are_marked_for_proxies_and_browsers(shop: Shop) -> None:
    answer = await shop.post("/chat/completions", chat(shop.model, stream=True))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"].startswith("req_")
