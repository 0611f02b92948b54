"""A server that speaks Pinecone's data plane over REST: records in memory, searched exactly.

It stands where no Pinecone can be had. What the store asks for is answered as Pinecone's reference says, camel case and all;
any other path is a 404.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.test_utils import unused_port

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, wanted: value == wanted, "$ne": lambda value, wanted: value != wanted,
    "$gte": lambda value, wanted: value >= wanted, "$lte": lambda value, wanted: value <= wanted,
    "$gt": lambda value, wanted: value > wanted, "$lt": lambda value, wanted: value < wanted,
    "$in": lambda value, wanted: bool(set(value if isinstance(value, list) else [value]) & set(wanted)),
    "$nin": lambda value, wanted: not set(value if isinstance(value, list) else [value]) & set(wanted),
}  # fmt: skip
MOST_METADATA = 40_960


class Pinecone:
    """One index."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.kept: dict[str, dict[str, Any]] = {}

    async def upsert(self, request: web.Request) -> web.Response:
        found = (await request.json())["vectors"]
        for one in found:
            if len(one["values"]) != self.dimension:
                return _refused(
                    f"Vector dimension {len(one['values'])} does not match the dimension of the index {self.dimension}"
                )
            if not any(one["values"]):
                return _refused("Dense vectors must contain at least one non-zero value")
            if len(str(one.get("metadata", {})).encode()) > MOST_METADATA:
                return _refused("metadata size exceeds the limit of 40960 bytes per vector")
        self.kept |= {one["id"]: one for one in found}
        return web.json_response({"upsertedCount": len(found)})

    async def query(self, request: web.Request) -> web.Response:
        body = await request.json()
        asked = _unit(body["vector"])
        scored = [
            {"id": one["id"], "score": float(_unit(one["values"]) @ asked), "values": [], "metadata": one["metadata"]}
            for one in self.kept.values()
            if holds(body.get("filter", {}), one["metadata"])
        ]
        scored.sort(key=lambda one: -one["score"])
        return web.json_response({"matches": scored[: body["topK"]], "namespace": "", "usage": {"readUnits": 1}})

    async def fetch(self, request: web.Request) -> web.Response:
        found = {one: self.kept[one] for one in request.query.getall("ids") if one in self.kept}
        return web.json_response({"vectors": found, "namespace": "", "usage": {"readUnits": 1}})

    async def fetch_by_metadata(self, request: web.Request) -> web.Response:
        body = await request.json()
        found = [one for _, one in sorted(self.kept.items()) if holds(body["filter"], one["metadata"])]
        start, most = int(body.get("paginationToken") or 0), body.get("limit", 100)
        page = {one["id"]: one for one in found[start : start + most]}
        more = {"pagination": {"next": str(start + most)}} if len(found) > start + most else {}
        return web.json_response({"vectors": page, "namespace": "", "usage": {"readUnits": 1}, **more})

    async def delete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.kept = {
            name: one
            for name, one in self.kept.items()
            if not (body.get("deleteAll") or holds(body["filter"], one["metadata"]))
        }
        return web.json_response({})

    async def update(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.kept[body["id"]]["metadata"].update(body["setMetadata"])
        return web.json_response({})


def holds(asked: dict[str, Any], facts: dict[str, Any]) -> bool:
    if "$and" in asked:
        return all(holds(one, facts) for one in asked["$and"])
    if "$or" in asked:
        return any(holds(one, facts) for one in asked["$or"])
    return all(
        name in facts and all(OPERATORS[operator](facts[name], wanted) for operator, wanted in condition.items())
        for name, condition in asked.items()
    )


def _unit(values: Any) -> Any:
    made = np.asarray(values, np.float32)
    return made / max(float(np.linalg.norm(made)), 1e-12)


def _refused(why: str) -> web.Response:
    return web.json_response({"code": 3, "message": why, "details": []}, status=400)


@asynccontextmanager
async def serving(dimension: int) -> AsyncIterator[str]:
    """The address of an empty index."""
    index, app, port = Pinecone(dimension), web.Application(), unused_port()
    for path, handler in (
        ("/vectors/upsert", index.upsert), ("/query", index.query), ("/vectors/fetch_by_metadata", index.fetch_by_metadata),
        ("/vectors/delete", index.delete), ("/vectors/update", index.update),
    ):  # fmt: skip
        app.router.add_post(path, handler)
    app.router.add_get("/vectors/fetch", index.fetch)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://localhost:{port}"
    finally:
        await runner.cleanup()
