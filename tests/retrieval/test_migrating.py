"""Moving to another store and model: nothing is lost, searches go on, and what is killed goes on where it stood."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import numpy as np
import pytest
from tollway.encoder.v1 import encoder_pb2
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.app import MIGRATIONS
from services.retrieval.catalogue import MemoryCatalogue
from services.retrieval.edge import EdgeStore
from services.retrieval.encoding import Encoding
from services.retrieval.generations import Generation, Generations, copied
from services.retrieval.memory import MemoryStore
from services.retrieval.migrating import MoveUnderWay, NoMove
from services.retrieval.moves import MemoryMoves, Move, Moves, PostgresMoves
from services.retrieval.shelf import GenerationUnknown
from services.runtime import postgres
from services.runtime.background import running
from tests.retrieval.whole import Whole
from tests.support.encoders import Encoder
from tests.support.waiting import eventually


class Blind(Encoder):
    """A model that sees no difference between texts."""

    async def Encode(self, request: Any, **_: object) -> Any:
        made = await super().Encode(request)
        if request.tier == encoder_pb2.TIER_MINILM:
            for one in made.vectors:
                one.values = np.random.default_rng().normal(size=384).astype(np.float32).tobytes()
        return made


def whole(encoder: Any = None) -> Whole:
    made: Any = encoder or Encoder()
    return Whole(others={"next": (MemoryStore(), Encoding(made, "tw_key"))})


async def filled(made: Whole, count: int = 30) -> None:
    for n in range(count):
        await made.bring(f"d{n}", f"The toll at gate {n} is {n * 7} crowns and the keeper is called {_name(n)}.")
    while await made.following.step():
        pass


def _name(n: int) -> str:
    return "".join(random.Random(n).choices("abcdefghijklmnopqrstuvwxyz", k=8))


async def moved(made: Whole, *states: int) -> Move:
    async def there() -> bool:
        return (await made.migrating.state()).state in states

    await eventually(there, 30)
    return await made.migrating.state()


async def test_everything_moves_while_it_changes() -> None:
    made = whole()
    await filled(made)
    async with running(made.following.run(), made.migrating.follow(), made.migrating.lead()):
        await made.migrating.start("next", 0.05)
        await made.migrating.start("next", 0.05)  # the same again goes on
        for n in range(10):
            await made.bring(f"d{n}", f"Changed: the toll at gate {n} is {n} pence.")
            await made.bring(f"new{n}", f"A new gate {n} of {_name(n + 100)}.")
            await made.ingest.drop("acme", "", [f"d{n + 20}"])
            assert await made.found(f"toll at gate {n} in pence")
            await asyncio.sleep(0.01)
        done = await moved(made, pb.MIGRATION_STATE_DONE)
        await eventually(_left(made), 20)
    assert (done.active, done.recall_before, done.recall_now) == ("next", 1.0, 1.0)
    assert made.generations.active.name == "next" and made.generations.other is None
    assert not await made.store.without_dense(1) and not made.store._kept, "the old one is dropped"  # type: ignore[attr-defined]
    kept = made.others["next"][0]
    assert {one.document_id for one in kept._kept.values()} == {  # type: ignore[attr-defined]
        *(f"d{n}" for n in range(20)), *(f"new{n}" for n in range(10)),
    }  # fmt: skip
    assert (await made.found("toll at gate 3 in pence"))[0].startswith("Changed")


def _left(made: Whole) -> Any:
    async def so() -> bool:
        return not (await made.migrating.state()).leaving

    return so


async def test_a_model_that_finds_less_is_not_switched_to() -> None:
    made = whole(Blind())
    await filled(made)
    async with running(made.following.run(), made.migrating.follow(), made.migrating.lead()):
        await made.migrating.start("next", 0.05)
        failed = await moved(made, pb.MIGRATION_STATE_FAILED)
        assert failed.active == "first" and failed.recall_now < failed.recall_before and "finds" in failed.fault
        assert made.generations.active.name == "first" and await made.found("gate 3")
        await made.migrating.cancel()
        await eventually(lambda: _gone(made), 20)
    assert made.generations.other is None and not made.others["next"][0]._kept  # type: ignore[attr-defined]
    with pytest.raises(NoMove):
        await made.migrating.cancel()


async def _gone(made: Whole) -> bool:
    return not (await made.migrating.state()).moving_to


async def test_only_one_move_at_a_time_and_to_what_is_known() -> None:
    made = whole()
    made.migrating.names = frozenset({"first", "next", "third"})
    with pytest.raises(GenerationUnknown):
        await made.migrating.start("none", 0.05)
    with pytest.raises(MoveUnderWay):
        await made.migrating.start("first", 0.05)
    await made.migrating.start("next", 0.05)
    with pytest.raises(MoveUnderWay):
        await made.migrating.start("third", 0.05)


async def test_a_failed_change_of_the_new_generation_leaves_the_old_one_and_is_tried_again() -> None:
    class Failing(MemoryStore):
        failing = True

        async def replace(self, *given: Any) -> None:
            if Failing.failing:
                raise grpc.RpcError
            await super().replace(*given)

    made = whole()
    await made.bring("d", "The old text.")
    made.generations.other = Generation("next", Failing(), made.encoding)
    with pytest.raises(grpc.RpcError):
        await made.bring("d", "The new text.")
    assert await made.found("text") == ["The old text."]
    Failing.failing = False
    await made.bring("d", "The new text.")
    assert await made.found("text") == ["The new text."]
    assert [one.text for one in await made.generations.other.store.of_document("acme", "", "d")] == ["The new text."]


@pytest.mark.parametrize("into", ["next", "first"])
async def test_what_came_into_one_generation_alone_around_the_switch_stays(into: str) -> None:
    """Into the new one, as a kill leaves it or a start that could not open the old one at first; into the old one, by a replica that has
    seen neither the switch nor the move before it."""
    made = whole()
    await filled(made, 5)
    first, following = made.generations.active, Generation("next", *made.others["next"])
    for n in range(5):
        await copied(first.store, following.store, ("acme", "", f"d{n}"))
    made.generations.active = {"first": first, "next": following}[into]
    await made.bring("d3", "Changed: the toll at gate 3 is 3 pence.")
    made.generations.active, made.generations.other = following, first
    switched = Move("next", leaving="first", state=pb.MIGRATION_STATE_SWITCHED)
    assert await made.moves.put(switched, await made.moves.get("first"))
    async with running(made.following.run(), made.migrating.lead()):
        await moved(made, pb.MIGRATION_STATE_DONE)
        await eventually(_left(made), 20)
    assert (await made.found("toll at gate 3 in pence"))[0].startswith("Changed")


async def test_a_switch_while_a_document_comes_leaves_no_generation_out() -> None:
    class Gated(MemoryStore):
        gate = asyncio.Event()

        async def replace(self, *given: Any) -> None:
            await super().replace(*given)
            await self.gate.wait()

    made = whole()
    await filled(made, 2)
    first, next_one = made.generations.active, Generation("next", Gated(), made.encoding)
    made.generations.other = next_one
    coming = asyncio.create_task(made.bring("d1", "The new text."))
    await eventually(lambda: _has(next_one, "d1"), 5)
    made.generations.active, made.generations.other = next_one, first
    Gated.gate.set()
    await coming
    for one in (first, next_one):
        assert [found.text for found in await one.store.of_document("acme", "", "d1")] == ["The new text."], one.name


async def _has(generation: Generation, name: str) -> bool:
    return bool(await generation.store.of_document("acme", "", name))


async def test_a_switch_while_a_document_is_encoded_keeps_no_vector_of_the_other_model() -> None:
    class Slow(Encoder):
        gate, asked = asyncio.Event(), asyncio.Event()

        async def Encode(self, request: Any, **_: object) -> Any:
            if request.tier == encoder_pb2.TIER_STATIC:
                self.asked.set()
                await self.gate.wait()
            return await super().Encode(request)

    slow = Slow()
    slow.gate.set()
    made = Whole(others={"next": (MemoryStore(), Encoding(slow, "k"))}, encoder=slow)  # type: ignore[arg-type]
    kept = "This paragraph of the document stays as it is. " * 30
    await made.bring("d", f"{kept}\n\n{'One sentence more. ' * 60}")
    while await made.following.step():
        pass
    slow.gate.clear()
    slow.asked.clear()
    coming = asyncio.create_task(made.bring("d", f"{kept}\n\n{'Another sentence. ' * 60}"))
    await slow.asked.wait()
    made.generations.active, made.generations.other = Generation("next", *made.others["next"]), made.generations.active
    slow.gate.set()
    await coming
    found = await made.generations.active.store.of_document("acme", "", "d")
    assert len(found) > 1 and all(one.dense is None for one in found), "what first knew is of first's model"


async def test_killed_anywhere_it_goes_on(tmp_path: Path) -> None:
    """Each life does a little and is cancelled at a random moment; the stores and the row are what the next one finds."""
    chance, catalogue, moves = random.Random(3), MemoryCatalogue(), MemoryMoves()
    old, new = EdgeStore(tmp_path / "old"), EdgeStore(tmp_path / "new")
    old.open()
    new.open()
    encoder: Any = Encoder()
    others: dict[str, Any] = {"first": (old, Encoding(encoder, "k")), "next": (new, Encoding(encoder, "k"))}
    first = Whole(old, catalogue, others=others, moves=moves, encoder=encoder)
    await filled(first, 60)
    expected = {f"d{n}" for n in range(60)}
    await first.migrating.start("next", 0.05)
    for life in range(40):
        move = await moves.get("first")
        made = Whole(others[move.active][0], catalogue, others=others, moves=moves, encoder=encoder)
        made.generations.active = Generation(move.active, *others[move.active])
        try:
            async with asyncio.timeout(chance.uniform(0.01, 0.12)):
                async with running(made.following.run(), made.migrating.lead()):
                    await made.bring(f"life{life}", f"Life {life} of {uuid4().hex}.")
                    expected.add(f"life{life}")
                    await asyncio.sleep(1)
        except TimeoutError:
            pass
        if move.state == pb.MIGRATION_STATE_DONE and not move.leaving:
            break
    made = Whole(others[(await moves.get("first")).active][0], catalogue, others=others, moves=moves, encoder=encoder)
    made.generations.active = Generation((await moves.get("first")).active, *others[(await moves.get("first")).active])
    async with running(made.following.run(), made.migrating.lead()):
        await moved(made, pb.MIGRATION_STATE_DONE)
        await eventually(_left(made), 20)
    found = [await new.of_document("acme", "", name) for name in sorted(expected)]
    assert all(len(one) == 1 for one in found), "nothing lost, nothing doubled"
    assert not old.folder.exists()
    new.close()


@pytest.fixture(params=["memory", "postgres"])
async def moves(request: pytest.FixtureRequest) -> AsyncIterator[Moves]:
    if request.param == "memory":
        yield MemoryMoves()
        return
    async with postgres.opened(
        request.getfixturevalue("postgres_url"), "retrieval", MIGRATIONS, 2, sessions=True
    ) as pool:
        yield PostgresMoves(pool)


async def test_a_move_is_kept_for_who_saw_the_last_one(moves: Moves) -> None:
    nothing = await moves.get("first")
    assert nothing == Move("first")
    one = Move("first", "next", state=pb.MIGRATION_STATE_COPYING).at(("t", "c", "d"), copied=True)
    assert await moves.put(one, nothing) and await moves.get("other") == one
    assert not await moves.put(Move("first"), nothing), "somebody else was faster"
    assert await moves.put(one.anew(), one) and (await moves.get("")).copied == 1


def test_generations_in_order() -> None:
    first, other = (Generation(name, MemoryStore(), Encoding(None)) for name in ("a", "b"))  # type: ignore[arg-type]
    assert [one.name for one in Generations(first, other).every] == ["b", "a"]
