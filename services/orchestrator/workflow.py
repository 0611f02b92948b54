"""The chain as OpenTelemetry's GenAI conventions have it: a workflow, whose calls of models and searches are spans below it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from services.runtime import telemetry
from services.runtime.errors import Failure
from services.runtime.metrics import Distribution
from services.runtime.status import info_of

NAME = "tollway.chat"
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
DURATION = Distribution(
    "gen_ai.workflow.duration", "s", "Duration of a workflow.", SECONDS,
    ("gen_ai.operation.name", "gen_ai.workflow.name", "error.type"),
)  # fmt: skip
INVOKE = "invoke_workflow"


@contextmanager
def invoked() -> Iterator[None]:
    """Measures a request for as long as the block lasts."""
    began, error = time.perf_counter(), ""
    telemetry.note(gen_ai__operation__name=INVOKE, gen_ai__workflow__name=NAME)
    try:
        yield
    except Failure as failure:
        error = failure.reason
        raise
    except grpc.aio.AioRpcError as failure:
        error = info_of(failure).reason or failure.code().name
        raise
    except GeneratorExit:
        error = "cancelled"
        raise
    finally:
        if error:
            telemetry.note(error__type=error)
        DURATION.add(time.perf_counter() - began, INVOKE, NAME, error, trace=telemetry.example())
