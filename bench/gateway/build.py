"""Compiles the upstream and the load generator into bench/bin."""

import os
import shutil
import subprocess
from pathlib import Path

_SOURCES = Path(__file__).parent
_BINARIES = _SOURCES.parent / "bin"
_PROGRAMS = {"upstream": ("upstream.c", "answers.c"), "load": ("load.c", "response.c")}


class BuildError(Exception):
    """There is no C compiler, or it refused a source."""


def build(name: str) -> Path:
    """The path of a program, compiled if a source or header is newer. Raises BuildError."""
    binary = _BINARIES / name
    sources = [_SOURCES / source for source in _PROGRAMS[name]]
    newest = max(path.stat().st_mtime for path in (*sources, *_SOURCES.glob("*.h")))
    if binary.exists() and binary.stat().st_mtime >= newest:
        return binary
    compiler = shutil.which("cc")
    if compiler is None:
        raise BuildError("there is no C compiler (cc) on PATH; install one, for example with `apt install gcc`")
    _BINARIES.mkdir(parents=True, exist_ok=True)
    # Renamed into place when done: another process may be running the old one, or be building at the same time.
    fresh = binary.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(fresh), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr}")
    fresh.replace(binary)
    return binary
