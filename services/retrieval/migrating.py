"""Moves everything to another generation while it is searched and changed: copy, encode, verify, switch, drop.

Every replica follows the move's row and changes documents in both generations; one of them leads. What it has done is in the row, so
that another goes on when it is killed. Copying a document again changes nothing, and passes are made until one finds nothing to copy.
"""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import grpc
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.catalogue import Catalogue
from services.retrieval.dense import Models, OtherModel
from services.retrieval.following import Following
from services.retrieval.generations import Generation, Generations, copied
from services.retrieval.moves import Move, Moves
from services.retrieval.search import Search
from services.retrieval.shelf import GenerationUnknown, Shelf
from services.retrieval.store import EVERYBODY, Scope, StoreAway
from services.retrieval.turns import Turns

log = logging.getLogger(__name__)

EVERY_S, PAGE = 0.5, 100
FOLLOWED_S = 2.0
"""Within that every replica has seen a change of the row."""
SAMPLED, TOP, LONGEST = 50, 10, 300
"""Passages that are looked for, among how many that are found, by a sentence of how many characters at most."""
SENTENCE = re.compile(r"[^.!?\n]{20,}[.!?]?")


class MoveUnderWay(Exception):
    """Another move has not ended."""


class NoMove(Exception):
    """There is none that could be given up."""


