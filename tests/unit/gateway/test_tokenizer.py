"""Counting input exactly, with the tokenizers of our own engines."""

from typing import Any

import pytest

from tests.unit.gateway.parts import body, chat
from tests.unit.gateway.stage import CHAT, EMBED, TEXT, Opener, Stage
from tests.upstream import Fault

ENGINES = pytest.mark.parametrize("engine", ["vllm", "sglang", "llama-server"])
TALK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where is the café?"}]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


async def counted(stage: Stage, asked: Any, endpoint: Any = CHAT) -> int | None:
    counts = await stage.tokenizer.count(asked, endpoint)
    assert counts.keys() <= {"dep_0"}
    assert stage.replica("dep_0").in_flight == 0
    return counts.get("dep_0")


@ENGINES
@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (CHAT, {"messages": TALK}),
        (CHAT, {"messages": TALK, "tools": TOOLS}),
        (TEXT, {"prompt": "Where is the café?"}),
        (TEXT, {"prompt": [1, 2, 3, 4, 5]}),
        (EMBED, {"input": "Where is the café?"}),
        (EMBED, {"input": ["Where is", "the café?", ""]}),
        (EMBED, {"input": [[1, 2, 3], [4, 5]]}),
    ],
)
async def test_a_count_is_what_the_engine_reads(
    open_stage: Opener, engine: str, endpoint: Any, fields: dict[str, Any]
) -> None:
    stage, servers = await open_stage(engine)
    number = await counted(stage, body(**fields), endpoint)
    await stage.call(stage.wire(**fields), endpoint)
    assert number == servers[0].generations[0].prompt_tokens > 0


@ENGINES
async def test_a_model_is_asked_for_under_the_engine_s_own_name(open_stage: Opener, engine: str) -> None:
    stage, servers = await open_stage(engine)
    await counted(stage, chat())
    asked = [seen for seen in servers[0].requests if seen.path in {"/tokenize", "/apply-template"}]
    assert asked
    assert {seen.body.get("model", "tiny-upstream") for seen in asked} == {"tiny-upstream"}


async def test_llama_counts_the_special_tokens_that_it_adds_itself(open_stage: Opener) -> None:
    stage, servers = await open_stage("llama-server")
    for asked, endpoint in ((chat(), CHAT), (body(prompt="a"), TEXT)):
        await counted(stage, asked, endpoint)
    asked = [seen.body for seen in servers[0].requests if seen.path == "/tokenize"]
    assert [(one["add_special"], one["parse_special"]) for one in asked] == [(True, True)] * 2


@ENGINES
@pytest.mark.parametrize(
    "fault",
    [
        Fault.ServerError(500),
        Fault.NotFound(),
        Fault.CloseBeforeAnyByte(),
        Fault.ResetAfterHeaders(),
        Fault.HtmlWithStatus200(),
        Fault.EmptyBody(),
        Fault.TruncatedBody(),
        Fault.ErrorBodyWithStatus200(),
        Fault.MalformedJson(),
    ],
    ids=repr,
)
async def test_an_engine_that_does_not_say_is_no_reason_to_fail(open_stage: Opener, engine: str, fault: Any) -> None:
    stage, servers = await open_stage(engine)
    servers[0].plan(fault, path="/tokenize")
    assert await counted(stage, chat()) is None


async def test_a_provider_is_never_asked(open_stage: Opener) -> None:
    stage, servers = await open_stage("openai")
    assert await counted(stage, chat()) is None
    assert not [seen for seen in servers[0].requests if seen.path in {"/tokenize", "/v1/tokenize", "/apply-template"}]


async def test_each_deployment_counts_for_itself(open_stage: Opener) -> None:
    stage, servers = await open_stage("vllm", "openai", ("llama-server", {"replicas": 1}))
    counts = await stage.tokenizer.count(chat(), CHAT)
    assert set(counts) == {"dep_0", "dep_2"}
    servers[0].plan(Fault.ServerError(500), path="/tokenize")
    assert set(await stage.tokenizer.count(chat(), CHAT)) == {"dep_2"}
