"""The body that goes to an engine says what was paid for, under whatever name."""

import json
from typing import Any

import pytest

from surplus.gateway.body import Body, parse
from surplus.gateway.endpoints import ENDPOINTS
from surplus.gateway.errors import BadBody
from surplus.gateway.upstream_body import sums_choices, upstream_body
from surplus.serving.engines.dialects import DIALECTS
from surplus.serving.model import EngineKind
from tests.unit.gateway.parts import body, bounds, chat, deployment

OWNED = [kind for kind in EngineKind if kind.owned]
CHAT, TEXT, EMBED = (ENDPOINTS[path] for path in ("/chat/completions", "/completions", "/embeddings"))


def sent(asked: Body, engine: EngineKind = EngineKind.OPENAI, endpoint: Any = CHAT) -> dict[str, Any]:
    where = deployment(engine, max_output=77)
    return json.loads(upstream_body(asked, endpoint.bounds(asked), endpoint, where, DIALECTS[engine]))


@pytest.mark.parametrize("engine", list(EngineKind))
def test_the_model_is_the_engine_s_own_and_the_rest_is_the_caller_s(engine: EngineKind) -> None:
    fields = {"temperature": 0.25, "tools": [{"type": "function"}], "user": "é", "seed": 2**63, "max_tokens": 5}
    asked = chat(**fields)
    assert sent(asked, engine) == {
        **fields,
        "model": "tiny-upstream",
        "messages": [{"role": "user", "content": "hello"}],
    }


@pytest.mark.parametrize("engine", list(EngineKind))
@pytest.mark.parametrize("endpoint", [CHAT, TEXT])
@pytest.mark.parametrize("given", [{}, {"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": None}])
def test_where_no_limit_is_given_the_deployment_s_is_sent(engine: EngineKind, endpoint: Any, given: dict) -> None:
    said = sent(body(prompt="x", messages=[], **given), engine, endpoint)
    assert (said["max_tokens"], "max_completion_tokens" in said) == (77, False)


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 6, "max_completion_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
        ({"max_tokens": None, "max_completion_tokens": 6}, 6),
    ],
)
def test_the_limit_that_is_sent_is_the_one_that_was_held_for(given: dict[str, Any], limit: int) -> None:
    asked = chat(**given)
    assert CHAT.bounds(asked).output == limit
    for engine in OWNED:  # some versions of our engines know only the older name
        said = sent(asked, engine)
        assert (said.get("max_tokens"), said.get("max_completion_tokens")) == (limit, None)
    said = sent(asked)
    assert [value for name, value in said.items() if name.startswith("max_")] == [limit]


def test_a_provider_gets_the_name_that_its_model_may_insist_on() -> None:
    assert "max_completion_tokens" in sent(chat(max_completion_tokens=6))
    assert "max_tokens" in sent(chat(max_tokens=6))


@pytest.mark.parametrize("engine", list(EngineKind))
def test_a_limit_under_a_name_of_another_endpoint_is_not_sent(engine: EngineKind) -> None:
    """llama.cpp takes `max_completion_tokens` before `max_tokens`, also where only the latter exists."""
    asked = body(prompt="x", max_tokens=3, max_completion_tokens=100_000)
    assert TEXT.bounds(asked).output == 3
    said = sent(asked, engine, TEXT)
    assert (said["max_tokens"], "max_completion_tokens" in said) == (3, False)


def test_a_name_in_escapes_is_no_way_around_a_limit() -> None:
    asked = parse(rb'{"model":"tiny","messages":[],"max_tokens":3,"max_\u0074okens":5,"n_pr\u0065dict":9}')
    assert CHAT.bounds(asked).output == 5
    assert sent(asked, EngineKind.LLAMACPP) == {"model": "tiny-upstream", "messages": [], "max_tokens": 5}


