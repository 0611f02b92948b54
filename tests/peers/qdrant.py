"""A server that speaks Qdrant's published gRPC contract, as the client's own stubs have it: points in memory, searched exactly.

It stands where no Qdrant server can be had. What the store asks of an engine is answered as the contract says; what it does not
ask for is not there, and a call for it fails as unimplemented.
"""

import math
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
    sizes: dict[str, int]
    """By the vector's name; the one without a name has none."""
    sparse: set[str]
    """Names of sparse vectors; all are scored with IDF."""
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
        config = request.vectors_config
        params = dict(config.params_map.map) if config.HasField("params_map") else {"": config.params}
        assert all(one.distance == q.Distance.Cosine for one in params.values())
        assert request.quantization_config.HasField("scalar")
        sparse = dict(request.sparse_vectors_config.map)
        assert all(one.modifier == q.Modifier.Idf for one in sparse.values())
        self.kept[request.collection_name] = Collection({name: one.size for name, one in params.items()}, set(sparse))
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
            if any(len(_numbers(one)) != held.sizes[name] for name, one in _named(point).items() if name in held.sizes):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Wrong input: Vector dimension error")
            held.points[point.id.uuid] = point
        return q.PointsOperationResponse(result=DONE)

    async def Get(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        found = [held.points[one.uuid] for one in request.ids if one.uuid in held.points]
        return q.GetResponse(result=[_retrieved(point, request.with_vectors) for point in found])

    async def UpdateVectors(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        for one in request.points:
            if one.id.uuid not in held.points:
                await context.abort(grpc.StatusCode.NOT_FOUND, f"No point with id {one.id.uuid} found")
            for name, vector in one.vectors.vectors.vectors.items():
                held.points[one.id.uuid].vectors.vectors.vectors[name].CopyFrom(vector)
        return q.PointsOperationResponse(result=DONE)

    async def SetPayload(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        for one in request.points_selector.points.ids:
            for name, value in request.payload.items():
                held.points[one.uuid].payload[name].CopyFrom(value)
        return q.PointsOperationResponse(result=DONE)

    async def Query(self, request: Any, context: Any) -> Any:
        return q.QueryResponse(result=self._scored(await self._of(request, context), request))

    async def QueryBatch(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        return q.QueryBatchResponse(
            result=[q.BatchResult(result=self._scored(held, one)) for one in request.query_points]
        )

    def _scored(self, held: Collection, request: Any) -> list[Any]:
        seen = [one for one in held.points.values() if request.using in _named(one) and holds(request.filter, one)]
        if request.using in held.sparse:
            scored = _by_words(request, held, seen)
        else:
            asked = _unit(np.array(request.query.nearest.dense.data, np.float32))
            scored = [(float(_unit(_numbers(_named(one)[request.using])) @ asked), one) for one in seen]
        if request.HasField("score_threshold"):
            scored = [one for one in scored if one[0] >= request.score_threshold]
        scored.sort(key=lambda one: -one[0])
        return [
            q.ScoredPoint(
                id=point.id, payload=point.payload, score=score, version=1, vectors=_shown(point, request.with_vectors)
            )
            for score, point in scored[: request.limit]
        ]

    async def Count(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        count = sum(holds(request.filter, point) for point in held.points.values())
        return q.CountResponse(result=q.CountResult(count=count))

    async def Scroll(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        found = [point for point in held.points.values() if holds(request.filter, point)]
        if key := request.order_by.key:
            if key not in held.indexes:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"No range index for `order_by` key: `{key}`")
            found.sort(key=lambda point: point.payload[key].double_value)
        else:
            found.sort(key=lambda point: str(point.id.uuid))
            found = [point for point in found if str(point.id.uuid) >= request.offset.uuid]
        shown = [_retrieved(point, request.with_vectors) for point in found[: request.limit]]
        more = found[request.limit].id if len(found) > request.limit and not key else None
        return q.ScrollResponse(result=shown, next_page_offset=more)

    async def Delete(self, request: Any, context: Any) -> Any:
        held = await self._of(request, context)
        named = {one.uuid for one in request.points.points.ids}
        by_filter = request.points.HasField("filter")
        for one, point in list(held.points.items()):
            if one in named or (by_filter and holds(request.points.filter, point)):
                del held.points[one]
        return q.PointsOperationResponse(result=DONE)


def holds(asked: Any, point: Any) -> bool:
    """Whether a filter is true of a point."""
    return (
        all(_true(one, point) for one in asked.must)
        and not any(_true(one, point) for one in asked.must_not)
        and (not asked.should or any(_true(one, point) for one in asked.should))
    )


def _true(condition: Any, point: Any) -> bool:
    return holds(condition.filter, point) if condition.HasField("filter") else _met(condition.field, point)


def _met(condition: Any, point: Any) -> bool:
    name, _, inner = condition.key.partition(".")
    value = point.payload.get(name)
    if value is not None and inner:
        value = value.struct_value.fields.get(inner)
    if value is None:
        return False
    if condition.HasField("match"):
        listed = (
            [one.string_value for one in value.list_value.values]
            if value.HasField("list_value")
            else [value.string_value]
        )
        wanted = set(condition.match.keywords.strings) or {condition.match.keyword}
        return not wanted.isdisjoint(listed)
    bounds: list[tuple[str, Callable[[float, float], bool]]] = [
        ("lt", float.__lt__), ("gt", float.__gt__), ("lte", float.__le__), ("gte", float.__ge__),
    ]  # fmt: skip
    number = float(value.double_value or value.integer_value)
    return all(
        check(number, getattr(condition.range, name)) for name, check in bounds if condition.range.HasField(name)
    )


def _named(point: Any) -> dict[str, Any]:
    """A point's vectors by name."""
    if point.vectors.HasField("vectors"):
        return dict(point.vectors.vectors.vectors)
    return {"": point.vectors.vector}


def _numbers(vector: Any) -> Any:
    return np.array(vector.dense.data or vector.data, np.float32)


def _words(vector: Any) -> dict[int, float]:
    """A sparse vector, in its newer form or its older."""
    if vector.HasField("sparse"):
        return dict(zip(vector.sparse.indices, vector.sparse.values, strict=True))
    return dict(zip(vector.indices.data, vector.data, strict=True))


def _by_words(request: Any, held: Collection, seen: list[Any]) -> list[tuple[float, Any]]:
    """As the engine scores sparse vectors with IDF: a dot product, the query's values by how rare a word is among all points."""
    nearest, every = request.query.nearest.sparse, [_words(_named(one)[request.using]) for one in held.points.values()]
    wanted = {}
    for index, value in zip(nearest.indices, nearest.values, strict=True):
        has = sum(index in one for one in every)
        wanted[index] = value * math.log(1 + (len(every) - has + 0.5) / (has + 0.5))
    scored = []
    for point in seen:
        words = _words(_named(point)[request.using])
        if shared := words.keys() & wanted.keys():
            scored.append((sum(wanted[one] * words[one] for one in shared), point))
    return scored


def _unit(vector: Any) -> Any:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _shown(point: Any, asked: Any) -> Any:
    """As the engine keeps it for cosine: of unit length. Of several vectors those that were asked for."""
    if not (asked.enable or asked.include.names):
        return None
    named = _named(point)
    if "" in named:
        return q.VectorsOutput(vector=q.VectorOutput(dense=q.DenseVector(data=_unit(_numbers(named[""])))))
    shown = {
        name: q.VectorOutput(dense=q.DenseVector(data=_unit(_numbers(one))))
        for name, one in named.items()
        if name in asked.include.names
    }
    return q.VectorsOutput(vectors=q.NamedVectorsOutput(vectors=shown))


def _retrieved(point: Any, asked: Any) -> Any:
    return q.RetrievedPoint(id=point.id, payload=point.payload, vectors=_shown(point, asked))


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
