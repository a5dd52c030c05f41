"""The healthy upstream through the official SDK, and what it records."""

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, InternalServerError, NotFoundError

from tests.upstream import Fault, FaultDoesNotApplyError, FaultyUpstream, Outcome, Usage, tokens
from tests.upstream.raw_client import MESSAGES, chat_body, dialled, request, said

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            },
        },
    }
]
WITH_USAGE = {"include_usage": True}
PROMPT_TOKENS = len(tokens.split(tokens.apply_template(MESSAGES, [])))


async def streamed(client: AsyncOpenAI, **fields):
    stream = await client.chat.completions.create(
        **{"model": "tiny-chat", "messages": MESSAGES, "stream": True, **fields}
    )
    return [chunk async for chunk in stream]


def text_of(chunks, index: int = 0) -> str:
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(delta.content or "" for delta in deltas)


def finishes_of(chunks) -> list[str | None]:
    return [choice.finish_reason for chunk in chunks for choice in chunk.choices]


async def test_a_chat_answer_has_text_usage_and_the_truth_in_the_record(upstream, client):
    answer = await client.chat.completions.create(model="tiny-chat", messages=MESSAGES)
    text = answer.choices[0].message.content
    assert (answer.choices[0].message.role, answer.choices[0].finish_reason) == ("assistant", "stop")
    assert answer.usage.completion_tokens == len(tokens.split(text)) == 12
    assert answer.usage.total_tokens == PROMPT_TOKENS + 12
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    seen = upstream.requests[0]
    assert answer.id == seen.id
    assert seen.usage == Usage(prompt=PROMPT_TOKENS, completion=12)
    assert (seen.outcome, seen.disconnected, seen.sent_tokens) == (Outcome.ANSWERED, False, 12)


async def test_a_stream_says_the_same_as_a_whole_answer(client):
    whole = await client.chat.completions.create(model="tiny-chat", messages=MESSAGES)
    assert text_of(await streamed(client)) == whole.choices[0].message.content


async def test_a_stream_keeps_its_id_and_names_role_and_end_once(client):
    chunks = await streamed(client)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert finishes_of(chunks) == [None] * (len(chunks) - 1) + ["stop"]


async def test_a_stream_reports_usage_only_when_asked(client):
    assert all(chunk.usage is None and chunk.choices for chunk in await streamed(client))
    *rest, last = await streamed(client, stream_options=WITH_USAGE)
    assert all(chunk.usage is None and chunk.choices for chunk in rest)
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (PROMPT_TOKENS, 12)


async def test_continuous_usage_is_cumulative_when_asked(client):
    asked = {"include_usage": True, "continuous_usage_stats": True}
    chunks = await streamed(client, stream_options=asked)
    assert [chunk.usage.completion_tokens for chunk in chunks] == [*range(13), 12, 12]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_limit_ends_the_answer(client, field):
    answer = await client.chat.completions.create(model="tiny-chat", messages=MESSAGES, **{field: 5})
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (5, "length")


async def test_offered_tools_get_one_call_in_pieces(upstream, client):
    chunks = await streamed(client, tools=TOOLS, stream_options=WITH_USAGE)
    calls = [call for chunk in chunks[:-1] for call in chunk.choices[0].delta.tool_calls or ()]
    assert {call.index for call in calls} == {0}
    assert calls[0].function.name == "weather"
    assert calls[0].id
    assert len(calls) > 4
    whole = await client.chat.completions.create(model="tiny-chat", messages=MESSAGES, tools=TOOLS)
    message = whole.choices[0].message
    assert "".join(call.function.arguments for call in calls) == message.tool_calls[0].function.arguments
    assert message.tool_calls[0].function.arguments == '{"city": "Paris", "days": 3}'
    assert message.content is None
    assert finishes_of(chunks)[-1] == whole.choices[0].finish_reason == "tool_calls"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == len(calls)
    assert upstream.requests[0].usage == upstream.requests[1].usage


@pytest.mark.parametrize(("thought", "limit"), [(0, 1), (0, 3), (3, 3), (3, 4)])
async def test_the_limit_ends_a_tool_call_too(upstream, client, thought, limit):
    upstream.plan(Fault.Reasoning(thought))
    answer = await client.chat.completions.create(model="tiny-chat", messages=MESSAGES, tools=TOOLS, max_tokens=limit)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == upstream.requests[0].usage.completion == limit


