"""Tenants who come, change and move to shards of their own, until it is killed: `python -m tests.retrieval.mover FOLDER LIFE`.

Says each change when it is done, as `TENANT DOCUMENT VERSION`, and `moved` when somebody has.
"""

import asyncio
import itertools
import sys
from pathlib import Path

import numpy as np

from services.retrieval.edge import EdgeStore
from services.retrieval.store import Passage, passage_id

OWN_FROM, TENANTS, DOCUMENTS, PASSAGES = 12, 3, 6, 3


def document(tenant: str, name: str, version: int) -> list[Passage]:
    chance = np.random.default_rng(version)
    made = []
    for n in range(PASSAGES):
        text = f"Passage {n} of {name}, version {version}."
        made.append(
            Passage(
                id=passage_id(tenant, "", name, str(version), n), tenant=tenant, collection="", document_id=name,
                version=str(version), title="", uri="", text=text, header="", start=0, end=len(text), digest=text,
                readers=("*",), attributes={}, indexed=1.0, static=chance.normal(size=256).astype(np.float32), ordinal=n,
            )
        )  # fmt: skip
    return made


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def live(folder: Path, life: str) -> None:
    """Until somebody ends it. Each life has tenants of its own to move, beside those of the lives before."""
    edge = EdgeStore(folder / "shard", own_from=OWN_FROM, most_awake=4)
    edge.open()
    tenants = [f"t{life}-{n}" for n in range(TENANTS)]
    say("up")

    async def changing(tenant: str) -> None:
        for version in itertools.count(1):
            for n in range(DOCUMENTS):
                await edge.replace(tenant, "", f"d{n}", document(tenant, f"d{n}", version))
                say(f"{tenant} d{n} {version}")

    async def tidying() -> None:
        while True:
            for shard in (edge._shared, *(edge._own[tenant] for tenant in tenants if tenant in edge._own)):
                await edge._tidy(shard)
            if not edge._own.keys().isdisjoint(tenants):
                say("moved")

    await asyncio.gather(tidying(), *map(changing, tenants))


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), sys.argv[2]))
