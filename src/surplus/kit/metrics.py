"""Metrics of several processes as one: each sends a snapshot of its registry, and one process adds them up."""

from collections.abc import Iterable
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

_Labels = tuple[tuple[str, str], ...]
_Values = dict[tuple[str, _Labels], float]

_CREATED: Final = "_created"


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric: its samples are a name, labels and a value each."""

    name: str
    about: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Family]).decode


def snapshot(registry: CollectorRegistry) -> bytes:
    """Everything that the registry has now."""
    return _encode([_family(metric) for metric in registry.collect()])


def _family(metric: Metric) -> Family:
    samples = [(sample.name, sample.labels, sample.value) for sample in metric.samples]
    return Family(metric.name, metric.documentation, metric.type, samples)


class Merged(Collector):
    """The sum of the latest snapshots of all processes, and of what those counted that have ended.

    A gauge is the sum over the processes that live. What a process counted between its last snapshot and its end is
    missing.
    """

    def __init__(self) -> None:
        self._latest: dict[str, list[Family]] = {}
        self._ended: dict[str, tuple[Family, _Values]] = {}

    def hear(self, process: str, snapshot: bytes) -> None:
        """A process sent a snapshot."""
        self._latest[process] = _decode(snapshot)

    def retire(self, process: str) -> None:
        """A process has ended: what it counted stays counted."""
        _add(self._ended, [one for one in self._latest.pop(process, []) if one.kind != "gauge"])

    def describe(self) -> Iterable[Metric]:
        """Nothing yet: the processes know what there is."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The sums."""
        sums = {name: (family, dict(values)) for name, (family, values) in self._ended.items()}
        for families in self._latest.values():
            _add(sums, families)
        for family, values in sums.values():
            metric = Metric(family.name, family.about, family.kind)
            metric.samples = [Sample(name, dict(labels), value) for (name, labels), value in values.items()]
            yield metric


def _add(sums: dict[str, tuple[Family, _Values]], families: Iterable[Family]) -> None:
    for family in families:
        _, values = sums.setdefault(family.name, (family, {}))
        for name, labels, value in family.samples:
            key = name, tuple(labels.items())
            if name.endswith(_CREATED):
                values[key] = min(values.get(key, value), value)
            else:
                values[key] = values.get(key, 0.0) + value
