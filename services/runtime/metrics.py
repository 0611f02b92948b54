"""Counts, gauges and distributions of a domain's own: plain numbers, so that a call pays for no instrument; observers publish them.

Names go by OpenTelemetry's rules (`tollway.ledger.cost`, unit `USD`); Prometheus sees `tollway_ledger_cost_USD_total`.
"""

import bisect
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

Read = Callable[[], Iterable[tuple[float, Mapping[str, str]]]]
"""What there is now, each with its attributes."""
MOST_SERIES = 2000
"""Of one counter: past that, what is new is counted under `other`."""


@dataclass(slots=True)
class Counted:
    """A number that only grows, by the values of its labels. Made once, where it is counted."""

    name: str
    unit: str
    words: str
    labels: tuple[str, ...] = ()
    values: defaultdict[tuple[str, ...], float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        _counters[self.name] = self
        for meter in _meters:
            self.publish(meter)

    def publish(self, meter: Meter) -> None:
        meter.create_observable_counter(self.name, [self.observed], self.unit, self.words)

    def add(self, amount: float, *values: str) -> None:
        if len(self.values) >= MOST_SERIES and values not in self.values:
            values = tuple("other" for _ in values)
        self.values[values] += amount

    def observed(self, _: CallbackOptions) -> Iterator[Observation]:
        for values, amount in list(self.values.items()):
            yield Observation(amount, dict(zip(self.labels, values, strict=True)))


@dataclass(slots=True)
class _Series:
    """What was measured under one set of labels."""

    counts: list[int]
    sum: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    exemplar: Exemplar | None = None


@dataclass(slots=True)
class Distribution:
    """Values in buckets, by their labels; an empty label is left out. Made once, where it is measured.

    OpenTelemetry's own histogram costs a call ten times as much, and there is no observable one: [distributed][] adds these to
    what is sent.
    """

    name: str
    unit: str
    words: str
    bounds: tuple[float, ...]
    """A bucket holds what is above the bound before it, up to its own."""
    labels: tuple[str, ...] = ()
    series: dict[tuple[str, ...], _Series] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _distributions[self.name] = self

    def add(self, value: float, *values: str, trace: tuple[int, int] | None = None) -> None:
        """`trace` and span, where the call is sampled: the latest stands as an example."""
        found = self.series.get(values)
        if found is None:
            if len(self.series) >= MOST_SERIES:
                values = tuple("other" for _ in values)
            found = self.series.setdefault(values, _Series([0] * (len(self.bounds) + 1)))
        found.counts[bisect.bisect_left(self.bounds, value)] += 1
        found.sum += value
        found.least, found.most = min(found.least, value), max(found.most, value)
        if trace is not None:
            found.exemplar = Exemplar({}, value, time.time_ns(), trace[1], trace[0])

    def metric(self, now: int) -> Metric:
        points = [
            HistogramDataPoint(
                attributes={name: value for name, value in zip(self.labels, values, strict=True) if value},
                start_time_unix_nano=_BEGAN,
                time_unix_nano=now,
                count=sum(one.counts),
                sum=one.sum,
                bucket_counts=tuple(one.counts),
                explicit_bounds=self.bounds,
                min=one.least,
                max=one.most,
                exemplars=[one.exemplar] if one.exemplar is not None else [],
            )
            for values, one in list(self.series.items())
        ]
        return Metric(self.name, self.words, self.unit, Histogram(points, AggregationTemporality.CUMULATIVE))


def distributed(data: MetricsData) -> MetricsData:
    """`data` with all distributions that have something in them."""
    now = time.time_ns()
    metrics = [one.metric(now) for one in list(_distributions.values()) if one.series]
    if not metrics or not data.resource_metrics:
        return data
    first = data.resource_metrics[0]
    more = ScopeMetrics(_SCOPE, metrics, "")
    return MetricsData([replace(first, scope_metrics=[*first.scope_metrics, more]), *data.resource_metrics[1:]])


_BEGAN = time.time_ns()
_SCOPE = InstrumentationScope("tollway.distributions")
"""Its own: of two scopes with one name the exporter sends only the last."""
_distributions: dict[str, Distribution] = {}
_counters: dict[str, Counted] = {}
_meters: list[Meter] = []


def gauge(name: str, unit: str, words: str, read: Read) -> None:
    """Publishes what `read` returns whenever metrics are sent, for as long as this process sends any."""

    def observed(_: CallbackOptions) -> Iterator[Observation]:
        for amount, attributes in read():
            yield Observation(amount, attributes)

    for meter in _meters:
        meter.create_observable_gauge(name, [observed], unit, words)


def publish(meter: Meter) -> None:
    """Begins to send all counters, those that are made later, and the gauges that come."""
    _meters.append(meter)
    for one in _counters.values():
        one.publish(meter)


def withdraw() -> None:
    _meters.clear()
