"""What a server holds, seen from outside: memory, descriptors and threads in /proc, the rest in its metrics."""

import re
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from bench.gateway.processes import BenchError

METRICS_SECONDS = 10.0
_GAUGE = re.compile(r"^surplus_(\w+) (\S+)$", re.MULTILINE)
_SIZES = re.compile(r"^(VmRSS|RssAnon|Threads):\s+(\d+)", re.MULTILINE)

WORK = ("in_flight", "slots_in_use", "granted_dollars", "unwritten_settlements", "journal_lag_bytes")
"""Gauges that have to come back to nothing."""
HELD = ("tasks", "upstream_connections")
"""Gauges that have to come back to what they were."""


@dataclass(frozen=True)
class Reading:
    """One moment. Memory in bytes: `anonymous` is the process's own, `resident` has pages of files in it too."""

    at: float
    anonymous: int
    resident: int
    threads: int
    descriptors: int
    sockets: int
    gauges: dict[str, float]


@dataclass(frozen=True)
class Watch:
    """Reads one server process."""

    pid: int
    port: int

    def read(self, at: float) -> Reading:
        """Everything at once. Raises BenchError if the server has gone or does not answer."""
        try:
            sizes = dict(_SIZES.findall(Path(f"/proc/{self.pid}/status").read_text()))
            open_files = [_target(link) for link in Path(f"/proc/{self.pid}/fd").iterdir()]
            gauges = self._gauges()
        except (OSError, HTTPException) as error:
            raise BenchError(f"the server cannot be watched: {error}") from error
        return Reading(
            at=at,
            anonymous=int(sizes["RssAnon"]) * 1024,
            resident=int(sizes["VmRSS"]) * 1024,
            threads=int(sizes["Threads"]),
            descriptors=len(open_files),
            sockets=sum(target.startswith("socket:") for target in open_files),
            gauges=gauges,
        )

    def _gauges(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=METRICS_SECONDS) as answer:
            return {name: float(value) for name, value in _GAUGE.findall(answer.read().decode())}


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # closed since it was listed
        return ""
