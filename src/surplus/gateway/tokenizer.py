"""Exact input counts from an engine's own tokenizer, for the two cases where a bound is not good enough.

A byte is at least as long as a token, so the length of a body bounds its tokens without asking anyone. Only when that
bound does not fit the money, or when a request is abandoned before its engine has said a word, is the engine asked.
"""

from typing import Any, Final

import msgspec

from surplus.gateway.body import Body
from surplus.gateway.endpoints import Endpoint
from surplus.kit.errors import SurplusError
from surplus.serving.directory import Directory
from surplus.serving.model import EngineKind
from surplus.serving.replica import Replica
from surplus.serving.upstream import Upstream

TIMEOUT_S: Final = 5.0
ANSWER_MAX: Final = 64 * 1024 * 1024

_object: Final = msgspec.json.Decoder(dict[str, Any])
_RENDERED: Final = ("messages", "tools", "tool_choice", "response_format", "chat_template_kwargs")
_TEXTS: Final = ("prompt", "input")
_Inputs = str | list[str | int | list[int]]


class Tokenizer:
    """Counts the input tokens of a request on ready replicas of its model that have a tokenizer."""

    def __init__(self, pool: Directory, upstream: Upstream) -> None:
        self._pool = pool
        self._upstream = upstream

    async def count(self, body: Body, endpoint: Endpoint) -> dict[str, int]:
        """Input tokens by deployment, for those that can tell: another model behind the same name counts otherwise."""
        counts: dict[str, int] = {}
        for replica in self._pool.candidates(body.model, embeddings=endpoint.embeddings):
            deployment = replica.deployment.id
            if replica.tokenizer and deployment not in counts:
                counted = await self.count_on(replica, body)
                if counted is not None:
                    counts[deployment] = counted
        return counts

    async def count_on(self, replica: Replica, body: Body) -> int | None:
        """Input tokens as this replica counts them, or None if it does not say."""
        try:
            with replica.lease():
                return await self._count(replica, body)
        except (SurplusError, msgspec.DecodeError, RecursionError, KeyError, TypeError, ValueError):
            return None

    async def _count(self, replica: Replica, body: Body) -> int:
        like_vllm = replica.deployment.engine in {EngineKind.VLLM, EngineKind.SGLANG}
        if "messages" in body.fields:
            rendered = {name: body.fields[name] for name in _RENDERED if name in body.fields}
            if like_vllm:
                return await self._vllm(replica, rendered)
            prompt = (await self._ask(replica, "/apply-template", _join(rendered)))["prompt"]
            return await self._llama(replica, msgspec.json.encode(prompt))
        name = next(name for name in _TEXTS if name in body.fields)
        total = 0
        for text in _texts(msgspec.json.decode(body.fields[name], type=_Inputs)):
            if isinstance(text, list):
                total += len(text)
            elif like_vllm:
                total += await self._vllm(replica, {"prompt": msgspec.json.encode(text)})
            else:
                total += await self._llama(replica, msgspec.json.encode(text))
        return total

    async def _vllm(self, replica: Replica, fields: dict[str, bytes]) -> int:
        """Of messages, or of one prompt: it takes no list, and no `input`."""
        model = msgspec.json.encode(replica.deployment.upstream_model)
        return int((await self._ask(replica, "/tokenize", _join({**fields, "model": model})))["count"])

    async def _llama(self, replica: Replica, content: bytes) -> int:
        """Of a text, or of a rendered prompt, which comes without the token that every text begins with."""
        asked = b'{"content":%b,"add_special":true,"parse_special":true}' % content
        answer = await self._ask(replica, "/tokenize", asked)
        return len(answer["tokens"])

    async def _ask(self, replica: Replica, path: str, body: bytes) -> dict[str, Any]:
        headers = {**replica.headers, "content-type": "application/json"}
        answer = await self._upstream.send(
            replica.root_url,
            path,
            headers=headers,
            body=body,
            connect_timeout_s=TIMEOUT_S,
            first_byte_timeout_s=TIMEOUT_S,
            reuse=False,
        )
        data = await answer.read(ANSWER_MAX, TIMEOUT_S)
        answer.release()
        return _object.decode(data)


def _texts(content: _Inputs) -> list[str | list[int]]:
    """Every input of a `prompt` or `input` field: texts, or lists of token ids."""
    if isinstance(content, str):
        return [content]
    ids = [item for item in content if isinstance(item, int)]
    return [ids] if ids else [item for item in content if not isinstance(item, int)]


def _join(fields: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), raw) for name, raw in fields.items()) + b"}"
