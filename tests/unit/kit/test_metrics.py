from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from surplus.kit.metrics import Merged, snapshot


def process(requests: int, in_flight: float, took: float, model: str = "tiny") -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("requests", "All of them", ("model",), registry=registry).labels(model).inc(requests)
    Gauge("in_flight", "Now", registry=registry).set(in_flight)
    Histogram("took", "Seconds", buckets=(1.0, 2.0), registry=registry).observe(took)
    return registry


def told(merged: Merged) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(merged)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines) if "_created" not in name}


def test_one_process_looks_as_it_does_by_itself() -> None:
    alone = process(3, 2, 1.5)
    merged, registry = Merged(), CollectorRegistry()
    registry.register(merged)
    merged.hear("a", snapshot(alone))
    assert generate_latest(registry) == generate_latest(alone)


def test_processes_are_added_up() -> None:
    merged = Merged()
    merged.hear("a", snapshot(process(3, 2, 0.5)))
    merged.hear("b", snapshot(process(4, 1, 1.5, "large")))
    merged.hear("a", snapshot(process(5, 0, 0.5)))
    assert told(merged) == {
        'requests_total{model="tiny"}': 5,
        'requests_total{model="large"}': 4,
        "in_flight": 1,
        'took_bucket{le="1.0"}': 1,
        'took_bucket{le="2.0"}': 2,
        'took_bucket{le="+Inf"}': 2,
        "took_count": 2,
        "took_sum": 2.0,
    }


def test_what_a_process_counted_outlives_it_and_what_it_was_doing_does_not() -> None:
    merged = Merged()
    merged.hear("a", snapshot(process(3, 2, 0.5)))
    merged.retire("a")
    merged.retire("a")
    merged.retire("never there")
    assert told(merged)['requests_total{model="tiny"}'] == 3
    assert "in_flight" not in told(merged)
    merged.hear("a again", snapshot(process(1, 1, 0.5)))
    assert told(merged)['requests_total{model="tiny"}'] == 4
    assert told(merged)["in_flight"] == 1
