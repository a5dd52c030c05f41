"""The shape of the network: what training, export and the test fixtures agree on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Architecture:
    """A Llama network: rotary positions, grouped-query attention, SwiGLU, tied embeddings, no biases.

    `width` is the length of a token's vector, `context` the longest text in tokens.
    """

    vocabulary: int
    width: int = 256
    layers: int = 4
    heads: int = 8
    kv_heads: int = 2
    feed_forward: int = 704
    context: int = 1024
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        """Raise ValueError when the numbers cannot belong to one network."""
        sizes = (self.vocabulary, self.width, self.layers, self.heads, self.kv_heads, self.feed_forward, self.context)
        if min(sizes) < 1:
            raise ValueError(f"every size must be at least 1: {self}")
        if self.width % (2 * self.heads) or self.heads % self.kv_heads:
            raise ValueError(
                f"width {self.width} must divide into {self.heads} heads of an even width, "
                f"and heads into {self.kv_heads} groups"
            )

    @property
    def head_width(self) -> int:
        """Length of one attention head's vector."""
        return self.width // self.heads

    def block_shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors of one layer by their GGUF names, with their shapes as (output, input)."""
        wide, narrow, hidden = self.width, self.kv_heads * self.head_width, self.feed_forward
        return {
            "attn_norm": (wide,),
            "attn_q": (wide, wide),
            "attn_k": (narrow, wide),
            "attn_v": (narrow, wide),
            "attn_output": (wide, wide),
            "ffn_norm": (wide,),
            "ffn_gate": (hidden, wide),
            "ffn_up": (hidden, wide),
            "ffn_down": (wide, hidden),
        }

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the network by its GGUF name, with its shape."""
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.vocabulary, self.width)}
        for layer in range(self.layers):
            shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in self.block_shapes().items()}
        return shapes | {"output_norm.weight": (self.width,)}

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Architecture":
        """Read what `save` wrote. Raises ValueError when the file holds anything else."""
        try:
            fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(**fields)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} does not describe a network: {error}") from error
