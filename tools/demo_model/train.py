"""Trains the demo model on one processor core. The only file here that needs torch and tokenizers.

It leaves three files, which `export.py` turns into a GGUF: architecture.json, tokenizer.json and weights.npz.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's own documentation uses)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from tools.demo_model.architecture import Architecture
from tools.demo_model.corpus import conversations
from tools.demo_model.corpus.conversations import Conversation, Role
from tools.demo_model.vocabulary import END_OF_TEXT, MESSAGE_END, MESSAGE_START, SPECIAL_TOKENS

BATCH_TOKENS = 2048
SHORT_WINDOW = 256
# Short windows learn faster, but positions that were never trained on produce nonsense: so the last steps are long.
LONG_WINDOWS_SHARE = 0.2
VALIDATION_TOKENS = 10_240
LEARNING_RATE = 2e-3
FINAL_LEARNING_RATE_SHARE = 0.05
WARM_UP_STEPS = 100
WEIGHT_DECAY = 0.05
GRADIENT_NORM = 1.0
INITIAL_DEVIATION = 0.02
# The model must learn to answer; learning to ask as well helps it a little, so questions count, but not much.
OTHER_TOKENS_WEIGHT = 0.1
REPORT_EVERY = 50


def train_tokenizer(corpus: list[Conversation], vocabulary: int) -> Tokenizer:
    """Learn a byte-level BPE vocabulary from the messages, split as GPT-2 does, which llama.cpp knows by name."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((message.content for talk in corpus for message in talk), trainer)
    return tokenizer


