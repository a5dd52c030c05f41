"""What may be asked for in a deployment, and what is refused."""

import pytest

from surplus.serving.errors import BadDeployment
from surplus.serving.model import Deployment, EngineKind
from surplus.serving.spec import DeploymentSpec, deployment

NOW = 1_800_000_000.0


def made(**fields: object) -> Deployment:
    asked = {"model": "m", "engine": "vllm", "url": "http://gpu-07:8000/v1", "context": 8192, **fields}
    spec = DeploymentSpec(**asked)  # type: ignore[arg-type]
    return deployment(spec, make_id=lambda: "dep_1", now=NOW)


def test_what_is_not_said_has_a_default() -> None:
    plain = made()
    assert (plain.id, plain.engine, plain.created_at, plain.draining) == ("dep_1", EngineKind.VLLM, NOW, False)
    assert (plain.upstream_model, plain.sku, plain.max_output) == ("m", "m", 4096)
    assert (plain.replicas, plain.min_replicas, plain.max_replicas) == (1, 1, 1)
    assert made(context=1).max_output == 1
    assert made(context=1000).max_output == 500


def test_what_is_said_is_kept() -> None:
    asked = {"id": "main", "upstream_model": "org/m", "sku": "m-large", "max_output": 100, "slots": 8, "priority": 3}
    given = made(**asked, key_env="VLLM_KEY", embeddings=True, template_tokens=9)
    assert {name: getattr(given, name) for name in asked} == asked
    assert (given.key_env, given.embeddings, given.template_tokens) == ("VLLM_KEY", True, 9)


def test_embedded_replicas_can_be_many() -> None:
    three = made(engine="llamacpp", url=None, path="/models/m.gguf", replicas=3)
    assert (three.replicas, three.min_replicas, three.max_replicas, three.path) == (3, 3, 3, "/models/m.gguf")


def test_a_slash_at_the_end_of_a_url_is_dropped() -> None:
    assert made(url="https://api.example.com/openai/v1/").url == "https://api.example.com/openai/v1"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"engine": "tensorflow"}, "engine"),
        ({"model": ""}, "model"),
        ({"model": "two words"}, "model"),
        ({"model": "m" * 129}, "model"),
        ({"sku": "-m"}, "sku"),
        ({"id": "no good"}, "id"),
        ({"upstream_model": " "}, "upstream_model"),
        ({"url": None}, "url"),
        ({"url": "gpu-07:8000/v1"}, "url"),
        ({"url": "ftp://gpu-07/v1"}, "url"),
        ({"url": "http:///v1"}, "url"),
        ({"url": "http://gpu-07:99999/v1"}, "url"),
        ({"url": "http://gpu-07:8000"}, "url"),
        ({"url": "http://gpu-07:8000/v1/chat"}, "url"),
        ({"url": "http://gpu 07:8000/v1"}, "url"),
        ({"url": "http://gpu-07/v1?key=abc"}, "url"),
        ({"url": "http://[::1/v1"}, "url"),
        ({"path": "/models/m.gguf"}, "path"),
        ({"engine": "llamacpp"}, "path"),
        ({"engine": "llamacpp", "path": "/m.gguf"}, "url"),
        ({"engine": "llamacpp", "path": "/m.gguf", "url": None, "key_env": "KEY"}, "key_env"),
        ({"key_env": "KEY", "key_file": "/run/key"}, "key_env"),
        ({"key_env": ""}, "key_env"),
        ({"key_file": "relative/key"}, "key_file"),
        ({"context": 0}, "context"),
        ({"context": 2**31}, "context"),
        ({"max_output": 0}, "max_output"),
        ({"max_output": 8193}, "max_output"),
        ({"slots": 0}, "slots"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": 2}, "replicas"),
        ({"template_tokens": -1}, "template_tokens"),
        ({"priority": -1}, "priority"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(BadDeployment) as refused:
        made(**fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"key_env": "sk-live-51HxyzSECRET"},
        {"key_file": "sk-live-51HxyzSECRET"},
        {"url": "https://user:51HxyzSECRET@api.example.com/v1"},
        {"url": "https://51HxyzSECRET@api.example.com/v1"},
        {"url": "https://api.example.com/v1?api_key=51HxyzSECRET"},
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(fields: dict[str, object]) -> None:
    with pytest.raises(BadDeployment) as refused:
        made(**fields)
    assert "51HxyzSECRET" not in refused.value.message
