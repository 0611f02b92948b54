"""Where data may go: what the key and the guard's verdict say of models and regions, where no router has chosen among them. Pure."""

from collections.abc import Sequence

from tollway.guard.v1 import guard_pb2
from tollway.models.v1 import models_pb2

from services.orchestrator.failures import DataKept, RegionNotAllowed

NOTHING = guard_pb2.Verdict()


def heed(model: models_pb2.Model, regions: Sequence[str], verdict: guard_pb2.Verdict = NOTHING) -> None:
    """`regions` are those of the key, all where there is none. A model that names no region runs in none that is allowed.

    Raises:
        RegionNotAllowed, DataKept
    """
    if not _within(model, regions):
        raise RegionNotAllowed(model=model.name)
    if (verdict.models and model.name not in verdict.models) or not _within(model, verdict.regions):
        raise DataKept(model=model.name, data_class=verdict.data_class)


def _within(model: models_pb2.Model, regions: Sequence[str]) -> bool:
    return not regions or (bool(model.regions) and set(model.regions) <= set(regions))
