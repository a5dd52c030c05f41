"""Serves one model file with the embedded engine: prints its address, then waits until its standard input closes.

Run as a script, in a process of its own: an engine that is taken down early may hang, a process can be killed.
"""

import os
import sys
from pathlib import Path

import xllamacpp


def serve(model: Path) -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = 512
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.fit_params = False
    parameters.verbosity = 0
    parameters.port = 0
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    # Not a plain return: that would take the engine down.
    os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
