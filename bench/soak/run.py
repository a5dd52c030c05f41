"""One soak: a burst to warm up, the load while memory is watched, and a look at what is left when all is quiet."""

import asyncio
import json
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.gateway.build import build
from bench.gateway.processes import Cores, pinned, wait_until
from bench.gateway.rounds import upstream
from bench.soak.callers import Kind, Load
from bench.soak.server import MODELS, ORGANIZATION, Sold, serving
from bench.soak.watch import HELD, WORK, Reading, Watch

BURST_SECONDS = 3.0
QUIET_SECONDS = 30.0
SETTLE_SECONDS = 8.0
"""Idle connections to engines are given up within this time."""
SPARE_THREADS, SPARE_FILES = 8, 24
"""Threads that read the database start when they are first needed together, and each opens its files."""


@dataclass(frozen=True)
class Plan:
    """What to do: requests a second, for how many seconds, looking every so many seconds."""

    program: Path
    cores: Cores
    seconds: float
    rate: float
    every: float
    seed: int


@dataclass(frozen=True)
class Accounts:
    """What everyone has counted in the end: the upstream, the server's records, its ledger."""

    generations: int
    records: int
    held: str
    settled: str
    charged: str
    sound: bool


@dataclass(frozen=True)
class Soaked:
    """What happened."""

    asked: Counter[Kind]
    faults: int
    bad: Sequence[str]
    before: Reading
    during: Sequence[Reading]
    after: Reading
    accounts: Accounts
    complaints: Sequence[str]
    exit_status: int | None


def run(plan: Plan) -> Soaked:
    """Raises BenchError if something cannot be started or dies."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        stack.enter_context(pinned(plan.cores.load))
        upstream_port = stack.enter_context(upstream(build("upstream")))
        sold = stack.enter_context(serving(plan.program, folder, upstream_port, plan.cores))
        watch = Watch(sold.process.pid, sold.port)
        load = Load(sold.port, sold.key, list(MODELS), plan.rate, plan.seed)
        asyncio.run(load.run(BURST_SECONDS))
        before = _quiet(watch)
        during = asyncio.run(_watched(load, watch, plan))
        after = _quiet(watch)
        accounts = _accounts(sold, upstream_port)
        return Soaked(
            load.asked,
            load.faults,
            load.bad,
            before,
            during,
            after,
            accounts,
            exit_status=sold.drain(),
            complaints=sold.complaints,
        )


async def _watched(load: Load, watch: Watch, plan: Plan) -> list[Reading]:
    """Run the load, and read the server while it runs."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    running = asyncio.create_task(load.run(plan.seconds))
    readings: list[Reading] = []
    while not running.done():
        await asyncio.wait([running], timeout=plan.every)
        reading = await asyncio.to_thread(watch.read, loop.time() - start)
        if reading.at <= plan.seconds:
            readings.append(reading)
    await running
    return readings


def _quiet(watch: Watch) -> Reading:
    """The server when it has nothing to do, or after QUIET_SECONDS."""
    start = time.monotonic()
    wait_until(lambda: not any(watch.read(0).gauges[name] for name in WORK), seconds=QUIET_SECONDS)
    idle = watch.read(0).gauges["upstream_connections"] == 0
    while not idle and time.monotonic() - start < QUIET_SECONDS + SETTLE_SECONDS:
        time.sleep(0.25)
        idle = watch.read(0).gauges["upstream_connections"] == 0
    return watch.read(time.monotonic() - start)


def _accounts(sold: Sold, upstream_port: int) -> Accounts:
    with urllib.request.urlopen(f"http://127.0.0.1:{upstream_port}/counts", timeout=5) as answer:
        generations = int(json.loads(answer.read())["generations"])
    usage = sold.ask("usage", "--org", ORGANIZATION)
    balance = sold.ask("balance", "--org", ORGANIZATION)
    verdict = sold.ask("ledger", "verify")
    return Accounts(
        generations=generations,
        records=int(usage["requests"]),
        held=balance["held"],
        settled=balance["settled"],
        charged=usage["charged"],
        sound=bool(verdict["ok"]),
    )


def leaks(soaked: Soaked) -> list[str]:
    """What is not as it was before the load, or not given back."""
    before, after = soaked.before, soaked.after
    found = [f"{name} is {after.gauges[name]:g}, not 0" for name in WORK if after.gauges[name]]
    for name in HELD:
        was, now = before.gauges[name], after.gauges[name]
        if now > was:
            found.append(f"{name} is {now:g}; it was {was:g} before the load")
    for what, was, now, spare in (
        ("open sockets", before.sockets, after.sockets, 0),
        ("open files", before.descriptors - before.sockets, after.descriptors - after.sockets, SPARE_FILES),
        ("threads", before.threads, after.threads, SPARE_THREADS),
    ):
        if now > was + spare:
            found.append(f"{now} {what}; there were {was} before the load")
    if float(soaked.accounts.held):
        found.append(f"{soaked.accounts.held} USD is held though nothing runs")
    return found


def disagreements(soaked: Soaked) -> list[str]:
    """Where callers, upstream, records and ledger do not tell the same.

    A caller who leaves early may do so before its request is admitted (then there is no record) or before it is sent
    on (then there is no generation); everybody else has one record of one generation.
    """
    accounts = soaked.accounts
    asked, early = soaked.asked.total(), soaked.asked[Kind.LEFT_EARLY]
    found: list[str] = []
    if not accounts.generations <= accounts.records:
        found.append(f"{accounts.generations} generations have {accounts.records} records")
    if not asked - early <= accounts.generations:
        found.append(f"{asked} requests, {early} of them left early, led to {accounts.generations} generations")
    if not accounts.records <= asked:
        found.append(f"{asked} requests have {accounts.records} records")
    if float(accounts.settled) != float(accounts.charged):
        found.append(f"the ledger has settled {accounts.settled} USD and records charge {accounts.charged} USD")
    if not accounts.sound:
        found.append("`surplus ledger verify` found something")
    return found
