import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.engines.random_model import write_random_model

SERVER = Path(__file__).with_name("embedded_server.py")


@pytest.fixture
def engine_url(tmp_path: Path) -> Iterator[str]:
    model = tmp_path / "random.gguf"
    write_random_model(model)
    command = [sys.executable, str(SERVER), str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), f"the engine did not start: {address!r}"
            yield address
        finally:
            process.kill()


def test_the_same_seed_writes_the_same_file(tmp_path: Path):
    write_random_model(tmp_path / "first.gguf", seed=3)
    write_random_model(tmp_path / "again.gguf", seed=3)
    write_random_model(tmp_path / "other.gguf", seed=4)
    first = (tmp_path / "first.gguf").read_bytes()
    assert first == (tmp_path / "again.gguf").read_bytes()
    assert first != (tmp_path / "other.gguf").read_bytes()


@pytest.mark.slow
def test_the_embedded_engine_answers_a_chat_with_it(engine_url: str):
    question = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "temperature": 0}
    answer = httpx.post(f"{engine_url}/v1/chat/completions", json=question, timeout=30)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    # A token for every byte and one for every mark: <|im_start|> user \n hi <|im_end|> \n <|im_start|> assistant \n
    assert usage["prompt_tokens"] == 1 + 4 + 1 + 2 + 1 + 1 + 1 + 9 + 1
    assert 1 <= usage["completion_tokens"] <= 8


@pytest.mark.slow
def test_the_context_length_is_the_one_asked_for(engine_url: str):
    models = httpx.get(f"{engine_url}/v1/models", timeout=30).json()
    assert models["data"][0]["meta"]["n_ctx_train"] == 512
