"""Builds a shard's graphs, in a process of its own: `python -m services.retrieval.tidying FOLDER [HOMES OWN_FROM DIMENSIONS]`.

Qdrant Edge does so when it is told to, and lets nobody else work in its process meanwhile. Where `HOMES` is named, tenants that have at
least `OWN_FROM` passages are put into shards of their own there, whose folders end in `.new`.
"""

import os
import sys
from pathlib import Path
from typing import Any

import qdrant_edge as q

from services.retrieval.edge import home_of
from services.retrieval.points import PAGE, catch_up, created, of_tenants

NICE = 10
MOST_TENANTS = 1_000_000


def main(folder: str, homes: str = "", own_from: str = "", dimensions: str = "") -> None:
    os.nice(NICE)
    shard = q.EdgeShard.load(folder)
    catch_up(shard)
    if homes:
        part(shard, Path(homes), int(own_from), int(dimensions))
    finish(shard)


def part(shard: Any, homes: Path, own_from: int, dimensions: int) -> None:
    """Moves tenants of many passages out of `shard`."""
    counted = shard.facet(q.FacetRequest("tenant", limit=MOST_TENANTS, exact=True)).hits
    leaving = [str(one.value) for one in counted if one.count >= own_from]
    for tenant in leaving:
        home = homes / f"{home_of(tenant)}.new"
        target = created(home / "shard", dimensions)
        (home / "tenant").write_text(tenant)
        offset = None
        while True:
            request = q.ScrollRequest(offset, PAGE, of_tenants([tenant]), with_payload=True, with_vector=True)
            found, offset = shard.scroll(request)
            target.update(q.UpdateOperation.upsert_points([q.Point(one.id, one.vector, one.payload) for one in found]))
            if offset is None:
                break
        finish(target)
    if leaving:
        shard.update(q.UpdateOperation.delete_points_by_filter(of_tenants(leaving)))


def finish(shard: Any) -> None:
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
