import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, dequantize

from tools.demo_model import evaluate, export
from tools.demo_model.architecture import Architecture
from tools.demo_model.corpus.arithmetic import Operation, Sum
from tools.demo_model.export import Quantization
from tools.demo_model.vocabulary import CHAT_TEMPLATE, SPECIAL_TOKENS, Vocabulary, byte_characters

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src/surplus/demo/tiny-chat-q8_0.gguf"

SMALL = Architecture(vocabulary=5, width=32, layers=1, heads=2, kv_heads=1, feed_forward=64, context=128)
SMALL_TOKENS = Vocabulary((*SPECIAL_TOKENS, "a", "b"), ("a b",))


def small_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in SMALL.tensor_shapes().items()}


def write_small(path: Path, quantization: Quantization, **changes) -> None:
    parts = {"name": "small", "architecture": SMALL, "vocabulary": SMALL_TOKENS, "weights": small_weights()}
    export.write_gguf(path, quantization=quantization, **(parts | changes))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder such as training leaves behind, of a very small network."""
    folder = tmp_path / "trained"
    folder.mkdir()
    SMALL.save(folder / "architecture.json")
    ids = {token: number for number, token in enumerate(SMALL_TOKENS.tokens)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": ids, "merges": [["a", "b"]]}}))
    np.savez(folder / "weights.npz", **small_weights())
    return folder


def test_the_exported_file_says_what_it_is(trained: Path, tmp_path: Path):
    path = tmp_path / "model.gguf"
    export.export(trained, path, Quantization.Q8_0)
    fields = GGUFReader(path).fields
    assert fields["general.name"].contents() == "surplus tiny chat"
    assert fields["llama.context_length"].contents() == 128
    assert fields["tokenizer.chat_template"].contents() == CHAT_TEMPLATE
    assert tuple(fields["tokenizer.ggml.tokens"].contents()) == SMALL_TOKENS.tokens
    assert fields["tokenizer.ggml.eos_token_id"].contents() == SPECIAL_TOKENS.index("<|im_end|>")
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["model.gguf"]


@pytest.mark.parametrize(
    ("quantization", "largest_error"), [(Quantization.F16, 0.002), (Quantization.Q8_0, 0.03), (Quantization.Q4_0, 0.5)]
)
def test_every_weight_survives_up_to_rounding(tmp_path: Path, quantization: Quantization, largest_error: float):
    weights = small_weights()
    write_small(tmp_path / "model.gguf", quantization, weights=weights)
    tensors = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    assert tensors.keys() == weights.keys()
    for name, tensor in tensors.items():
        values = dequantize(tensor.data, tensor.tensor_type)
        assert values.shape == weights[name].shape
        assert np.abs(values - weights[name]).max() <= largest_error
        if values.ndim == 1:
            assert (values == weights[name]).all(), "vectors are not quantized"


def test_an_unknown_quantization_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "model.gguf"
    with pytest.raises(SystemExit, match="2"):
        export.main(["--trained", str(trained), "--out", str(path), "--quantization", "q5_9"])
    refusal = capsys.readouterr().err
    assert "q5_9" in refusal
    assert all(quantization in refusal for quantization in Quantization)
    assert not path.exists()


def test_the_command_exports(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "model.gguf"
    export.main(["--trained", str(trained), "--out", str(path), "--quantization", "q4_0"])
    assert f"{path.stat().st_size:,} bytes" in capsys.readouterr().out


def test_without_training_the_command_says_to_train_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        export.main(["--trained", str(tmp_path), "--out", str(tmp_path / "model.gguf")])
    assert "train first" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["architecture.json", "tokenizer.json", "weights.npz"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[1]"])
def test_a_damaged_file_is_named(trained: Path, tmp_path: Path, name: str, content: bytes):
    (trained / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        export.export(trained, tmp_path / "model.gguf", Quantization.Q8_0)


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        ({"output_norm.weight": np.ones(31, np.float32)}, r"shape \(31,\), but the network needs \(32,\)"),
        ({"output_norm.weight": np.full(32, np.nan, np.float32)}, "not finite"),
        ({"output.weight": np.ones((5, 32), np.float32)}, "output.weight missing or unexpected"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, damage: dict[str, np.ndarray], refusal: str):
    with pytest.raises(ValueError, match=refusal):
        write_small(tmp_path / "model.gguf", Quantization.F16, weights=small_weights() | damage)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_of_another_run_is_refused(tmp_path: Path):
    longer = Vocabulary((*SMALL_TOKENS.tokens, "c"), SMALL_TOKENS.merges)
    with pytest.raises(ValueError, match="6 tokens and the network 5"):
        write_small(tmp_path / "model.gguf", Quantization.F16, vocabulary=longer)


def test_a_network_too_narrow_to_quantize_is_refused(tmp_path: Path):
    narrow = replace(SMALL, width=16)
    weights = {name: np.ones(shape, np.float32) for name, shape in narrow.tensor_shapes().items()}
    with pytest.raises(ValueError, match="blocks of 32"):
        write_small(tmp_path / "model.gguf", Quantization.Q8_0, architecture=narrow, weights=weights)


@pytest.mark.parametrize("sizes", [{"layers": 0}, {"width": 33}, {"heads": 3}, {"heads": 4, "kv_heads": 3}])
def test_an_impossible_network_is_refused(sizes: dict[str, int]):
    with pytest.raises(ValueError, match="must"):
        replace(SMALL, **sizes)


def test_a_vocabulary_that_no_engine_could_use_is_refused():
    with pytest.raises(ValueError, match="begin with"):
        Vocabulary(("a", *SPECIAL_TOKENS), ("a b",))
    with pytest.raises(ValueError, match="at least one merge"):
        Vocabulary(SMALL_TOKENS.tokens, ())


def test_every_byte_has_a_character_of_its_own():
    characters = byte_characters()
    assert len(set(characters)) == 256
    assert (characters[ord("A")], characters[ord(" ")], characters[ord("\n")]) == ("A", "Ġ", "Ċ")


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("17 plus 25 is 42.", True),
        ("17 + 25 = 42.", True),
        ("42 is 17 + 25", False),
        ("It is 142.", False),
        ("", False),
    ],
)
def test_a_sum_is_graded_by_the_last_number_of_the_reply(reply: str, right: bool):
    assert evaluate.is_right(Sum(Operation.ADD, 17, 25), reply) is right


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [(["missing.gguf"], "no file missing.gguf"), ([str(SHIPPED), "--sums", "0"], "at least 1")],
)
def test_the_evaluation_refuses_bad_input(arguments: list[str], refusal: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(arguments)
    assert refusal in capsys.readouterr().err


def test_the_shipped_model_is_ours():
    fields = GGUFReader(SHIPPED).fields
    assert fields["general.name"].contents() == export.MODEL_NAME
    assert fields["llama.context_length"].contents() == 1024
    assert fields["tokenizer.chat_template"].contents() == CHAT_TEMPLATE
    assert tuple(fields["tokenizer.ggml.tokens"].contents()[:3]) == SPECIAL_TOKENS


@pytest.mark.slow
def test_the_shipped_model_can_do_sums():
    command = [sys.executable, "-m", "tools.demo_model.evaluate", str(SHIPPED), "--sums", "40"]
    report = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=50).stdout
    scores = {name: int(right) for name, right in re.findall(r"^(.+): (\d+) of", report, re.MULTILINE)}
    assert scores["add"] >= 28
    assert scores["multiply"] >= 28
