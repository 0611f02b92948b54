"""An OpenTelemetry collector's front door: a real OTLP/gRPC receiver that keeps what it gets."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_rpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc


class Collector(rpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.instances: dict[str, set[str]] = defaultdict(set)
        """By service: which of its processes have sent spans."""
        self.metrics = Metrics()
        self.url = ""

    def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            of = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.instances[of["service.name"]].add(of["service.instance.id"])
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return pb.ExportTraceServiceResponse()

    def of(self, trace_id: str) -> list[Any]:
        return [span for span in list(self.spans) if span.trace_id.hex() == trace_id]


class Metrics(metrics_rpc.MetricsServiceServicer):
    """The other half of the front door: the last value of each series, by name and attributes."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[str, ...]], float] = {}
        self.spreads: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
        """The last state of each histogram, by name and attributes."""
        self.kinds: set[tuple[str, str, bool]] = set()
        """Name, unit, and whether it only grows."""

    def Export(
        self, request: metrics_pb.ExportMetricsServiceRequest, context: Any
    ) -> metrics_pb.ExportMetricsServiceResponse:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.kinds.add((metric.name, metric.unit, metric.sum.is_monotonic))
                    for spread in metric.histogram.data_points:
                        attributes = {one.key: one.value.string_value for one in spread.attributes}
                        self.spreads[metric.name, tuple(sorted(attributes.items()))] = spread
                    for point in (*metric.sum.data_points, *metric.gauge.data_points):
                        key = tuple(sorted(one.value.string_value for one in point.attributes))
                        self.values[metric.name, key] = point.as_int or point.as_double
        return metrics_pb.ExportMetricsServiceResponse()


@contextmanager
def collector() -> Iterator[Collector]:
    made, server = Collector(), grpc.server(ThreadPoolExecutor(2))
    register: Any = rpc.add_TraceServiceServicer_to_server
    register(made, server)
    measured: Any = metrics_rpc.add_MetricsServiceServicer_to_server
    measured(made.metrics, server)
    made.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield made
    finally:
        server.stop(0)
