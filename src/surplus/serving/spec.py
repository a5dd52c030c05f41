"""What an operator asks for when making a deployment, and the rules it has to obey."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from surplus.serving.errors import BadDeployment
from surplus.serving.model import Deployment, EngineKind

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}")
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
DEFAULT_OUTPUT_MAX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """A deployment as it is asked for; `Deployment` says what the fields mean.

    Where nothing is said: `id` is made up, `upstream_model` and `sku` are the model's name, and `max_output` is half
    the context, at most 4096 tokens.
    """

    model: str
    engine: str
    context: int
    max_output: int | None = None
    id: str | None = None
    path: str | None = None
    url: str | None = None
    key_env: str | None = None
    key_file: str | None = None
    upstream_model: str | None = None
    template_tokens: int = 64
    sku: str | None = None
    priority: int = 0
    replicas: int = 1
    slots: int = 4
    embeddings: bool = False


def deployment(spec: DeploymentSpec, *, make_id: Callable[[], str], now: float) -> Deployment:
    """The deployment that the spec describes. Raises BadDeployment with the first rule that it breaks."""
    engine = _engine(spec.engine)
    _check_names(spec)
    _check_place(spec, engine)
    _check_key(spec, engine)
    _check_numbers(spec, engine)
    output = max(1, min(DEFAULT_OUTPUT_MAX, spec.context // 2)) if spec.max_output is None else spec.max_output
    if not 1 <= output <= spec.context:
        raise _bad("max_output", f"max_output is {output}; it must be from 1 to the context, {spec.context} tokens")
    return Deployment(
        id=spec.id or make_id(),
        model=spec.model,
        engine=engine,
        path=spec.path,
        url=None if spec.url is None else spec.url.rstrip("/"),
        key_env=spec.key_env,
        key_file=spec.key_file,
        upstream_model=spec.upstream_model or spec.model,
        context=spec.context,
        max_output=output,
        template_tokens=spec.template_tokens,
        sku=spec.sku or spec.model,
        priority=spec.priority,
        replicas=spec.replicas,
        min_replicas=spec.replicas,
        max_replicas=spec.replicas,
        slots=spec.slots,
        embeddings=spec.embeddings,
        created_at=now,
    )


def _bad(param: str, message: str) -> BadDeployment:
    return BadDeployment(message, param=param)


def _engine(name: str) -> EngineKind:
    try:
        return EngineKind(name)
    except ValueError as error:
        known = ", ".join(EngineKind)
        raise _bad("engine", f"{name!r} is not an engine; choose one of {known}") from error


def _check_names(spec: DeploymentSpec) -> None:
    for param, name in (("id", spec.id), ("model", spec.model), ("sku", spec.sku)):
        if name is not None and not _NAME.fullmatch(name):
            rule = "letters, digits and . _ : / @ -, at most 128, beginning with a letter or digit"
            raise _bad(param, f"{name!r} cannot be a {param}; write {rule}")
    if spec.upstream_model is not None and not 1 <= len(spec.upstream_model.strip()) <= 256:
        raise _bad("upstream_model", "upstream_model is empty or longer than 256 characters; leave it out or name it")


def _check_place(spec: DeploymentSpec, engine: EngineKind) -> None:
    if engine.embedded:
        if not spec.path:
            raise _bad("path", f"{engine} runs a model file; give the path of a GGUF file")
        if spec.url:
            raise _bad("url", f"{engine} starts its own process, so a url has no effect; leave it out")
        return
    if spec.path:
        raise _bad("path", f"{engine} is reached over HTTP, so a path has no effect; leave it out")
    if not spec.url:
        raise _bad("url", f"{engine} is reached over HTTP; give its base URL, such as http://gpu-07:8000/v1")
    _check_url(spec.url)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port_is_good = parts.port != 0
    except ValueError as error:
        raise _bad("url", "the url cannot be read; write it as http://gpu-07:8000/v1") from error
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        # Not repeated in the message: this is where people put secrets.
        raise _bad("url", "a url carries no user, password, query or fragment; name the key in key_env or key_file")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_good or re.search(r"\s", url):
        raise _bad("url", f"{url!r} is not an http or https URL; write it as http://gpu-07:8000/v1")
    if not parts.path.rstrip("/").endswith("/v1"):
        raise _bad("url", f"{url!r} does not end in /v1; give the base URL that /chat/completions is appended to")


def _check_key(spec: DeploymentSpec, engine: EngineKind) -> None:
    if spec.key_env is not None and spec.key_file is not None:
        raise _bad("key_env", "both key_env and key_file are given; say one place where the key is")
    if engine.embedded and (spec.key_env is not None or spec.key_file is not None):
        raise _bad("key_env", f"{engine} makes its own key for every process; leave key_env and key_file out")
    if spec.key_env is not None and not _VARIABLE.fullmatch(spec.key_env):
        rule = "key_env is the name of an environment variable, such as OPENAI_API_KEY, never the key itself"
        raise _bad("key_env", f"{rule}; capitals, digits and underscores")
    if spec.key_file is not None and (not spec.key_file.startswith("/") or "\n" in spec.key_file):
        raise _bad("key_file", "key_file is the absolute path of a file that holds the key, never the key itself")


def _check_numbers(spec: DeploymentSpec, engine: EngineKind) -> None:
    least = {"context": 1, "slots": 1, "replicas": 1, "template_tokens": 0, "priority": 0}
    for param, low in least.items():
        value: int = getattr(spec, param)
        if value < low:
            raise _bad(param, f"{param} is {value}; it must be at least {low}")
        if value >= 2**31:
            raise _bad(param, f"{param} is {value}; that is more than any engine takes")
    if spec.replicas > 1 and not engine.embedded:
        raise _bad("replicas", "one url is one replica; make one deployment for each engine behind this model")
