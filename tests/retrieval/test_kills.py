"""`kill -9` at random points of ingest and of a move to another generation: nothing lost, nothing doubled, all goes on."""

import asyncio
import random
import signal
import sys
from pathlib import Path

import pytest
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval import stores
from services.retrieval.app import MIGRATIONS
from services.retrieval.edge import EdgeStore
from services.retrieval.moves import Move, PostgresMoves
from services.retrieval.postgres import PostgresCatalogue
from services.retrieval.store import Question, Scope
from services.runtime import postgres
from tests.retrieval import mover
from tests.support.scale import sized

KILLS, MOVERS = sized(6, 50), sized(4, 50)
FILES = 40
LIVES_AFTER = 5


def text_of(number: int, version: int) -> str:
    return "\n\n".join(f"Paragraph {n} of file {number}, version {version}. {'filler ' * 180}" for n in range(3))


async def started(state: Path, url: str) -> asyncio.subprocess.Process:
    with (state / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.retrieval.victim", str(state), url, stdout=asyncio.subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"up\n"
    return process


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_killed_again_and_again_everything_is_there_once(tmp_path: Path, postgres_url: str) -> None:
    chance, versions = random.Random(11), dict.fromkeys(range(FILES), 0)
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for number in versions:
        (shelf / f"{number}.txt").write_text(text_of(number, 0))
    async with postgres.opened(postgres_url, "retrieval", MIGRATIONS, 3, sessions=True) as pool:
        catalogue, moves = PostgresCatalogue(pool), PostgresMoves(pool)
        for life in range(KILLS):
            process = await started(tmp_path, postgres_url)
            move = await moves.get("first")
            if not (move.under_way or move.leaving):  # to and fro, so that each life may fall into a move
                to = "next" if move.active == "first" else "first"
                assert await moves.put(Move(move.active, to, state=pb.MIGRATION_STATE_COPYING), move)
            until = asyncio.get_running_loop().time() + chance.uniform(0.05, 1.5)
            while asyncio.get_running_loop().time() < until:
                number = chance.choice(sorted(versions))
                versions[number] += 1
                (shelf / f"{number}.txt").write_text(text_of(number, versions[number]))
                await asyncio.sleep(chance.uniform(0.0, 0.1))
            if life % 5 == 4 and len(versions) > FILES // 2:
                gone = chance.choice(sorted(versions))
                (shelf / f"{gone}.txt").unlink()
                (shelf / f"{gone + 1000}.txt").write_text(text_of(gone + 1000, 0))
                versions[gone + 1000] = 0
                del versions[gone]
            assert process.returncode is None, (tmp_path / "log").read_text()[-3000:]
            process.send_signal(signal.SIGKILL)
            await process.wait()
        for _ in range(LIVES_AFTER):  # a slow machine may stop the last life before it has encoded what it has read
            process = await started(tmp_path, postgres_url)
            await settled(catalogue, moves, {f"{n}.txt" for n in versions})
            await asyncio.sleep(1.0)
            process.send_signal(signal.SIGTERM)
            await process.wait()
            if not (old := await behind(tmp_path, catalogue, moves, versions)):
                return
        assert not old


async def behind(
    folder: Path, catalogue: PostgresCatalogue, moves: PostgresMoves, versions: dict[int, int]
) -> list[int]:
    """The files whose last version is not there yet; of each there is one version, whole."""
    active, old = (await moves.get("first")).active, list[int]()
    async with stores.opened(f"edge:{folder / active}", "", catalogue) as store:
        for number, version in versions.items():
            found = await store.of_document("acme", "c", f"{number}.txt")
            assert sorted(one.ordinal for one in found) == [0, 1, 2], (number, len(found))
            said = {one.text.partition(", ")[2].partition(".")[0] for one in found}
            assert len(said) == 1, (number, said)
            if said != {f"version {version}"} or any(one.dense is None for one in found):
                old.append(number)
        assert old or not await store.without_dense(1)
    return old


async def settled(catalogue: PostgresCatalogue, moves: PostgresMoves, names: set[str]) -> None:
    """Until nothing is left to do: the folder is read, the move has ended, the vectors are there."""
    async with asyncio.timeout(120):
        while True:
            move = await moves.get("first")
            rows = await catalogue.page("acme", "c", "files", ("", ""), 1000)
            if {row.document_id for row in rows} == names and not (move.under_way or move.leaving):
                return
            await asyncio.sleep(0.1)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_killed_while_tenants_move_to_shards_of_their_own(tmp_path: Path) -> None:
    """Of each document there is one version, whole: the last that was said to be in, or the one after it."""
    chance, said = random.Random(5), dict[tuple[str, str], int]()
    for life in range(MOVERS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.retrieval.mover", str(tmp_path), str(life), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        lines = list[bytes]()
        async with asyncio.timeout(60):
            while (lines[-1:] or [b""])[0] != (b"moved\n" if life % 2 else b"up\n"):
                lines.append(await process.stdout.readline())
        await asyncio.sleep(chance.uniform(0.0, 2.5))
        assert process.returncode is None
        process.send_signal(signal.SIGKILL)
        lines += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
        for line in lines:
            if line.count(b" ") == 2 and line.endswith(b"\n"):
                tenant, name, last = line.decode().split()
                said[tenant, name] = int(last)
        edge = EdgeStore(tmp_path / "shard", own_from=mover.OWN_FROM, most_awake=4)
        edge.open()
        try:
            every = list(said.items())
            looked = every if life == MOVERS - 1 else every[-30:] + chance.sample(every, min(10, len(every)))
            for (tenant, name), version in looked:
                found = await edge.of_document(tenant, "", name)
                assert sorted(one.ordinal for one in found) == list(range(mover.PASSAGES)), (tenant, name, len(found))
                assert {int(one.version) for one in found} in ({version}, {version + 1}), (tenant, name)
                hits = (await edge.search(Question(name, None, None), Scope(tenant), 100))["bm25"]
                assert {one.id for one in found} <= {hit.id for hit in hits}
                said[tenant, name] = int(found[0].version)
            left = {one.tenant for one in await edge._shared.without_dense(10_000)}
            assert left.isdisjoint(edge._own) and (edge._own or life == 0)
        finally:
            edge.close()
