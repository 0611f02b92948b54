"""Log records: one line each to stderr, and by OTLP to a collector. Neither holds what a user wrote."""

import contextlib
import json
import logging
import logging.handlers
import queue
import sys
from collections.abc import Iterator
from typing import Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.util.types import AnyValue

from services.runtime import telemetry

SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}
SENDING_MS = 1000


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{record.msecs:03.0f}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if getattr(record, "trace_id", None):
            line["trace_id"] = record.trace_id  # type: ignore[attr-defined]
        if record.exc_info and record.exc_info[1] is not None:
            # The place without the words: an exception's text may hold what a user wrote.
            error, trail = record.exc_info[1], record.exc_info[2]
            frames = []
            while trail is not None:
                frames.append(f"{trail.tb_frame.f_code.co_filename}:{trail.tb_lineno}")
                trail = trail.tb_next
            line["error"], line["at"] = type(error).__name__, frames[-8:]
        return json.dumps(line)


class _Queued(logging.handlers.QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        found = telemetry.current()
        record.trace_id = found.hex if found else ""
        return record


class _Sent(logging.Handler):
    """Hands records to OpenTelemetry under the trace of the running call: the message, and the place of an error."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        attributes: dict[str, AnyValue] = {"code.file.path": record.pathname, "code.line.number": record.lineno}
        if record.exc_info and record.exc_info[1] is not None:
            attributes["exception.type"] = type(record.exc_info[1]).__name__
        self._provider.get_logger(record.name).emit(
            timestamp=int(record.created * 1e9),
            context=telemetry.context(),
            severity_number=SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
            severity_text=record.levelname,
            body=record.getMessage(),
            attributes=attributes,
        )


@contextlib.contextmanager
def logged(level: str = "INFO", lines: str = "json", endpoint: str = "", service: str = "tollway") -> Iterator[None]:
    """Writes one line a record to stderr from a thread of its own, JSON or plain; sends it to `endpoint`, if there is one."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if lines == "json" else logging.Formatter("%(levelname)s %(name)s %(message)s"))
    waiting: queue.Queue[Any] = queue.Queue(10_000)
    listener = logging.handlers.QueueListener(waiting, handler)
    root = logging.getLogger()
    handlers: list[logging.Handler] = [_Queued(waiting)]
    provider = _provider(endpoint, service) if endpoint else None
    if provider is not None:
        handlers.append(_Sent(provider))
    for one in handlers:
        root.addHandler(one)
    root.setLevel(level)
    listener.start()
    try:
        yield
    finally:
        for one in handlers:
            root.removeHandler(one)
        if provider is not None:
            provider.shutdown()
        listener.stop()


def _provider(endpoint: str, service: str) -> LoggerProvider:
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    provider = LoggerProvider(telemetry.resource_of(service))
    exporter = OTLPLogExporter(endpoint=endpoint, insecure=not endpoint.startswith("https"))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=SENDING_MS))
    return provider
