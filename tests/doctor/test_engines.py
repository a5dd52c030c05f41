"""Faults of engines and deployments."""

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from surplus.doctor import Check, engines
from surplus.doctor.examine import DEMO_MODEL
from surplus.kit.clock import SystemClock
from surplus.serving.model import Deployment, EngineKind
from tests.doctor.conftest import told
from tests.unit.client.answering import answering


def deployment(engine: EngineKind = EngineKind.VLLM, **fields: str) -> Deployment:
    return Deployment(
        id="dep_1", model="m", engine=engine, upstream_model="m", context=100, max_output=10, sku="m", **fields
    )


async def check(one: Deployment, environment: Mapping[str, str] | None = None) -> Check:
    """What is said of one deployment, beside an embedded engine that works."""
    trial, found = await engines.engines(DEMO_MODEL, [one], clock=SystemClock(), environment=environment or {})
    told(trial, "ok", "started and answered")
    return found


async def test_an_embedded_engine_that_cannot_load(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing else")
    (trial,) = await engines.engines(broken, [], clock=SystemClock(), environment={})
    told(trial, "failed", "does not work", "make setup")
    (missing,) = await engines.engines(tmp_path / "none.gguf", [], clock=SystemClock(), environment={})
    told(missing, "failed", "there is no file")


def test_a_model_file_that_is_there() -> None:
    told(engines.model_file(deployment(EngineKind.LLAMACPP, path=str(DEMO_MODEL))), "ok", "MiB")


def test_a_model_file_that_is_missing_or_no_model(tmp_path: Path) -> None:
    missing = deployment(EngineKind.LLAMACPP, path=str(tmp_path / "none.gguf"))
    told(engines.model_file(missing), "failed", "No such file", "surplus deployment delete dep_1")
    other = tmp_path / "other.gguf"
    other.write_text("not a model")
    told(engines.model_file(deployment(EngineKind.LLAMACPP, path=str(other))), "failed", "is not a GGUF file")


async def test_a_model_file_is_looked_at_and_not_loaded() -> None:
    found = await check(deployment(EngineKind.LLAMACPP, path=str(DEMO_MODEL)))
    told(found, "ok")
    assert found.name == "model m (dep_1)"


async def test_an_engine_behind_a_url() -> None:
    with answering() as server:
        told(await check(deployment(url=f"{server.url}/v1")), "ok", "answers")
        assert server.sent[0].path == "/health"
        server.status = 500
        told(await check(deployment(url=f"{server.url}/v1")), "failed", "answered 500")


async def test_an_engine_that_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    told(await check(deployment(url=url)), "failed", "start that engine")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_the_engine_refuses(status: int) -> None:
    with answering() as server:
        server.status = status
        one = deployment(url=f"{server.url}/v1", key_env="ENGINE_KEY")
        told(await check(one, {"ENGINE_KEY": "secret-1"}), "failed", "does not accept our key")
        assert server.sent[0].headers["authorization"] == "Bearer secret-1"


async def test_a_key_that_is_not_where_the_deployment_says(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    told(await check(deployment(url=url, key_env="ENGINE_KEY")), "failed", "ENGINE_KEY is not set", "where the server")
    told(await check(deployment(url=url, key_file=str(tmp_path / "none"))), "failed", "none", "cannot be read")
