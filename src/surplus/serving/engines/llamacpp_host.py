"""The process of one embedded engine: `python -m surplus.serving.engines.llamacpp_host`.

Reads its settings as one line of JSON from its input, prints one line of JSON with its address, and serves until its
input ends or it is terminated. The input ends when the server that started it is gone, however it went, so no engine
outlives its server.
"""

import importlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, Final

llama: Any = importlib.import_module("xllamacpp")  # it has no types, and importing it so says as much

# A request holds one of these threads from its arrival, also while it waits for a slot, and so does a health check.
# By default there are few and more are made on demand, but a burst leaves connections waiting without one: then an
# engine with a long queue looks like one that hangs. A thousand of them cost 8 MB.
HTTP_THREADS: Final = 1024
ERRORS: Final = 1
SILENT: Final = 0


def parameters(config: dict[str, Any], verbosity: int) -> Any:
    """llama.cpp's settings for this engine; each slot has the whole context to itself."""
    params = llama.CommonParams()
    params.model.path = config["path"]
    params.model_alias = {config["alias"]}
    params.api_keys = [config["key"]]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = config["slots"]
    params.n_ctx = config["context"] * config["slots"]
    params.kv_unified = False
    params.cpuparams.n_threads = config["threads"]
    params.cpuparams_batch.n_threads = config["threads"]
    params.cache_ram_mib = config["cache_mib"]
    params.n_threads_http = HTTP_THREADS
    params.fit_params = False
    params.verbosity = verbosity
    params.ui = False
    params.endpoint_metrics = params.endpoint_slots = params.endpoint_props = True
    if config["embeddings"]:
        params.embedding = True
        params.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        # A text is embedded in one batch; with the default of 512 tokens a longer one is refused.
        params.n_batch = params.n_ubatch = max(512, config["context"])
    return params


def serve(config: dict[str, Any]) -> Any:
    """Load the model and listen. Exits when that fails, with the engine's own words on stderr."""
    path = config["path"]
    if not Path(path).is_file():
        sys.exit(f"there is no file {path}; check the deployment's path")
    try:
        return llama.Server(parameters(config, SILENT))
    except RuntimeError:
        # Its errors could quote prompts, so it serves in silence; only to say why it cannot start it may talk.
        return _explain(config)


def _explain(config: dict[str, Any]) -> None:
    try:
        kept = llama.Server(parameters(config, ERRORS))
    except RuntimeError as error:
        sys.exit(f"{config['path']} could not be loaded: {error}")
    sys.stderr.write(f"the engine started at its second try only ({kept.listening_address})\n")
    sys.stderr.flush()
    os._exit(1)  # `kept` must not be taken down, see main


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # taking the engine down in good order can hang; there is nothing to save


def main() -> None:
    """Serve until the input ends, which is watched from the start: loading a large model takes minutes."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever the engine prints must not get between us and our reader
    config = json.loads(sys.stdin.buffer.readline())
    watch = threading.Thread(target=_end_with_input, daemon=True)
    watch.start()
    server = serve(config)
    os.write(answers, json.dumps({"address": server.listening_address}).encode() + b"\n")
    os.close(answers)
    watch.join()


if __name__ == "__main__":
    main()