@dataclass(slots=True)
class Migrating:
    generations: Generations
    shelf: Shelf
    moves: Moves
    models: Models
    catalogue: Catalogue
    turns: Turns
    names: frozenset[str]
    """Generations in the settings."""
    following: Following
    followed_s: float = FOLLOWED_S
    _aligning: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def state(self) -> Move:
        return await self.moves.get(self.generations.active.name)

    async def start(self, name: str, tolerance: float) -> None:
        """
        Raises:
            GenerationUnknown, MoveUnderWay, StoreAway
        """
        if name not in self.names:
            raise GenerationUnknown(name)
        before = await self.state()
        if before.moving_to == name and before.under_way:
            return
        if before.under_way or before.leaving or before.active == name:
            raise MoveUnderWay
        if before.moving_to not in ("", name):  # one that failed: what it copied is given up first
            raise MoveUnderWay
        made = Move(before.active, name, state=pb.MIGRATION_STATE_COPYING, tolerance=tolerance)
        if not await self.moves.put(made, before):
            raise MoveUnderWay

    async def cancel(self) -> None:
        """
        Raises:
            NoMove, StoreAway
        """
        before = await self.state()
        if not before.moving_to:
            raise NoMove
        if not await self.moves.put(replace(before, state=pb.MIGRATION_STATE_CANCELLED, fault=""), before):
            raise NoMove

    async def follow(self) -> None:
        """Keeps this replica's generations as the row says, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Once, and before anything is brought in: what is changed in one generation alone is copied to the other late."""
        try:
            await self.align()
        except StoreAway as error:
            log.warning("the state of generations is not known: %s", error)
        except GenerationUnknown as error:
            log.error("the settings have no generation %s, which a move is to or from: put it back", error)
        except OtherModel as error:
            log.error("a move waits: %s", error)
        except grpc.aio.AioRpcError as error:
            log.warning("a move waits: a service answers %s", error.code().name)

    async def align(self) -> None:
        """Opens what the row names and we lack, and closes what it names no more."""
        async with self._aligning:
            await self._align(await self.state())

    async def _align(self, move: Move) -> None:
        wanted = move.moving_to or move.leaving
        known = {one.name: one for one in self.generations.every}
        active = known.get(move.active) or await self.shelf.open(move.active)
        other = (known.get(wanted) or await self.shelf.open(wanted)) if wanted else None
        self.generations.active, self.generations.other = active, other
        for name in known.keys() - {move.active, wanted}:
            await self.shelf.close(name)

    async def lead(self) -> None:
        """Goes on with whatever move there is, in one replica, until cancelled."""
        while True:
            try:
                async with self.catalogue.leading("/generations") as lost:
                    while not lost.is_set():
                        move = await self.state()
                        if not await self._step(move):
                            await asyncio.sleep(EVERY_S)
            except grpc.aio.AioRpcError as error:
                log.warning("the move waits: a service answers %s", error.code().name)
            except (StoreAway, GenerationUnknown, OtherModel) as error:
                log.warning("the move waits: %s", error)
            await asyncio.sleep(EVERY_S)

    async def _step(self, move: Move) -> bool:
        """One step of the move; False when there is nothing to do."""
        if move.moving_to or move.leaving:
            await self.align()
        match move.state:
            case pb.MIGRATION_STATE_COPYING:
                after = replace(move, state=pb.MIGRATION_STATE_ENCODING)
                await self._copy(move, self.generations.active, self.generations.other, after)
            case pb.MIGRATION_STATE_ENCODING:
                await self._encoded(move)
            case pb.MIGRATION_STATE_VERIFYING:
                await self._verify(move)
            case pb.MIGRATION_STATE_SWITCHED:
                after = replace(move, state=pb.MIGRATION_STATE_DONE)
                await self._copy(move, self.generations.other, self.generations.active, after)
            case pb.MIGRATION_STATE_DONE if move.leaving:
                await self._dropped(move.leaving, move, replace(move, leaving=""))
            case pb.MIGRATION_STATE_CANCELLED if move.moving_to:
                await self._dropped(move.moving_to, move, replace(move, moving_to=""))
            case _:
                return False
        return True

    async def _copy(self, move: Move, source: Generation | None, target: Generation | None, after: Move) -> None:
        """A pass over all documents; `after` stands once a pass has copied nothing."""
        if not any(move.after):
            await asyncio.sleep(self.followed_s)  # changes by other replicas go to both from here on
        assert source is not None and target is not None
        start, now = move.copied, move
        switched = (
            move.state == pb.MIGRATION_STATE_SWITCHED
        )  # `target` is searched, and what came into it since is newer
        while page := await self.catalogue.keys(now.after, PAGE):
            before = now
            for key in page:
                async with self.turns.of(key):
                    now = now.at(key, copied=await copied(source.store, target.store, key, newer=switched))
            self.following.wake.set()
            if not await self.moves.put(now, before):
                return  # given up meanwhile
        clean = now.copied == start
        done = replace(after.anew(), copied=now.copied) if clean else now.anew()
        await self.moves.put(done, now)

    async def _encoded(self, move: Move) -> None:
        other = self.generations.other
        assert other is not None
        self.following.wake.set()
        if await other.store.without_dense(1):
            await asyncio.sleep(EVERY_S)
            fault = self.following.faults.get(other.name, "")
            if fault != move.fault:
                await self.moves.put(replace(move, fault=fault), move)
            return
        await self.moves.put(replace(move, state=pb.MIGRATION_STATE_VERIFYING, fault=""), move)

    async def _verify(self, move: Move) -> None:
        assert self.generations.other is not None
        asked = [one async for one in self._sampled()]
        before = await self._recall(self.generations.active, asked)
        now = await self._recall(self.generations.other, asked)
        told = replace(move, recall_before=before, recall_now=now)
        if now < before - move.tolerance:
            fault = f"of {len(asked)} sampled passages it finds {now:.0%}, and the present generation {before:.0%}"
            await self.moves.put(replace(told, state=pb.MIGRATION_STATE_FAILED, fault=fault), move)
            return
        made = replace(
            told.anew(), active=move.moving_to, moving_to="", leaving=move.active, state=pb.MIGRATION_STATE_SWITCHED
        )
        if await self.moves.put(made, move):
            log.info("generation %s is searched from now on: recall %.3f, before %.3f", made.active, now, before)

    async def _sampled(self) -> AsyncIterator[tuple[Scope, str, str]]:
        """Of chosen passages: who may read them, a sentence, and their digest."""
        keys = await self.catalogue.sample(SAMPLED)
        for key in keys:
            passages = await self.generations.active.store.of_document(*key)
            if passages:
                one = random.Random(passages[0].version).choice(passages)
                found = SENTENCE.search(one.text)
                text = (found.group() if found else one.text)[:LONGEST]
                yield Scope(key[0], key[1], tuple(one.readers) or (EVERYBODY,)), text, one.digest

    async def _recall(self, generation: Generation, asked: list[tuple[Scope, str, str]]) -> float:
        """The share of passages that are among the first found for a sentence of theirs, 1 where there is none."""
        search, hits = Search(Generations(generation)), 0
        for scope, text, digest in asked:
            found = await search.nearest(text, scope, TOP)
            hits += digest in {one.digest for one in found}
        return hits / len(asked) if asked else 1.0

    async def _dropped(self, name: str, move: Move, after: Move) -> None:
        """Drops a generation that nobody uses any more."""
        async with self._aligning:
            gone, self.generations.other = self.generations.other, None
            assert gone is not None and gone.name == name
            await asyncio.sleep(self.followed_s)  # until no other replica's searches are under way in it
            await gone.store.drop()
            await self.models.drop(name)
            await self.shelf.close(name)
            await self.moves.put(after, move)
