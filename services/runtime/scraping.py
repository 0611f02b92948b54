"""Metrics for a Prometheus that comes for them: the same names as by OTLP, so that dashboards and rules fit both."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricReader, MetricsData, ScopeMetrics
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, start_http_server

from services.runtime import metrics
from services.runtime.settings import BadSettings

log = logging.getLogger(__name__)


class Scraped(PrometheusMetricReader):
    """Gives distributions beside what the SDK has; each series tells its service, as `promote_resource_attributes` does by OTLP."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(
            scope_info_enabled=False, resource_attribute_filter=lambda name: name == "service.name", registry=registry
        )

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(_in_ratios(metrics.distributed(metrics_data)), timeout_millis, **kwargs)


@contextlib.contextmanager
def served(address: str) -> Iterator[MetricReader]:
    """Answers `GET /metrics` at `address` in a thread of its own, with the process's memory and processor time beside.

    Raises:
        BadSettings: `address` is no HOST:PORT, or is taken.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError, ValueError) as error:
        raise BadSettings(f"process.metrics_address: {address}: {error}") from None
    reader = Scraped(registry)
    try:
        log.info("metrics on http://%s:%d/metrics", host, server.server_port)
        yield reader
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _in_ratios(data: MetricsData) -> MetricsData:
    """A gauge without a unit is called a ratio, as by OTLP: this exporter alone leaves that out."""

    def named(metric: Metric) -> Metric:
        return replace(metric, unit="ratio") if metric.unit == "1" and isinstance(metric.data, Gauge) else metric

    def scoped(scope: ScopeMetrics) -> ScopeMetrics:
        return replace(scope, metrics=[named(metric) for metric in scope.metrics])

    return MetricsData(
        [replace(one, scope_metrics=[scoped(scope) for scope in one.scope_metrics]) for one in data.resource_metrics]
    )
