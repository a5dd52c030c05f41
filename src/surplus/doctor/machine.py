"""Checks of the machine: Python, packages, the disk, the port."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from surplus.doctor.check import Check, failed, ok, warning
from surplus.kit.clock import Clock

OLDEST_PYTHON: Final = (3, 11)
FREE_BYTES_LEAST: Final = 256 * 2**20
FREE_BYTES_GOOD: Final = 5 * 2**30
FSYNCS: Final = 20
FSYNC_MS_GOOD: Final = 20.0
ANSWER_S: Final = 3.0

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:>=([0-9.]+))?")
# A package that ends the process (machine code for another processor) is named by the last line.
_IMPORT_EACH: Final = """
import importlib, sys
for name in sys.argv[1:]:
    print(name, flush=True)
    importlib.import_module(name)
"""
_EVERYWHERE: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not bound


def python(version: tuple[int, int, int]) -> Check:
    """Whether this Python is new enough."""
    text = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return failed("python", f"this is Python {text}; 3.11 is the oldest that works", "install a newer Python")
    return ok("python", f"Python {text}")


def packages(requirements: Iterable[str]) -> Check:
    """Whether every required package (`name>=version`) is there, new enough, and can be imported."""
    wanted = [match for each in requirements if "extra ==" not in each and (match := _REQUIREMENT.match(each))]
    versions = {match[1]: _version(match[1]) for match in wanted}
    wrong = [f"{name} is missing" for name, version in versions.items() if version is None]
    for match in wanted:
        version = versions[match[1]]
        if version is not None and match[2] and _numbers(version) < _numbers(match[2]):
            wrong.append(f"{match[1]} is {version}, but {match[2]} is the oldest that works")
    if not wrong:
        wrong = _broken(versions)
    if wrong:
        return failed("packages", "; ".join(wrong), "run `make setup` again, or install the package surplus again")
    return ok("packages", ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"[0-9]+", version)[:3]]


def _broken(names: Iterable[str]) -> list[str]:
    modules = sorted({_module(name) for name in names})
    command = [sys.executable, "-P", "-c", _IMPORT_EACH, *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own interpreter
    if done.returncode == 0:
        return []
    reached = done.stdout.split() or ["python"]
    said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
    return [f"{reached[-1]} cannot be imported: {said[-1]}"]


def _module(distribution: str) -> str:
    """The module of a distribution: the one of its name, else the part of the name before the first hyphen."""
    name = distribution.replace("-", "_")
    return name if importlib.util.find_spec(name) else distribution.partition("-")[0]


def disk(directory: Path) -> Check:
    """Whether the disk has room."""
    return judge_disk(shutil.disk_usage(directory).free)


def judge_disk(free_bytes: int) -> Check:
    """What so much free room means."""
    finding = f"{free_bytes / 2**30:.1f} GiB free"
    if free_bytes < FREE_BYTES_LEAST:
        remedy = "free some room now: requests are refused when the journal cannot grow"
        return failed("disk", finding, remedy)
    if free_bytes < FREE_BYTES_GOOD:
        return warning("disk", finding, "free some room, or move the data directory to a larger disk")
    return ok("disk", finding)


def fsync(directory: Path, clock: Clock) -> Check:
    """How long the disk takes to make something durable."""
    durations: list[float] = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(FSYNCS):
            file.write(b"surplus " * 512)
            started = clock.monotonic()
            os.fsync(file.fileno())
            durations.append(clock.monotonic() - started)
    return judge_fsync(statistics.median(durations) * 1000)


def judge_fsync(median_ms: float) -> Check:
    """What such a median means: each payment and each hold near a cap waits for one."""
    finding = f"the disk makes a write durable in {median_ms:.1f} ms (median of {FSYNCS})"
    if median_ms > FSYNC_MS_GOOD:
        remedy = "put the data directory on a local solid-state disk: network and spinning disks are slow at this"
        return warning("fsync", finding, remedy)
    return ok("fsync", finding)


def port(host: str, number: int, *, tls: bool = False) -> Check:
    """Whether the port can be listened on, or a Surplus does so already."""
    place = f"{host}:{number}"
    if number == 0:
        return ok("port", "a free one is taken at each start")
    address = _EVERYWHERE.get(host, host)
    scheme = "https" if tls else "http"
    url = f"{scheme}://{f'[{address}]' if ':' in address else address}:{number}/readyz"
    try:  # whether the certificate is believed here is no matter of the port
        response = httpx.get(url, timeout=ANSWER_S, trust_env=False, verify=False)  # noqa: S501
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return _free(host, number, place)
    except httpx.TransportError:
        return _taken(place)
    readiness = _readiness(response)
    if readiness is None:
        return _taken(place)
    if not readiness["ready"]:
        why = "; ".join(map(str, readiness["why"]))
        return warning("port", f"a Surplus answers at {place}, but is not ready: {why}", "wait, or read its log")
    return ok("port", f"a Surplus answers at {place}")


def _readiness(response: httpx.Response) -> dict[str, Any] | None:
    try:
        said = json.loads(response.content)
    except ValueError:
        return None
    return said if isinstance(said, dict) and {"ready", "why"} <= said.keys() else None  # pyright: ignore[reportUnknownVariableType]  JSON


def _taken(place: str) -> Check:
    remedy = "stop what listens there (`ss -ltnp` names it), or choose another port: surplus serve --port N"
    return failed("port", f"{place} is taken by something that is not a Surplus", remedy)


def _free(host: str, number: int, place: str) -> Check:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, number))
        except OSError as error:
            finding = f"cannot listen on {place}: {error.strerror}"
            return failed("port", finding, "choose another: surplus serve --port N, or server.host in surplus.toml")
    return ok("port", f"{place} is free")
