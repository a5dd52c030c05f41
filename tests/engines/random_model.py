"""A real model file with random weights: loads in milliseconds, answers nonsense, needs no committed binary."""

from pathlib import Path

import numpy as np

from tools.demo_model.architecture import Architecture
from tools.demo_model.export import Quantization, write_gguf
from tools.demo_model.vocabulary import SPECIAL_TOKENS, Vocabulary, byte_characters


def write_random_model(path: Path, *, seed: int = 0, context: int = 512) -> None:
    """Write a GGUF with a token for every byte. `context` is the longest text in tokens; 0.8 MB on disk."""
    characters = byte_characters()
    space = characters[ord(" ")]
    # llama.cpp refuses a vocabulary without merges, so there is one: " t".
    vocabulary = Vocabulary((*SPECIAL_TOKENS, *characters, f"{space}t"), (f"{space} t",))
    architecture = Architecture(
        vocabulary=len(vocabulary.tokens),
        width=128,
        layers=2,
        heads=4,
        kv_heads=2,
        feed_forward=352,
        context=context,
    )
    rng = np.random.default_rng(seed)
    weights = {
        name: np.ones(shape, np.float32) if len(shape) == 1 else rng.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in architecture.tensor_shapes().items()
    }
    write_gguf(
        path,
        name="random",
        architecture=architecture,
        vocabulary=vocabulary,
        weights=weights,
        quantization=Quantization.F16,
    )