@dataclass(frozen=True, slots=True)
class Tokens:
    """The corpus as one long row of token ids, with each token's weight in the loss."""

    ids: Tensor
    weights: Tensor

    def windows(self, starts: np.ndarray, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and target weights, each of shape (len(starts), length)."""
        index = torch.from_numpy(starts)[:, None] + torch.arange(length)
        return self.ids[index], self.ids[index + 1], self.weights[index + 1]


def encode(corpus: list[Conversation], tokenizer: Tokenizer) -> Tokens:
    """Lay out every conversation exactly as the chat template does, with an end-of-text token after it."""
    special = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    newline = tokenizer.encode("\n").ids
    openings = {role: [special[MESSAGE_START], *tokenizer.encode(f"{role}\n").ids] for role in Role}
    ids: list[int] = []
    weights: list[float] = []
    for talk in corpus:
        for message in talk:
            opening = openings[message.role]
            content = [*tokenizer.encode(message.content).ids, special[MESSAGE_END]]
            ids += [*opening, *content, *newline]
            spoken = OTHER_TOKENS_WEIGHT + (message.role is Role.ASSISTANT)
            weights += [OTHER_TOKENS_WEIGHT] * len(opening) + [spoken] * len(content)
            weights += [OTHER_TOKENS_WEIGHT] * len(newline)
        ids.append(special[END_OF_TEXT])
        weights.append(OTHER_TOKENS_WEIGHT)
    return Tokens(torch.tensor(ids), torch.tensor(weights))


class Norm(nn.Module):
    """Root-mean-square normalization with a learned scale."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.epsilon)


class Rotation:
    """Rotary positions over neighbouring pairs: the layout of llama.cpp, so that export permutes nothing."""

    def __init__(self, architecture: Architecture) -> None:
        width = architecture.head_width
        frequencies = architecture.rope_base ** (-torch.arange(0, width, 2).float() / width)
        angles = torch.outer(torch.arange(architecture.context).float(), frequencies)
        self.cosines, self.sines = angles.cos(), angles.sin()

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate x, of shape (batch, heads, time, head width)."""
        cosines, sines = self.cosines[: x.shape[2]], self.sines[: x.shape[2]]
        even, odd = x[..., 0::2].float(), x[..., 1::2].float()
        return torch.stack((even * cosines - odd * sines, even * sines + odd * cosines), -1).flatten(-2).to(x.dtype)


class Block(nn.Module):
    """Attention, then a gated feed-forward layer. The attributes are named as in GGUF."""

    def __init__(self, architecture: Architecture, rotation: Rotation) -> None:
        super().__init__()
        self.architecture, self.rotation = architecture, rotation
        for name, shape in architecture.block_shapes().items():
            is_norm = len(shape) == 1
            layer = Norm(shape[0], architecture.norm_epsilon) if is_norm else nn.Linear(shape[1], shape[0], bias=False)
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn_output(self.attend(self.attn_norm(x)))
        hidden = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(hidden)) * self.ffn_up(hidden))

    def attend(self, x: Tensor) -> Tensor:
        batch, time_steps, width = x.shape
        heads, kv_heads = self.architecture.heads, self.architecture.kv_heads

        def split(projected: Tensor, count: int) -> Tensor:
            return projected.view(batch, time_steps, count, self.architecture.head_width).transpose(1, 2)

        queries = self.rotation(split(self.attn_q(x), heads))
        keys = self.rotation(split(self.attn_k(x), kv_heads)).repeat_interleave(heads // kv_heads, 1)
        values = split(self.attn_v(x), kv_heads).repeat_interleave(heads // kv_heads, 1)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, time_steps, width)


class Network(nn.Module):
    """The whole model. Parameter names are GGUF tensor names."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        rotation = Rotation(architecture)
        self.token_embd = nn.Embedding(architecture.vocabulary, architecture.width)
        self.blk = nn.ModuleList(Block(architecture, rotation) for _ in range(architecture.layers))
        self.output_norm = Norm(architecture.width, architecture.norm_epsilon)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # Each layer adds two terms to the residual stream: scaled so that its variance does not grow.
                adds_to_residual = name.endswith(("attn_output.weight", "ffn_down.weight"))
                scale = 1 / math.sqrt(2 * architecture.layers) if adds_to_residual else 1.0
                nn.init.normal_(parameter, std=INITIAL_DEVIATION * scale)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of shape (batch, time, vocabulary) for ids of shape (batch, time)."""
        x = self.token_embd(ids)
        for block in self.blk:
            x = block(x)
        return F.linear(self.output_norm(x), self.token_embd.weight)


def loss_of(network: Network, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Weighted mean cross-entropy, in nats per token."""
    inputs, targets, weights = batch
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(inputs)
    losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum()


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a small share."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    share = FINAL_LEARNING_RATE_SHARE + (1 - FINAL_LEARNING_RATE_SHARE) * cosine
    return LEARNING_RATE * min(1.0, (step + 1) / WARM_UP_STEPS) * share


def train(network: Network, tokens: Tokens, *, steps: int, context: int, seed: int) -> Iterator[tuple[int, float]]:
    """Train in place. Yields (step, loss) after each step; the end of the corpus is kept for validation."""
    rng = np.random.default_rng(seed)
    end = len(tokens.ids) - VALIDATION_TOKENS - 1
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY, fused=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        length = SHORT_WINDOW if step < steps * (1 - LONG_WINDOWS_SHARE) else context
        loss = loss_of(network, tokens.windows(rng.integers(0, end - length, BATCH_TOKENS // length), length))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimizer.step()
        yield step + 1, loss.item()


@torch.no_grad()
def validation_loss(network: Network, tokens: Tokens, length: int) -> float:
    """The loss on the end of the corpus, which training never sees, in windows of a length."""
    end = len(tokens.ids) - 1
    return loss_of(network, tokens.windows(np.arange(end - VALIDATION_TOKENS, end, length), length)).item()


def save(network: Network, architecture: Architecture, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the three files that export reads."""
    architecture.save(folder / "architecture.json")
    tokenizer.save(str(folder / "tokenizer.json"))
    weights = {name: tensor.detach().float().numpy() for name, tensor in network.state_dict().items()}
    np.savez(folder / "weights.npz", **weights)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo_model.train",
        description="Train the demo model (about 15 minutes on one free core).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    folder = Path("build/demo-model")
    parser.add_argument("--corpus", type=Path, default=folder / "corpus.jsonl", help="file of conversations")
    parser.add_argument("--out", type=Path, default=folder, help="folder for the trained files")
    parser.add_argument("--steps", type=int, default=3000, help=f"batches of {BATCH_TOKENS} tokens to train on")
    parser.add_argument("--vocabulary", type=int, default=768, help="tokens in the vocabulary")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the batches")
    arguments = parser.parse_args()
    if arguments.steps < 1:
        parser.error(f"--steps must be at least 1, not {arguments.steps}")
    smallest = len(SPECIAL_TOKENS) + 256 + 1
    if arguments.vocabulary < smallest:
        parser.error(f"--vocabulary must be at least {smallest}: every byte, the special tokens and one merge")
    if not arguments.corpus.is_file():
        parser.error(f"there is no file {arguments.corpus}: make it with python -m tools.demo_model.corpus")
    return arguments


def main() -> None:
    """Read the corpus, train, and save."""
    arguments = parse_arguments()
    # Two threads wait for each other at every layer of so small a network: one is faster, and repeatable.
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    corpus = conversations.read(arguments.corpus)
    tokenizer = train_tokenizer(corpus, arguments.vocabulary)
    tokens = encode(corpus, tokenizer)
    if len(tokens.ids) < 2 * VALIDATION_TOKENS:
        raise SystemExit(f"{arguments.corpus} has only {len(tokens.ids)} tokens: too few to train and to validate on")
    architecture = Architecture(vocabulary=tokenizer.get_vocab_size())
    network = Network(architecture)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"{parameters / 1e6:.2f} million parameters, {len(tokens.ids) / 1e6:.2f} million tokens", flush=True)
    batches = train(network, tokens, steps=arguments.steps, context=architecture.context, seed=arguments.seed)
    started, average = time.monotonic(), 0.0
    for step, loss in batches:
        average = loss if step == 1 else 0.98 * average + 0.02 * loss
        if step % REPORT_EVERY == 0:
            print(f"step {step}: loss {average:.4f}, {time.monotonic() - started:.0f} s", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    save(network, architecture, tokenizer, arguments.out)
    for length in (SHORT_WINDOW, architecture.context):
        print(f"validation loss in windows of {length} tokens: {validation_loss(network, tokens, length):.4f}")


if __name__ == "__main__":
    main()
