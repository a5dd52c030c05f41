"""How the servers that Surplus is compared with are started."""

import os
import subprocess
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.gateway.processes import free_port, running, wait_ready
from bench.gateway.scenarios import MODEL

START_SECONDS = 30.0
LITELLM_START_SECONDS = 180.0
LITELLM_KEY = "sk-bench"

_NGINX_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream model {{
        server 127.0.0.1:{upstream_port};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000000;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""

_LITELLM_CONFIGURATION = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/gpt-4o-mini
      api_base: http://127.0.0.1:{upstream_port}/v1
      api_key: none
litellm_settings:
  num_retries: 0
  telemetry: false
general_settings:
  master_key: {key}
"""


class Usage(msgspec.Struct, frozen=True):
    """What a server says it has charged for."""

    requests: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Server:
    """A server that is up: where it listens, the key it wants, the process whose family is measured."""

    name: str
    version: str
    port: int
    key: str
    pid: int
    usage: Callable[[], Usage] | None = None
    """Reads the server's own account of the run, where it keeps one."""


@dataclass(frozen=True)
class Workplace:
    """What every server is given: an empty folder, the port of the upstream, the core to run on."""

    folder: Path
    upstream_port: int
    core: int


Starter = Callable[[Workplace], AbstractContextManager[Server]]


@contextmanager
def nginx(program: Path, place: Workplace) -> Generator[Server]:
    """nginx as a plain reverse proxy with one worker: a lower bound for anything that stands in between."""
    port = free_port()
    configuration, log = place.folder / "nginx.conf", place.folder / "nginx.log"
    configuration.write_text(
        _NGINX_CONFIGURATION.format(folder=place.folder, port=port, upstream_port=place.upstream_port)
    )
    command = [str(program), "-e", str(place.folder / "error.log"), "-c", str(configuration)]
    with running(command, core=place.core, log=log) as process:
        wait_ready("nginx", process, f"http://127.0.0.1:{port}/v1/models", log, seconds=START_SECONDS)
        yield Server("nginx", _version_line([str(program), "-v"]), port, "none", process.pid)


@contextmanager
def litellm(program: Path, place: Workplace) -> Generator[Server]:
    """The LiteLLM proxy with one worker, its key in the configuration and no database."""
    port = free_port()
    configuration, log = place.folder / "litellm.yaml", place.folder / "litellm.log"
    configuration.write_text(
        _LITELLM_CONFIGURATION.format(model=MODEL, upstream_port=place.upstream_port, key=LITELLM_KEY)
    )
    command = [str(program), "--config", str(configuration), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1"]
    # Its price list comes with the package; without the last setting it is fetched from the network at every start.
    env = os.environ | {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with running(command, core=place.core, log=log, env=env) as process:
        url = f"http://127.0.0.1:{port}/health/liveliness"
        wait_ready("LiteLLM", process, url, log, seconds=LITELLM_START_SECONDS)
        yield Server("litellm", _version_line([str(program), "--version"]), port, LITELLM_KEY, process.pid)


def _version_line(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = [line.strip() for line in done.stdout.splitlines() if "version" in line.lower()]
    return lines[-1] if lines else "version unknown"
