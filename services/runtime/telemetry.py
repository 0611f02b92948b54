"""Traces and metrics. A request that is not sampled carries its context and makes no spans."""

import contextlib
import os
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context as OtelContext
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from services.runtime import metrics

TRACEPARENT = "traceparent"
KEPT_TRACES = 512
METRICS_EVERY_MS = 10_000
_promised: ContextVar[int] = ContextVar("promised", default=0)


class _Ids(RandomIdGenerator):
    """Gives a root span the trace id that the edge has promised to its caller."""

    def generate_trace_id(self) -> int:
        return _promised.get() or super().generate_trace_id()


_ids = _Ids()


@dataclass(frozen=True)
class Trace:
    """W3C trace context of the running call."""

    trace_id: int
    span_id: int
    sampled: bool

    @property
    def hex(self) -> str:
        return format(self.trace_id, "032x")

    @cached_property
    def header(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{'01' if self.sampled else '00'}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
_span: ContextVar[trace.Span | None] = ContextVar("span", default=None)


current = _current.get
"""The running call's place in its trace; None outside of any."""


def follow(found: Trace | None) -> None:
    """Makes `found` the trace of the rest of this context."""
    _current.set(found)


@lru_cache(maxsize=4096)  # a request that is not sampled shows the same header to every service
def parse(header: str | None) -> Trace | None:
    """A `traceparent` header; None when it is absent or not one."""
    parts = (header or "").split("-")
    if len(parts) < 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        found = Trace(int(parts[1], 16), int(parts[2], 16), bool(int(parts[3], 16) & 1))
    except ValueError:
        return None
    return found if found.trace_id and found.span_id else None


class Sampler:
    """Decides once, at the edge: the first few of each second, then a share."""

    def __init__(self, per_second: int, share: float) -> None:
        self._per_second, self._every = per_second, round(1 / share) if share > 0 else 0
        self._second, self._taken, self._seen = 0, 0, 0

    def begin(self, parent: Trace | None, wanted: bool = False) -> Trace:
        """A trace for a new request; it follows `parent` where there is one."""
        if parent is not None:
            return Trace(parent.trace_id, parent.span_id, parent.sampled or wanted)
        if wanted or self._take():
            return Trace(_ids.generate_trace_id(), 0, True)
        # No span will bring an id of its own, and a `traceparent` without one is none.
        return Trace(_ids.generate_trace_id(), _ids.generate_span_id(), False)

    def _take(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken < self._per_second:
            self._taken += 1
            return True
        self._seen += 1
        return self._every > 0 and self._seen % self._every == 0


class Recent(SpanProcessor):
    """The last few traces of this process, for `tollway trace` and the console."""

    def __init__(self, most: int = KEPT_TRACES) -> None:
        self._traces: OrderedDict[int, list[ReadableSpan]] = OrderedDict()
        self._most = most

    def on_end(self, span: ReadableSpan) -> None:
        assert span.context is not None
        self._traces.setdefault(span.context.trace_id, []).append(span)
        while len(self._traces) > self._most:
            self._traces.popitem(last=False)

    def of(self, trace_id: int) -> Sequence[ReadableSpan]:
        return tuple(self._traces.get(trace_id, ()))


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a process has for telemetry. `provider` is None when spans go nowhere."""

    provider: TracerProvider
    recent: Recent

    def tracer(self, service: str) -> trace.Tracer:
        return self.provider.get_tracer(f"tollway.{service}", attributes={"service": service})


_tracers: dict[str, trace.Tracer] = {}
_installed: list[Telemetry] = []


@dataclass(slots=True)
class Method:
    """What is counted of a method in this process: plain numbers, published by observers."""

    name: str
    """As OpenTelemetry names it: `tollway.guard.v1.GuardService/InspectPrompt`."""
    answered: Counter[str] = field(default_factory=Counter)
    """Calls, by status code."""
    busy_s: float = 0.0
    """Seconds spent answering."""


_methods: dict[str, Method] = {}


def method(path: str) -> Method:
    """Of a method, by its path on the wire."""
    name = path.strip("/")
    return _methods.setdefault(name, Method(name))


def resource_of(service: str) -> Resource:
    """What tells this process from others of the same service."""
    return Resource.create({"service.name": service, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"})


@contextlib.contextmanager
def installed(endpoint: str, service: str, readers: Sequence[MetricReader] = ()) -> Iterator[Telemetry]:
    """Sends spans and metrics to an OTLP/gRPC `endpoint` ('' for nowhere), keeps the latest spans; flushes on leaving.

    `readers` get the metrics too.
    """
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    resource = resource_of(service)
    provider = TracerProvider(sampler=ALWAYS_ON, id_generator=_ids, resource=resource)
    recent = Recent()
    provider.add_span_processor(recent)
    if endpoint:
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https"))
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    telemetry = Telemetry(provider, recent)
    _installed.append(telemetry)
    _tracers.clear()
    ways = list(readers)
    if endpoint:

        class Sender(OTLPMetricExporter):
            """Sends distributions beside what the SDK has."""

            def export(self, metrics_data: MetricsData, *rest: Any, **more: Any) -> MetricExportResult:
                return super().export(metrics.distributed(metrics_data), *rest, **more)

        sender = Sender(endpoint=endpoint, insecure=not endpoint.startswith("https"))
        ways.append(PeriodicExportingMetricReader(sender, METRICS_EVERY_MS))
    meters: MeterProvider | None = None
    if ways:
        meters = MeterProvider(ways, resource)
        _observed(meters)
        metrics.publish(meters.get_meter("tollway"))
    try:
        yield telemetry
    finally:
        if meters is not None:
            metrics.withdraw()
            meters.shutdown()
        _installed.remove(telemetry)
        _tracers.clear()
        provider.shutdown()


def _observed(meters: MeterProvider) -> None:
    """Publishes the counts of calls. They are plain numbers: a call pays for no instrument."""
    meter = meters.get_meter("tollway.rpc")

    def calls(_: CallbackOptions) -> Iterator[Observation]:
        for one in list(_methods.values()):
            for code, count in list(one.answered.items()):
                yield Observation(count, {"rpc.method": one.name, "rpc.grpc.status_code": code})

    def busy(_: CallbackOptions) -> Iterator[Observation]:
        for one in list(_methods.values()):
            yield Observation(one.busy_s, {"rpc.method": one.name})

    meter.create_observable_counter("tollway.rpc.server.calls", [calls], "{call}", "Calls answered, by status.")
    meter.create_observable_counter("tollway.rpc.server.busy", [busy], "s", "Time spent answering.")


def recent() -> Recent | None:
    return _installed[-1].recent if _installed else None


def _tracer(service: str) -> trace.Tracer | None:
    if service not in _tracers and _installed:
        _tracers[service] = _installed[-1].tracer(service)
    return _tracers.get(service)


class Observed:
    """One served call: its place in the trace, its span when sampled, its count."""

    __slots__ = ("_began", "_method", "_span")

    def __init__(self, method: Method, header: str | None) -> None:
        self._method = method
        self._began = time.perf_counter()
        found = parse(header)
        self._span: trace.Span | None = None
        if found is not None and found.sampled:
            self._span = begin_span(method.name, found, SpanKind.SERVER)
        if self._span is None:
            _current.set(found)

    def end(self, code: str, reason: str = "") -> None:
        counted = self._method
        counted.answered[code] += 1
        counted.busy_s += time.perf_counter() - self._began
        if self._span is not None:
            if code != "OK":
                self._span.set_attribute("rpc.grpc.status_code", code)
                self._span.set_status(Status(StatusCode.ERROR, reason or code))
            self._span.end()


def begin_span(name: str, parent: Trace | None, kind: SpanKind = SpanKind.INTERNAL) -> trace.Span | None:
    """A span under `parent`, made current; None when the request is not sampled."""
    if parent is None or not parent.sampled:
        return None
    service = name.split(".")[1] if name.startswith("tollway.") else name.split(" ")[0]
    if (tracer := _tracer(service)) is None:
        return None
    _promised.set(parent.trace_id)
    span = tracer.start_span(name, context=_otel(parent), kind=kind)
    _promised.set(0)
    inner = span.get_span_context()
    _current.set(Trace(inner.trace_id, inner.span_id, True))
    _span.set(span)
    return span


def child(name: str, kind: SpanKind = SpanKind.CLIENT) -> trace.Span | None:
    """A span under the running call's, which stays the current one; None when the request is not sampled. Its maker ends it."""
    found = _current.get()
    if found is None or not found.sampled or (tracer := _tracer(name.split(" ")[0])) is None:
        return None
    return tracer.start_span(name, context=_otel(found), kind=kind)


def example() -> tuple[int, int] | None:
    """The running call's trace and span, where it is sampled: an example of what is measured."""
    found = _current.get()
    return (found.trace_id, found.span_id) if found is not None and found.sampled else None


def failed(span: trace.Span | None, error_type: str) -> None:
    """Says of a span that its operation failed, and how."""
    if span is not None:
        span.set_attribute("error.type", error_type)
        span.set_status(Status(StatusCode.ERROR, error_type))


def ids(span: trace.Span | None) -> tuple[int, int] | None:
    """The trace and the span, as an example of what was measured."""
    if span is None:
        return None
    found = span.get_span_context()
    return found.trace_id, found.span_id


def context() -> OtelContext:
    """OpenTelemetry's own form of the running call's place in its trace."""
    found = _current.get()
    return _otel(found) if found is not None else OtelContext()


def _otel(parent: Trace) -> OtelContext:
    """The parent for OpenTelemetry; none for the first span of a trace."""
    if not parent.span_id:
        return OtelContext()
    above = SpanContext(parent.trace_id, parent.span_id, True, TraceFlags(1))
    return trace.set_span_in_context(NonRecordingSpan(above), OtelContext())


def note(**attributes: Any) -> None:
    """Adds attributes to the running call's span, if it has one. `__` in a name stands for a dot."""
    if (span := _span.get()) is not None:
        span.set_attributes({name.replace("__", "."): value for name, value in attributes.items()})


def event(name: str, **attributes: Any) -> None:
    """Adds an event to the running call's span, if it has one."""
    if (span := _span.get()) is not None:
        span.add_event(name, attributes)


def sampled() -> bool:
    return (found := _current.get()) is not None and found.sampled
