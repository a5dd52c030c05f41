"""Whole answers through the official SDK, as a developer uses it."""

import asyncio
import json

import openai
import pytest

from surplus.metering.model import Outcome
from tests.http.harness import PROMPT, Shop
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = [{"role": "user", "content": PROMPT}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PLACE = {
    "type": "json_schema",
    "json_schema": {"name": "place", "strict": True, "schema": {"type": "object", "properties": {}}},
}


async def test_a_chat_is_answered_metered_and_charged(shop: Shop) -> None:
    reply = await (await shop.sdk()).chat.completions.create(model=shop.model, messages=SAID)
    seen = shop.upstream.generations[0]
    assert reply.choices[0].message.content.startswith("Hello, the café")
    assert reply.usage.completion_tokens == seen.generated_tokens == 12
    assert reply.usage.prompt_tokens == seen.prompt_tokens
    record = await shop.record(shop.heard[0])
    assert (record.usage.input, record.usage.output, record.outcome) == (seen.prompt_tokens, 12, Outcome.COMPLETED)
    assert record.charged_micro == 2 * seen.prompt_tokens + 8 * 12
    assert (record.endpoint, record.stream, record.status) == ("chat.completions", False, 200)
    assert record.engine_request_id == seen.id == reply.id


def _ask(shop: Shop) -> openai.types.chat.ChatCompletion:
    with openai.OpenAI(base_url=shop.live.url, api_key=shop.secret.token, max_retries=0) as sdk:
        return sdk.chat.completions.create(model=shop.model, messages=SAID)


async def test_the_sdk_without_asyncio_works_as_well(shop: Shop) -> None:
    reply = await asyncio.to_thread(_ask, shop)
    assert reply.usage.completion_tokens == 12
    assert (await shop.only_record()).usage.output == 12


async def test_the_engine_gets_the_callers_fields_as_they_were(shop: Shop) -> None:
    sdk = await shop.sdk()
    extra = {"vendor_field": {"x": [1, 2.50, "é"]}}
    await sdk.chat.completions.create(
        model=shop.model, messages=SAID, temperature=0.25, stop=["\n"], seed=7, user="u", extra_body=extra
    )
    sent = shop.upstream.generations[0].body
    wanted = {"messages": SAID, "temperature": 0.25, "stop": ["\n"], "seed": 7, "user": "u", **extra}
    assert {name: sent[name] for name in wanted} == wanted
    assert sent["model"] == "tiny-chat"
    assert shop.secret.token not in repr(shop.upstream.generations[0])


async def test_tools_are_called_and_their_results_sent_back(shop: Shop) -> None:
    sdk = await shop.sdk()
    reply = await sdk.chat.completions.create(model=shop.model, messages=SAID, tools=[WEATHER])
    (call,) = reply.choices[0].message.tool_calls
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.choices[0].message.content is None
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    turns = [*SAID, reply.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    second = await sdk.chat.completions.create(model=shop.model, messages=turns, tools=[WEATHER])
    assert second.choices[0].finish_reason == "stop"
    assert shop.upstream.generations[1].body["messages"][1]["tool_calls"][0]["id"] == call.id
    charged = [(await shop.record(answer)).usage.output for answer in shop.heard]
    assert charged == [seen.generated_tokens for seen in shop.upstream.generations]


@pytest.mark.parametrize("engine", ["openai", "vllm"])
async def test_every_choice_is_answered_and_charged(open_shop, engine: str) -> None:
    shop = await open_shop(engine)
    reply = await (await shop.sdk()).chat.completions.create(model=shop.model, messages=SAID, n=3, max_tokens=5)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert [choice.finish_reason for choice in reply.choices] == ["length"] * 3
    assert (await shop.only_record()).usage.output == 15 == shop.upstream.usage.completion


async def test_log_probabilities_pass_through(shop: Shop) -> None:
    sdk = await shop.sdk()
    reply = await sdk.chat.completions.create(model=shop.model, messages=SAID, logprobs=True, top_logprobs=2)
    scored = reply.choices[0].logprobs.content
    assert len(scored) == 12
    assert [len(token.top_logprobs) for token in scored] == [2] * 12


async def test_log_probabilities_that_only_we_need_are_not_shown(open_shop) -> None:
    """llama.cpp reports the usage of one choice; we count all of them by asking for log probabilities."""
    shop = await open_shop("llama-server")
    reply = await (await shop.sdk()).chat.completions.create(model=shop.model, messages=SAID, n=2)
    assert shop.upstream.generations[0].body["logprobs"] is True
    assert [choice.logprobs for choice in reply.choices] == [None, None]
    assert reply.usage.completion_tokens == 24
    assert (await shop.only_record()).usage.output == 24


async def test_a_json_schema_passes_through(shop: Shop) -> None:
    await (await shop.sdk()).chat.completions.create(model=shop.model, messages=SAID, response_format=PLACE)
    assert shop.upstream.generations[0].body["response_format"] == PLACE


async def test_cached_and_reasoning_tokens_reach_the_caller_and_the_bill(shop: Shop) -> None:
    shop.upstream.plan((Fault.Cached(4), Fault.Reasoning(5)))
    reply = await (await shop.sdk()).chat.completions.create(model=shop.model, messages=SAID)
    assert reply.usage.prompt_tokens_details.cached_tokens == 4
    assert reply.usage.completion_tokens_details.reasoning_tokens == 5
    usage = (await shop.only_record()).usage
    assert (usage.cache_read, usage.reasoning, usage.output) == (4, 5, 17)


@pytest.mark.parametrize("prompt", ["Once upon a time", ["One.", "Two words."], [1, 2, 3]], ids=["text", "list", "ids"])
async def test_completions_are_answered_and_charged(shop: Shop, prompt: object) -> None:
    reply = await (await shop.sdk()).completions.create(model=shop.model, prompt=prompt, max_tokens=5)
    seen = shop.upstream.generations[0]
    assert [choice.text for choice in reply.choices] == ["Hello, the café is"] * (2 if prompt[0] == "One." else 1)
    record = await shop.only_record()
    assert (record.usage.input, record.usage.output) == (seen.prompt_tokens, 5 * len(reply.choices))
    assert record.endpoint == "completions"


@pytest.mark.parametrize("inputs", ["one text", ["one", "two", "three"]], ids=["text", "list"])
async def test_embeddings_are_answered_and_charged_for_their_input(shop: Shop, inputs: object) -> None:
    reply = await (await shop.sdk()).embeddings.create(model=shop.model, input=inputs)
    assert len(reply.data) == (3 if isinstance(inputs, list) else 1)
    assert reply.data[0].embedding == [(place - 4) / 4 for place in range(8)]
    record = await shop.only_record()
    assert (record.usage.input, record.usage.output) == (shop.upstream.generations[0].prompt_tokens, 0)
    assert (record.endpoint, record.charged_micro) == ("embeddings", 2 * record.usage.input)


async def test_models_are_listed_and_retrieved(shop: Shop) -> None:
    sdk = await shop.sdk()
    listed = {model.id: model async for model in sdk.models.list()}
    assert shop.model in listed
    one = await sdk.models.retrieve(shop.model)
    assert (one.id, one.object, one.owned_by) == (shop.model, "model", "surplus")
    assert one.created > 1_700_000_000
    assert one == listed[shop.model]
    assert not shop.upstream.generations


async def test_c10_a_stream_and_a_whole_answer_of_the_same_request_cost_the_same(shop: Shop) -> None:
    sdk = await shop.sdk()
    await sdk.chat.completions.create(model=shop.model, messages=SAID)
    async for _ in await sdk.chat.completions.create(model=shop.model, messages=SAID, stream=True):
        pass
    whole, stream = [await shop.record(answer) for answer in shop.heard]
    assert (whole.stream, stream.stream) == (False, True)
    assert whole.usage == stream.usage
    assert whole.cost_grains == stream.cost_grains > 0
