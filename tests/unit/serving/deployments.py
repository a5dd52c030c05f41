"""Deployments for tests."""

from pathlib import Path

import surplus.demo
from surplus.serving.model import Deployment, EngineKind

TINY = Path(surplus.demo.__file__).parent / "tiny-chat-q8_0.gguf"


def embedded(**changes: object) -> Deployment:
    """The demo model on the embedded engine, with some fields changed."""
    fields: dict[str, object] = {
        "id": "dep_tiny",
        "model": "tiny-chat",
        "engine": EngineKind.LLAMACPP,
        "upstream_model": "tiny-chat",
        "context": 512,
        "max_output": 256,
        "sku": "tiny-chat",
        "path": str(TINY),
        "slots": 2,
    }
    return Deployment(**{**fields, **changes})  # type: ignore[arg-type]


def remote(url: str = "http://127.0.0.1:9/v1", **changes: object) -> Deployment:
    """An engine behind a URL, with some fields changed."""
    return embedded(**{"id": "dep_remote", "engine": EngineKind.VLLM, "path": None, "url": url, **changes})