@pytest.mark.parametrize("engine", list(EngineKind))
def test_fields_that_change_what_is_held_for_are_dropped(engine: EngineKind) -> None:
    dropped = DIALECTS[engine].drop
    said = sent(chat(stream=True, max_tokens=5, **dict.fromkeys(dropped, 1)), engine)
    left = set(said) & dropped
    assert left == ({"timings_per_token"} if DIALECTS[engine].every_chunk == "timings" else set())
    assert said.get("timings_per_token", True) is True, "ours, not the caller's"


def test_the_known_ways_to_get_more_than_was_held_for_are_dropped() -> None:
    for engine in (EngineKind.LLAMACPP, EngineKind.LLAMA_SERVER):
        assert {"n_predict", "n_cmpl", "ignore_eos", "id_slot", "t_max_predict_ms"} <= DIALECTS[engine].drop
    for engine in (EngineKind.VLLM, EngineKind.SGLANG):
        assert {"ignore_eos", "min_tokens", "use_beam_search"} <= DIALECTS[engine].drop
    assert "service_tier" in DIALECTS[EngineKind.OPENAI].drop


@pytest.mark.parametrize("asked", [{}, {"stream_options": {"include_usage": False, "chunk_size": 3}}])
@pytest.mark.parametrize("engine", list(EngineKind))
def test_a_stream_always_reports_its_usage(engine: EngineKind, asked: dict) -> None:
    said = sent(chat(stream=True, **asked), engine)
    continuous = engine in {EngineKind.VLLM, EngineKind.SGLANG}
    assert said["stream_options"] == {"include_usage": True, **({"continuous_usage_stats": True} if continuous else {})}
    assert said.get("timings_per_token", False) is (DIALECTS[engine].every_chunk == "timings")


@pytest.mark.parametrize("engine", list(EngineKind))
def test_what_is_no_stream_is_not_asked_for_more(engine: EngineKind) -> None:
    assert not {"stream_options", "timings_per_token", "logprobs"} & set(sent(chat(), engine))


@pytest.mark.parametrize("quiet", [{}, {"logprobs": None}, {"logprobs": False}, {"logprobs": 0}])
def test_choices_are_counted_by_log_probabilities_where_the_engine_reports_one(quiet: dict[str, Any]) -> None:
    assert sent(chat(n=2, **quiet), EngineKind.LLAMACPP)["logprobs"] is True
    assert sent(body(prompt="x", n=2, **quiet), EngineKind.LLAMACPP, TEXT)["logprobs"] == 1
    for asked, engine in (
        (chat(n=2, stream=True, **quiet), EngineKind.LLAMACPP),
        (chat(n=2, **quiet), EngineKind.VLLM),
    ):
        assert sent(asked, engine).get("logprobs", "none") == quiet.get("logprobs", "none")


def test_log_probabilities_that_were_asked_for_stay_as_they_were() -> None:
    assert sent(body(prompt="x", n=2, logprobs=5), EngineKind.LLAMACPP, TEXT)["logprobs"] == 5


def test_prompts_that_an_engine_would_count_wrong_are_refused() -> None:
    asked = body(prompt=["a", "b"])
    for engine in (EngineKind.LLAMACPP, EngineKind.LLAMA_SERVER):
        with pytest.raises(BadBody) as caught:
            sent(asked, engine, TEXT)
        assert caught.value.param == "prompt"
    assert sent(asked, EngineKind.VLLM, TEXT)["prompt"] == ["a", "b"]


@pytest.mark.parametrize("engine", list(EngineKind))
def test_embeddings_have_no_output_limit(engine: EngineKind) -> None:
    said = sent(body(input=["a", "b"]), engine, EMBED)
    assert said == {"model": "tiny-upstream", "input": ["a", "b"]}


def test_which_engines_report_one_choice_of_many() -> None:
    assert [kind for kind in EngineKind if sums_choices(DIALECTS[kind], bounds(choices=2))] == [
        EngineKind.LLAMACPP,
        EngineKind.LLAMA_SERVER,
    ]
    assert not any(sums_choices(DIALECTS[kind], bounds(choices=1)) for kind in EngineKind)
