"""The verdict of a soak, in words and figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.soak.run import Plan, Soaked, disagreements, leaks
from bench.soak.slope import Slope, slope
from bench.soak.watch import Reading

KIB = 1024
MIB = 1024 * 1024
WARM_UP, WARM_UP_SECONDS = 1 / 3, 300.0
"""Memory counts after this share of the time, and not before so many seconds: the database's page caches, of 2 MiB for
each of its connections, and the allocator's arenas fill before.
"""
JUDGED_SECONDS = 120.0
"""Memory that was watched for less than this after the warm-up says nothing about leaks."""
TOLERATED_BYTES = 8.0
"""Growth per request below which the whole interval has to lie for a run to pass: smaller than anything leaked."""


@dataclass(frozen=True)
class Growth:
    """How memory grew after the warm-up: bytes per second, and per request."""

    anonymous: Slope
    resident: Slope
    seconds: float
    rate: float

    @property
    def judged(self) -> bool:
        return self.seconds >= JUDGED_SECONDS

    @property
    def leaks(self) -> bool:
        """Even the lower end of the interval is growth that would matter."""
        return self.judged and self.anonymous.low / self.rate > TOLERATED_BYTES


def growth(readings: Sequence[Reading], rate: float) -> Growth | None:
    """None where there are too few readings."""
    last = readings[-1].at if readings else 0.0
    warm = max(last * WARM_UP, WARM_UP_SECONDS)
    kept = [one for one in readings if one.at >= warm]
    if len(kept) < 3:
        return None
    times = [one.at for one in kept]
    return Growth(
        slope(times, [float(one.anonymous) for one in kept]),
        slope(times, [float(one.resident) for one in kept]),
        times[-1] - times[0],
        rate,
    )


def failures(soaked: Soaked, memory: Growth | None) -> list[str]:
    """Everything that makes the run a failure."""
    found = [*leaks(soaked), *disagreements(soaked)]
    if soaked.faults:
        found.append(f"{soaked.faults} bad answers, such as {soaked.bad[0]}")
    if soaked.exit_status != 0:
        found.append(f"the server ended with status {soaked.exit_status}")
    if memory is not None and memory.leaks:
        found.append(f"memory grows: at least {memory.anonymous.low / memory.rate:.0f} bytes a request")
    return found


def render(plan: Plan, soaked: Soaked, memory: Growth | None, failed: Sequence[str]) -> str:
    """The whole report."""
    return "\n".join([*_load(plan, soaked), "", *_memory(soaked, memory), "", *_rest(soaked), "", *_verdict(failed)])


def _load(plan: Plan, soaked: Soaked) -> Iterator[str]:
    yield f"{soaked.asked.total():,} requests, {plan.rate:g} a second for {plan.seconds / 60:.1f} minutes"
    for kind, count in sorted(soaked.asked.items()):
        yield f"  {kind:28} {count:>9,}"


def _memory(soaked: Soaked, memory: Growth | None) -> Iterator[str]:
    first, last = soaked.before, soaked.during[-1] if soaked.during else soaked.after
    peak = max((one.anonymous for one in soaked.during), default=0)
    yield (
        f"own memory {first.anonymous / MIB:.1f} MiB before, {peak / MIB:.1f} at most,"
        f" {last.anonymous / MIB:.1f} in the end; resident {last.resident / MIB:.1f} MiB"
    )
    if memory is None:
        yield f"  no slope: memory counts after {WARM_UP_SECONDS:.0f} s, when caches are full"
        return
    for name, line in (("own memory", memory.anonymous), ("resident", memory.resident)):
        hour = 3600 / KIB
        word = "contains zero" if line.contains_zero else "does not contain zero"
        yield (
            f"  {name:10} {line.value * hour:+9.0f} KiB/h, 95 % interval {line.low * hour:+.0f} to"
            f" {line.high * hour:+.0f} ({word}); {line.value / memory.rate:+.1f} bytes a request"
        )
    if not memory.judged:
        yield f"  {memory.seconds:.0f} s after the warm-up are too few to judge by; {JUDGED_SECONDS:.0f} s are needed"


def _rest(soaked: Soaked) -> Iterator[str]:
    before, after, accounts = soaked.before, soaked.after, soaked.accounts
    busiest = max((one.gauges["in_flight"] for one in soaked.during), default=0)
    lag = max((one.gauges["journal_lag_bytes"] for one in soaked.during), default=0.0)
    yield f"at most {busiest:g} requests in flight, and {lag:,.0f} bytes of journal ahead of the database"
    for name in ("in_flight", "slots_in_use", "granted_dollars", "upstream_connections", "tasks"):
        yield f"  {name:28} {before.gauges[name]:>9g} before {after.gauges[name]:>9g} after"
    yield f"  {'sockets':28} {before.sockets:>9} before {after.sockets:>9} after"
    yield f"  {'threads':28} {before.threads:>9} before {after.threads:>9} after"
    yield f"  {'generations':28} {accounts.generations:>9,}, records {accounts.records:,}"
    yield f"  {'charged':28} {accounts.charged:>9} USD, settled {accounts.settled} USD, held {accounts.held} USD"
    if soaked.complaints:
        yield f"  {len(soaked.complaints)} warnings in the log, such as {soaked.complaints[0][:300]}"


def _verdict(failed: Sequence[str]) -> Iterator[str]:
    if not failed:
        yield "passed: nothing leaked, and every request is accounted for"
        return
    yield "FAILED"
    yield from (f"  {why}" for why in failed)
