"""The embedded engine: llama.cpp in a process of its own, which we start, watch, and stop by its pid."""

import asyncio
import contextlib
import json
import signal
import sys
from dataclasses import dataclass
from typing import Any, Final

from surplus.kit.ids import Ids
from surplus.serving.engines.http import ask
from surplus.serving.errors import EngineFailed, EngineMisconfigured
from surplus.serving.model import Deployment
from surplus.serving.ports import Endpoint
from surplus.serving.upstream import Upstream

# -P: a file in the working directory must not be taken for a module.
COMMAND: Final = (sys.executable, "-P", "-m", "surplus.serving.engines.llamacpp_host")
WORDS_MAX: Final = 2000
LOOK_EVERY_S: Final = 0.05
REAP_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaSettings:
    """`threads` to compute with: a tiny model is fastest on one, a large one on as many as there are cores to spare.

    `cache_mib` of memory keep the prefixes of conversations that have left their slot.
    """

    threads: int = 1
    cache_mib: int = 256


class LlamaCpp:
    """One llama.cpp process."""

    def __init__(self, deployment: Deployment, *, upstream: Upstream, ids: Ids, settings: LlamaSettings) -> None:
        self._deployment = deployment
        self._upstream = upstream
        self._ids = ids
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._words = b""
        self._endpoint = Endpoint("", {})

    async def start(self, within_s: float) -> Endpoint:
        try:
            async with asyncio.timeout(within_s):
                key = self._ids.secret()
                address = await self._spawn(key)
                headers = {"authorization": f"Bearer {key}"}
                pid = None if self._process is None else self._process.pid
                self._endpoint = Endpoint(f"{address}/v1", headers, pid)
                await self._until_healthy(within_s)
        except TimeoutError as error:
            raise EngineFailed(f"the engine was not up within {within_s:g} s{self._last_words()}") from error
        return self._endpoint

    async def _spawn(self, key: str) -> str:
        """Start the process and wait for its address. The key goes through a pipe: arguments can be read by all."""
        assert self._process is None, "stop comes before the next start"
        pipe = asyncio.subprocess.PIPE
        # A session of its own: an interrupt typed at the server's terminal must not end engines that are to be drained.
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        self._process = process
        self._words = b""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._listening = asyncio.create_task(self._listen(process.stderr))
        process.stdin.write(self._config(key))
        line = await process.stdout.readline()
        if not line:
            raise EngineFailed(await self._obituary())
        return json.loads(line)["address"]

    def _config(self, key: str) -> bytes:
        deployment = self._deployment
        config = {
            "path": deployment.path,
            "alias": deployment.upstream_model,
            "key": key,
            "slots": deployment.slots,
            "context": deployment.context,
            "embeddings": deployment.embeddings,
            "threads": self._settings.threads,
            "cache_mib": self._settings.cache_mib,
        }
        return json.dumps(config).encode() + b"\n"

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        """Read what the process says, so that it never waits for us, and keep the end of it."""
        while data := await stderr.read(4096):
            self._words = (self._words + data)[-WORDS_MAX:]

    async def _until_healthy(self, within_s: float) -> None:
        while True:
            try:
                await self.probe(within_s)
            except EngineFailed:
                if self._process is None or self._process.returncode is not None:
                    raise
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                return

    async def probe(self, within_s: float) -> Endpoint:
        endpoint = self._endpoint
        status, _ = await self._ask(endpoint.root_url, "/health", b"", within_s)
        if status != 200:
            raise EngineFailed(f"the engine says that it is not healthy (status {status}){self._last_words()}")
        return endpoint

    async def warm(self, within_s: float) -> None:
        """One request, because the first is slow; and a check that a sequence gets the context that we promise."""
        endpoint, deployment = self._endpoint, self._deployment
        status, body = await self._ask(endpoint.root_url, "/props", b"", within_s)
        has = _context(body) if status == 200 else None
        if has is not None and has < deployment.context:
            message = f"the model takes {has} tokens, but the deployment says {deployment.context}"
            raise EngineMisconfigured(f"{message}; make it again with a context of at most {has}")
        if deployment.embeddings:
            path, request = "/embeddings", b'{"input":"warm"}'
        else:
            path, request = "/completions", b'{"prompt":"warm","max_tokens":1}'
        status, body = await self._ask(endpoint.base_url, path, request, within_s)
        if status != 200:
            raise EngineFailed(
                f"the engine refused its warm-up with status {status}: {body[:500].decode('utf-8', 'replace')}"
            )

    async def _ask(self, url: str, path: str, body: bytes, within_s: float) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(within_s):
                said = await ask(
                    self._upstream, url, path, headers=self._endpoint.headers, body=body, within_s=within_s
                )
        except TimeoutError as error:
            raise EngineFailed(f"the engine did not answer {path} within {within_s:g} s{self._last_words()}") from error
        except EngineFailed as error:
            if await self._is_dead():
                raise EngineFailed(await self._obituary()) from error
            raise
        return said.status, said.body

    async def _is_dead(self) -> bool:
        """A broken connection is noticed before the death that broke it, so give the news a moment to come."""
        if self._process is None:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REAP_S):
                await self._process.wait()
        return self._process.returncode is not None

    async def ended(self) -> str:
        return await self._obituary()

    async def _obituary(self) -> str:
        """How the process ended, with its last words; waits for the end."""
        if self._process is None or self._listening is None:
            return "the engine does not run"
        status = await self._process.wait()
        await asyncio.wait({self._listening})
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"the engine {how}{self._last_words()}"

    def _last_words(self) -> str:
        words = self._words.decode("utf-8", "replace").strip()
        return f"; it said: {words}" if words else ""

    async def stop(self, grace_s: float) -> None:
        process, listening = self._process, self._listening
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it may end at any moment by itself
            if grace_s > 0 and process.returncode is None:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace_s):
                        await process.wait()
            if process.returncode is None:
                process.kill()
        await process.wait()
        if listening is not None:
            await asyncio.wait({listening})
        self._process, self._listening = None, None


def _context(props: bytes) -> int | None:
    """The tokens that one slot takes, from the engine's properties."""
    fields: dict[str, Any] = json.loads(props)
    settings: dict[str, Any] = fields.get("default_generation_settings") or {}
    return settings.get("n_ctx")
