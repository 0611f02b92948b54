"""A server that speaks Qdrant's published gRPC contract, as the client's own stubs have it: points in memory, searched exactly.

It stands where no Qdrant server can be had. What the store asks of an engine is answered as the contract says; what it does not
ask for is not there, and a call for it fails as unimplemented.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from qdrant_client import grpc as q

DONE = q.UpdateResult(operation_id=1, status=q.UpdateStatus.Completed)


@dataclass(slots=True)
class Collection:
    size: int
    indexes: set[str] = field(default_factory=set)
    points: dict[str, q.PointStruct] = field(default_factory=dict)


@dataclass(slots=True)
class Collections(q.CollectionsServicer):
    kept: dict[str, Collection]

    async def CollectionExists(self, request: Any, context: Any) -> Any:
        return q.CollectionExistsResponse(result=q.CollectionExists(exists=request.collection_name in self.kept))

    async def Create(self, request: Any, context: Any) -> Any:
        if request.collection_name in self.kept:
            await context.abort(
                grpc.StatusCode.ALREADY_EXISTS, f"Collection `{request.collection_name}` already exists!"
            )
        params = request.vectors_config.params
        assert params.distance == q.Distance.Cosine and request.quantization_config.HasField("scalar")
        self.kept[request.collection_name] = Collection(params.size)
        return q.CollectionOperationResponse(result=True)

    async def Delete(self, request: Any, context: Any) -> Any:
        return q.CollectionOperationResponse(result=self.kept.pop(request.collection_name, None) is not None)


@dataclass(slots=True)
class Points(q.PointsServicer):
    kept: dict[str, Collection]

    async def _of(self, request: Any, context: Any) -> Collection:
        if (found := self.kept.get(request.collection_name)) is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Collection `{request.collection_name}` doesn't exist!")
        assert found is not None
        return found

    async def CreateFieldIndex(self, request: Any, context: Any) -> Any:
        (await self._of(request, context)).indexes.add(request.field_name)
        return q.PointsOperationResponse(result=DONE)

    async def Upsert(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        for point in request.points:
            if len(_numbers(point)) != held.size:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Wrong input: Vector dimension error")
            held.points[point.id.uuid] = point
        return q.PointsOperationResponse(result=DONE)

    async def Get(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        found = [held.points[one.uuid] for one in request.ids if one.uuid in held.points]
        return q.GetResponse(result=[_retrieved(point) for point in found])

    async def Query(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        asked = _unit(np.array(request.query.nearest.dense.data, np.float32))
        scored = [
            (float(_unit(_numbers(point)) @ asked), point)
            for point in held.points.values()
            if holds(request.filter, point)
        ]
        scored.sort(key=lambda one: -one[0])
        return q.QueryResponse(result=[
            q.ScoredPoint(id=point.id, payload=point.payload, score=score, version=1, vectors=_shown(point))
            for score, point in scored[: request.limit]
        ])  # fmt: skip

    async def Count(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        count = sum(holds(request.filter, point) for point in held.points.values())
        return q.CountResponse(result=q.CountResult(count=count))

    async def Scroll(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        found = [point for point in held.points.values() if holds(request.filter, point)]
        key = request.order_by.key
        if key not in held.indexes:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"No range index for `order_by` key: `{key}`")
        found.sort(key=lambda point: point.payload[key].double_value)
        return q.ScrollResponse(result=[_retrieved(point) for point in found[: request.limit]])

    async def Delete(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        named = {one.uuid for one in request.points.points.ids}
        by_filter = request.points.HasField("filter")
        for one, point in list(held.points.items()):
            if one in named or (by_filter and holds(request.points.filter, point)):
                del held.points[one]
        return q.PointsOperationResponse(result=DONE)


def holds(asked: Any, point: Any) -> bool:
    """Whether every condition of a filter is true of a point."""
    return all(_true(one.field, point) for one in asked.must)


def _true(condition: Any, point: Any) -> bool:
    value = point.payload.get(condition.key)
    if value is None:
        return False
    if condition.HasField("match"):
        listed = (
            [one.string_value for one in value.list_value.values]
            if value.HasField("list_value")
            else [value.string_value]
        )
        return condition.match.keyword in listed
    bounds: list[tuple[str, Callable[[float, float], bool]]] = [
        ("lt", float.__lt__), ("gt", float.__gt__), ("lte", float.__le__), ("gte", float.__ge__),
    ]  # fmt: skip
    number = value.double_value
    return all(
        check(number, getattr(condition.range, name)) for name, check in bounds if condition.range.HasField(name)
    )


def _numbers(point: Any) -> Any:
    vector = point.vectors.vector
    return np.array(vector.dense.data or vector.data, np.float32)


def _unit(vector: Any) -> Any:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _shown(point: Any) -> Any:
    """As the engine keeps it for cosine: of unit length."""
    return q.VectorsOutput(vector=q.VectorOutput(dense=q.DenseVector(data=_unit(_numbers(point)))))


def _retrieved(point: Any) -> Any:
    return q.RetrievedPoint(id=point.id, payload=point.payload, vectors=_shown(point))


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """The port of a server without any collection."""
    kept: dict[str, Collection] = {}
    server = grpc.aio.server()
    q.add_CollectionsServicer_to_server(Collections(kept), server)  # type: ignore[no-untyped-call]
    q.add_PointsServicer_to_server(Points(kept), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