async def test_a_tool_result_gets_an_answer_in_words(client):
    result = [*MESSAGES, {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    answer = await client.chat.completions.create(model="tiny-chat", messages=result, tools=TOOLS)
    assert answer.choices[0].finish_reason == "stop"


async def test_n_choices_are_interleaved_and_all_counted(upstream, client):
    chunks = await streamed(client, n=3, max_tokens=4, stream_options=WITH_USAGE)
    assert text_of(chunks, 0) == text_of(chunks, 2) == "Hello, the café"
    assert [chunk.choices[0].index for chunk in chunks[3:9]] == [0, 1, 2, 0, 1, 2]
    assert chunks[-1].usage.completion_tokens == upstream.requests[0].usage.completion == 12
    whole = await client.chat.completions.create(model="tiny-chat", messages=MESSAGES, n=3, max_tokens=4)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]


async def test_logprobs_come_when_asked(client):
    answer = await client.chat.completions.create(
        model="tiny-chat", messages=MESSAGES, logprobs=True, top_logprobs=2, max_tokens=3
    )
    content = answer.choices[0].logprobs.content
    assert "".join(item.token for item in content) == answer.choices[0].message.content
    assert [len(item.top_logprobs) for item in content] == [2, 2, 2]
    chunks = await streamed(client, logprobs=True, max_tokens=3)
    assert [len(chunk.choices[0].logprobs.content) for chunk in chunks if chunk.choices[0].logprobs] == [1, 1, 1]


async def test_completions_stream_and_whole(client):
    whole = await client.completions.create(model="tiny-chat", prompt=["One", "Two"], max_tokens=4, logprobs=1)
    assert [(choice.index, choice.text) for choice in whole.choices] == [(0, "Hello, the café"), (1, "Hello, the café")]
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (2, 8)
    assert whole.choices[0].logprobs.tokens == ["Hello", ",", " the", " café"]
    stream = await client.completions.create(model="tiny-chat", prompt=[1, 2, 3], stream=True, max_tokens=4)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello, the café"
    assert finishes_of(chunks) == [None] * 4 + ["length"]


async def test_embeddings_are_the_same_as_floats_and_as_base64(upstream, client):
    encoded = await client.embeddings.create(model="tiny-chat", input=["One", "Two words"])
    floats = await client.embeddings.create(model="tiny-chat", input=["One", "Two words"], encoding_format="float")
    assert upstream.requests[0].body["encoding_format"] == "base64"
    assert [item.embedding for item in encoded.data] == [item.embedding for item in floats.data]
    assert encoded.usage.prompt_tokens == upstream.requests[0].usage.prompt == 3


async def test_documents_in_llamacpp_shapes(upstream, client):
    assert [model.id async for model in client.models.list()] == ["tiny-chat"]
    async with httpx.AsyncClient(base_url=upstream.root) as http:
        assert (await http.get("/health")).json() == {"status": "ok"}
        prompt = (await http.post("/apply-template", json={"messages": MESSAGES})).json()["prompt"]
        ids = (await http.post("/tokenize", json={"content": prompt})).json()["tokens"]
        pieces = (await http.post("/tokenize", json={"content": prompt, "with_pieces": True})).json()["tokens"]
    assert len(ids) == PROMPT_TOKENS
    assert [piece["id"] for piece in pieces] == ids
    assert "".join(piece["piece"] for piece in pieces) == prompt
    assert upstream.generations == []


async def test_tokens_are_counted_in_vllms_shape_too(upstream):
    async with httpx.AsyncClient(base_url=upstream.root) as http:
        chat = (await http.post("/tokenize", json={"model": "tiny-chat", "messages": MESSAGES})).json()
        text = (await http.post("/tokenize", json={"model": "tiny-chat", "prompt": "Two words"})).json()
    assert (chat["count"], len(chat["tokens"])) == (PROMPT_TOKENS, PROMPT_TOKENS)
    assert text["count"] == 2


async def test_bad_bodies_and_paths_are_refused(upstream, client):
    with pytest.raises(BadRequestError):
        await client.post("/chat/completions", body={"model": "tiny-chat"}, cast_to=httpx.Response)
    with pytest.raises(NotFoundError):
        await client.get("/nothing", cast_to=httpx.Response)
    async with dialled(upstream, request("/v1/chat/completions", None, "GET")) as heard:
        assert (await heard.closed()).status == 405
    assert upstream.usage == Usage()


async def test_the_record_holds_the_request_as_it_came(upstream):
    sent = request("/v1/chat/completions?beta=true", chat_body(stream=False))
    async with dialled(upstream, sent) as heard:
        await heard.closed()
    seen = upstream.requests[0]
    assert (seen.method, seen.path, seen.query) == ("POST", "/v1/chat/completions", "beta=true")
    assert seen.headers["host"] == "upstream"
    assert sent.endswith(seen.raw)
    assert seen.body == chat_body(stream=False)


async def test_connections_are_kept_and_each_request_has_its_own_id(upstream, client):
    for _ in range(3):
        await streamed(client)
    assert {seen.connection for seen in upstream.requests} == {1}
    assert list(upstream.generated_tokens.values()) == [12, 12, 12]
    assert upstream.usage == Usage(prompt=3 * PROMPT_TOKENS, completion=36)


async def test_plans_are_used_in_order_and_not_by_health_checks(upstream, client):
    upstream.plan(Fault.ServerError(503), Fault.Healthy(), (Fault.Answer(3), Fault.Cached(4)))
    await client.models.list()
    with pytest.raises(InternalServerError):
        await streamed(client)
    assert len(tokens.split(text_of(await streamed(client)))) == 12
    last = await client.chat.completions.create(model="tiny-chat", messages=MESSAGES)
    assert (last.usage.completion_tokens, last.usage.prompt_tokens_details.cached_tokens) == (3, 4)
    assert upstream.requests[-1].usage == Usage(PROMPT_TOKENS, 4, 3)


async def test_a_plan_for_a_path_waits_for_that_path(upstream, client):
    upstream.plan(Fault.ServerError(503), path="/health")
    await streamed(client)
    async with httpx.AsyncClient(base_url=upstream.root) as http:
        assert [(await http.get("/health")).status_code for _ in range(2)] == [503, 200]


async def test_always_lasts_until_healed(upstream, client):
    upstream.always(Fault.ServerError(500))
    for _ in range(2):
        with pytest.raises(InternalServerError):
            await streamed(client)
    upstream.heal()
    assert text_of(await streamed(client))


async def test_tags_choose_faults_from_the_last_user_message(upstream):
    heard = await said(upstream, "Hi [[fault=answer:7]] and [[fault=no_usage]]", stream=False)
    assert "usage" not in heard.json
    assert upstream.requests[0].usage.completion == 7
    assert upstream.requests[0].faults == (Fault.Answer(7), Fault.NoUsage())


async def test_a_tag_with_a_name_is_for_that_upstream_alone():
    async with FaultyUpstream("first") as first, FaultyUpstream("second") as second:
        text = "[[fault=server_error:502@first]]"
        assert ((await said(first, text)).status, (await said(second, text)).status) == (502, 200)


async def test_a_once_tag_bites_on_the_first_request_with_that_text(upstream):
    text = "[[once=server_error:500]] number one"
    assert [(await said(upstream, text)).status for _ in range(2)] == [500, 200]
    assert (await said(upstream, text + " and two")).status == 500


async def test_a_fault_that_cannot_bite_fails_the_test():
    upstream = FaultyUpstream()
    await upstream.start()
    upstream.plan(Fault.CutAfter(99))
    assert (await said(upstream, "Hi")).raw == b""
    with pytest.raises(FaultDoesNotApplyError, match="ends before event 99"):
        await upstream.__aexit__(None, None, None)
    assert upstream.requests[0].outcome is Outcome.BROKEN


async def test_an_unknown_tag_fails_the_test():
    with pytest.raises(FaultDoesNotApplyError, match="no fault is called 'cut'"):
        async with FaultyUpstream() as upstream:
            await said(upstream, "[[fault=cut:3]]")


async def test_a_stopped_upstream_refuses_and_comes_back_on_its_port(upstream):
    url = upstream.url
    upstream.plan(Fault.StallAfter(2))
    async with dialled(upstream, request("/v1/chat/completions", chat_body())) as heard:
        await (await upstream.arrived()).holding.wait()
        await upstream.stop()
        await heard.closed()
        assert not heard.complete
    assert upstream.requests[0].outcome is Outcome.BROKEN
    with pytest.raises(ConnectionRefusedError):
        await said(upstream, "Hi")
    await upstream.start()
    assert upstream.url == url
    assert (await said(upstream, "Hi")).complete
