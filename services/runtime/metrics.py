"""Counts and gauges of a domain's own: plain numbers, so that a call pays for no instrument; observers publish them.

Names go by OpenTelemetry's rules (`tollway.ledger.cost`, unit `USD`); Prometheus sees `tollway_ledger_cost_USD_total`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from opentelemetry.metrics import CallbackOptions, Meter, Observation

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

    def add(self, amount: float, *values: str) -> None:
        if len(self.values) >= MOST_SERIES and values not in self.values:
            values = tuple("other" for _ in values)
        self.values[values] += amount

    def observed(self, _: CallbackOptions) -> Iterator[Observation]:
        for values, amount in list(self.values.items()):
            yield Observation(amount, dict(zip(self.labels, values, strict=True)))


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
    """Begins to send all counters, and the gauges that come."""
    _meters.append(meter)
    for one in _counters.values():
        meter.create_observable_counter(one.name, [one.observed], one.unit, one.words)


def withdraw() -> None:
    _meters.clear()
