"""What a caller sees: streams read event by event, and how they ended."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.http.harness import PROMPT, Shop

DONE = "[DONE]"


def chat(model: str, text: str = PROMPT, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def completion(model: str, text: str = PROMPT, **fields: Any) -> dict[str, Any]:
    return {"model": model, "prompt": text, **fields}


def embedding(model: str, text: str = PROMPT, **fields: Any) -> dict[str, Any]:
    return {"model": model, "input": text, **fields}


BODIES = {"/chat/completions": chat, "/completions": completion, "/embeddings": embedding}
"""A small body for each endpoint."""
GENERATING = ("/chat/completions", "/completions")
MODES = [(path, stream) for path in BODIES for stream in (False, True) if path in GENERATING or not stream]
"""Every endpoint, with and without stream where it has one."""


def as_request(shop: Shop, path: str, body: dict[str, Any]) -> bytes:
    """A request as bytes, for a bare connection."""
    raw = json.dumps(body).encode()
    head = (
        f"POST /v1{path} HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {shop.secret.token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


@dataclass
class Streamed:
    """The events of one stream, in order: `chunks` are its JSON, `errors` those that were error events."""

    chunks: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False
    comments: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that were delivered: the test engine sends one a chunk."""
        return sum(_says_something(choice) for chunk in self.chunks for choice in chunk["choices"])

    @property
    def text(self) -> str:
        parts = (choice for chunk in self.chunks for choice in chunk["choices"])
        return "".join(part.get("text") or part.get("delta", {}).get("content") or "" for part in parts)

    @property
    def usage(self) -> list[dict[str, Any]]:
        return [chunk["usage"] for chunk in self.chunks if chunk.get("usage") is not None]


def _says_something(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta", {})
    said = (choice.get("text"), delta.get("content"), delta.get("reasoning_content"), delta.get("tool_calls"))
    return any(said)


def read_stream(body: bytes) -> Streamed:
    """Read a stream as a strict parser does. Nothing may follow its end, and it ends in one way only.

    A whole answer ends in [DONE], a broken one in exactly one error event; never in neither, never in both.
    """
    seen = Streamed()
    assert body.endswith(b"\n\n"), body[-200:]
    for event in body.decode().replace("\r\n", "\n").removesuffix("\n\n").split("\n\n"):
        assert not seen.done, "an event after [DONE]"
        assert not seen.errors, "an event after the error"
        if event.startswith(":"):
            seen.comments += 1
            continue
        lines = event.split("\n")
        assert all(line.startswith("data: ") for line in lines), event
        data = "\n".join(line.removeprefix("data: ") for line in lines)
        if data == DONE:
            seen.done = True
            continue
        chunk = json.loads(data)
        if "error" in chunk:
            seen.errors.append(check_error(chunk))
        else:
            assert isinstance(chunk["choices"], list)
            seen.chunks.append(chunk)
    assert seen.done != bool(seen.errors), "a stream ends in [DONE] or in an error"
    return seen


def check_error(body: dict[str, Any]) -> dict[str, Any]:
    """The error object, which has OpenAI's four fields and words for people."""
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert len(error["message"]) > 10
    assert isinstance(error["type"], str)
    return error


def check_headers(answer: httpx.Response) -> str:
    """The request's id, which every answer has under both names; and a retry-after that nobody sleeps on for long."""
    request = answer.headers["x-request-id"]
    assert request.startswith("req_")
    assert answer.headers["request-id"] == request
    assert 1 <= int(answer.headers.get("retry-after", "1")) <= 60
    return request


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error object of a refused request."""
    assert answer.status_code == status, answer.text
    check_headers(answer)
    assert answer.headers["content-type"] == "application/json"
    error = check_error(answer.json())
    assert error["code"] == code, error
    return error
