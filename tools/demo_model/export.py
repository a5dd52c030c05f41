"""Writes a trained network as one GGUF file, which llama.cpp and everything built on it can load."""

import argparse
import zipfile
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants
from numpy.typing import NDArray

from tools.demo_model.architecture import Architecture
from tools.demo_model.vocabulary import CHAT_TEMPLATE, END_OF_TEXT, MESSAGE_END, SPECIAL_TOKENS, Vocabulary

MODEL_NAME = "surplus tiny chat"
Weights = Mapping[str, NDArray[np.float32]]


class Quantization(StrEnum):
    """How matrices are stored: 16, 8.5 or 4.5 bits a weight. Vectors always keep 32 bits."""

    F16 = "f16"
    Q8_0 = "q8_0"
    Q4_0 = "q4_0"

    @property
    def tensor_type(self) -> GGMLQuantizationType:
        """The type of each matrix in the file."""
        return GGMLQuantizationType[self.name]

    @property
    def file_type(self) -> LlamaFileType:
        """What the file as a whole is called."""
        return LlamaFileType[f"MOSTLY_{self.name}"]


_QUANTIZED_BLOCK = 32


def check(architecture: Architecture, vocabulary: Vocabulary, weights: Weights) -> None:
    """Raise ValueError unless the three belong together and every weight is a finite number."""
    if len(vocabulary.tokens) != architecture.vocabulary:
        raise ValueError(
            f"the tokenizer has {len(vocabulary.tokens)} tokens and the network {architecture.vocabulary}: "
            "they come from different training runs"
        )
    shapes = architecture.tensor_shapes()
    if odd := sorted(shapes.keys() ^ weights.keys()):
        raise ValueError(f"the weights do not fit the network: {', '.join(odd)} missing or unexpected")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ValueError(f"{name} has shape {weights[name].shape}, but the network needs {shape}")
        if len(shape) == 2 and shape[1] % _QUANTIZED_BLOCK:
            raise ValueError(f"{name} has rows of {shape[1]}, which do not divide into blocks of {_QUANTIZED_BLOCK}")
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"{name} holds values that are not finite: the training run has diverged")


def write_gguf(
    path: Path,
    *,
    name: str,
    architecture: Architecture,
    vocabulary: Vocabulary,
    weights: Weights,
    quantization: Quantization,
) -> None:
    """Write the file in one step, so that nobody ever reads half a model.

    Weights are float32 by GGUF tensor name, with the shapes of `Architecture.tensor_shapes`.
    Raises ValueError when the parts do not fit together.
    """
    check(architecture, vocabulary, weights)
    partial = path.with_name(f"{path.name}.partial")
    writer = GGUFWriter(partial, "llama")
    writer.add_name(name)
    writer.add_file_type(quantization.file_type)
    _add_architecture(writer, architecture)
    _add_vocabulary(writer, vocabulary)
    for tensor_name in architecture.tensor_shapes():
        values = weights[tensor_name]
        if values.ndim == 1:
            writer.add_tensor(tensor_name, values)
        else:
            data = quants.quantize(values, quantization.tensor_type)
            writer.add_tensor(tensor_name, data, raw_dtype=quantization.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)


def _add_architecture(writer: GGUFWriter, architecture: Architecture) -> None:
    writer.add_vocab_size(architecture.vocabulary)
    writer.add_context_length(architecture.context)
    writer.add_embedding_length(architecture.width)
    writer.add_block_count(architecture.layers)
    writer.add_feed_forward_length(architecture.feed_forward)
    writer.add_head_count(architecture.heads)
    writer.add_head_count_kv(architecture.kv_heads)
    writer.add_layer_norm_rms_eps(architecture.norm_epsilon)
    writer.add_rope_dimension_count(architecture.head_width)
    writer.add_rope_freq_base(architecture.rope_base)


def _add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    ordinary = len(vocabulary.tokens) - len(SPECIAL_TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([TokenType.CONTROL] * len(SPECIAL_TOKENS) + [TokenType.NORMAL] * ordinary)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(SPECIAL_TOKENS.index(END_OF_TEXT))
    writer.add_eos_token_id(SPECIAL_TOKENS.index(MESSAGE_END))
    writer.add_add_bos_token(False)  # noqa: FBT003 (the writer's own signature)
    writer.add_chat_template(CHAT_TEMPLATE)


def read_weights(path: Path) -> Weights:
    """Read the arrays that training saved. Raises ValueError when the file is not such an archive."""
    try:
        with np.load(path) as archive:
            return {name: np.asarray(archive[name], dtype=np.float32) for name in archive.files}
    except (ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an archive of weights: {error}") from error


def export(trained: Path, path: Path, quantization: Quantization) -> None:
    """Turn the folder that training wrote into a GGUF file.

    Raises ValueError when its files are damaged or do not belong together, FileNotFoundError when one is missing.
    """
    write_gguf(
        path,
        name=MODEL_NAME,
        architecture=Architecture.load(trained / "architecture.json"),
        vocabulary=Vocabulary.load(trained / "tokenizer.json"),
        weights=read_weights(trained / "weights.npz"),
        quantization=quantization,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: python -m tools.demo_model.export --out FILE."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo_model.export",
        description="Write the trained demo model as a GGUF file.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--trained", type=Path, default=Path("build/demo-model"), help="folder that training wrote")
    parser.add_argument("--out", type=Path, required=True, help="GGUF file to write")
    choices = [quantization.value for quantization in Quantization]
    parser.add_argument("--quantization", choices=choices, default="q8_0", help="how matrices are stored")
    options = parser.parse_args(arguments)
    try:
        export(options.trained, options.out, Quantization(options.quantization))
    except FileNotFoundError as error:
        parser.error(f"there is no file {error.filename}: train first, with python -m tools.demo_model.train")
    except ValueError as error:
        parser.error(str(error))
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
