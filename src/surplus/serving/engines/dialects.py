"""What differs between engines that all speak OpenAI's HTTP API.

A dialect says how to ask for cumulative usage, which fields of a caller's body must not reach the engine because they
would change what we hold money for, and how to read an engine's own progress figures. Pure: bytes in, bytes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from surplus.serving.model import EngineKind


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to talk to one kind of engine.

    `ask`: fields that make a stream report its usage. `every_chunk`: cumulative figures then come with every chunk, in
    the field of this name, which the caller did not ask for and does not get. `drop`: fields of a caller that are never
    passed on. `per_choice`: each choice of an answer reports its own usage, and an answer as a whole reports only one
    of them. `reuse`: its connections may be kept.
    """

    ask: Mapping[str, bytes]
    every_chunk: str | None
    drop: frozenset[str]
    per_choice: bool = False
    reuse: bool = True


_LLAMA_DROP: Final = frozenset(
    {
        "n_predict",  # overrides max_tokens
        "n_discard",
        "n_keep",
        "n_indent",
        "id_slot",  # picks, and can see, another tenant's cache
        "t_max_predict_ms",
        "response_fields",
        "return_progress",
        "return_tokens",
        "timings_per_token",
        "lora",
        "ignore_eos",
        "n_cmpl",
        "n_cache_reuse",
        "verbose",
        "__verbose",
        "speculative.n_max",
        "post_sampling_probs",
    }
)
_VLLM_DROP: Final = frozenset(
    {"ignore_eos", "min_tokens", "use_beam_search", "kv_transfer_params", "priority", "request_id", "return_token_ids"}
)
_PROVIDER_DROP: Final = frozenset({"service_tier"})  # a dearer tier there is not what we priced
_INCLUDE: Final = b'{"include_usage":true}'
_CONTINUOUS: Final = b'{"include_usage":true,"continuous_usage_stats":true}'

_LLAMA: Final = Dialect(
    ask={"stream_options": _INCLUDE, "timings_per_token": b"true"},
    every_chunk="timings",
    drop=_LLAMA_DROP,
    per_choice=True,
    reuse=False,  # llama.cpp closes the connection after a streamed answer although it promises to keep it
)

DIALECTS: Final[Mapping[EngineKind, Dialect]] = {
    EngineKind.LLAMACPP: _LLAMA,
    EngineKind.LLAMA_SERVER: _LLAMA,
    EngineKind.VLLM: Dialect({"stream_options": _CONTINUOUS}, every_chunk="usage", drop=_VLLM_DROP),
    EngineKind.SGLANG: Dialect({"stream_options": _CONTINUOUS}, every_chunk="usage", drop=_VLLM_DROP),
    EngineKind.OPENAI: Dialect({"stream_options": _INCLUDE}, every_chunk=None, drop=_PROVIDER_DROP),
}
