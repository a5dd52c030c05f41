"""Checks of engines: the embedded one, and those of the deployments."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from surplus.doctor.check import Check, failed, ok
from surplus.kit.clock import Clock
from surplus.kit.ids import RandomIds
from surplus.serving.engines.factory import Engines
from surplus.serving.errors import EngineFailed, EngineMisconfigured
from surplus.serving.model import Deployment, EngineKind
from surplus.serving.ports import Engine
from surplus.serving.upstream_http import HttpUpstream

START_S: Final = 60.0
ANSWER_S: Final = 5.0
STOP_S: Final = 2.0
_GGUF: Final = b"GGUF"


async def engines(
    model: Path, deployments: "list[Deployment]", *, clock: Clock, environment: Mapping[str, str]
) -> list[Check]:
    """Whether the embedded engine runs the model in the file `model`, and how each deployment is."""
    upstream = HttpUpstream()
    make = Engines(upstream=upstream, ids=RandomIds(clock), environment=environment)
    try:
        trial = await embedded(make(_trial(model)), clock)
        return [trial, *[await _deployment(each, make) for each in deployments]]
    finally:
        await upstream.close()


async def _deployment(deployment: Deployment, make: Engines) -> Check:
    return model_file(deployment) if deployment.engine.embedded else await remote(deployment, make(deployment))


def _trial(model: Path) -> Deployment:
    return Deployment(
        id="doctor",
        model="doctor",
        engine=EngineKind.LLAMACPP,
        upstream_model="doctor",
        context=256,
        max_output=16,
        sku="doctor",
        path=str(model),
        slots=1,
    )


async def embedded(engine: Engine, clock: Clock) -> Check:
    """Start the embedded engine in a process of its own, ask it something, and stop it."""
    started = clock.monotonic()
    try:
        await engine.start(START_S)
        await engine.warm(ANSWER_S)
    except EngineFailed as error:
        remedy = "run `make setup` again (package xllamacpp); engines behind a URL work without it"
        return failed("engine", f"the embedded engine does not work: {error.message}", remedy)
    finally:
        await engine.stop(STOP_S)
    return ok("engine", f"the embedded engine started and answered in {clock.monotonic() - started:.1f} s")


def model_file(deployment: Deployment) -> Check:
    """Whether the file of an embedded deployment is there and is a model."""
    name = _name(deployment)
    file = Path(deployment.path or "")
    remedy = f"put the file there, or make the deployment again: surplus deployment delete {deployment.id}"
    try:
        with file.open("rb") as opened:
            magic = opened.read(len(_GGUF))
        size = file.stat().st_size
    except OSError as error:
        return failed(name, f"the model file {file} cannot be read ({error.strerror})", remedy)
    if magic != _GGUF:
        return failed(name, f"{file} is not a GGUF file", remedy)
    return ok(name, f"{file} ({size / 2**20:,.1f} MiB)")


async def remote(deployment: Deployment, engine: Engine) -> Check:
    """Whether an engine behind a URL answers, and accepts the key that the deployment names."""
    name = _name(deployment)
    try:
        await engine.probe(ANSWER_S)
    except EngineMisconfigured as error:
        remedy = "correct it where the server runs; variables are those of whoever runs this, so run it as the server"
        return failed(name, error.message, remedy)
    except EngineFailed as error:
        remedy = f"start that engine, or make the deployment again: surplus deployment delete {deployment.id}"
        return failed(name, error.message, remedy)
    return ok(name, f"{deployment.url} answers")


def _name(deployment: Deployment) -> str:
    return f"model {deployment.model} ({deployment.id})"
