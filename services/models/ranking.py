"""Answers from the first candidate that can: retries and fallback before the first piece, hedges of what is slow."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tollway.chat.v1 import chat_pb2 as chat
from tollway.models.v1 import models_pb2

from services.models import faults
from services.models.catalogue import Catalogue
from services.models.credit import Credit
from services.models.hedging import first_of
from services.models.operations import CHAT, CONTENT, EMBEDDINGS, MODERATION, RERANK, Operation, operation
from services.models.pools import Asker, Endpoint, Pool
from services.models.taking_up import Said
from services.models.walk import Walk
from services.models.wires import searching, text
from services.models.wires.adapter import (
    Adapter,
    Converses,
    Drawn,
    Draws,
    Embedded,
    Heard,
    Listens,
    Moderated,
    Moderates,
    Ranks,
    Reranked,
    Session,
    Speaks,
    Target,
    Voiced,
    Wanted,
)
from services.runtime import telemetry
from services.runtime.errors import Failure
from services.runtime.secrets import Secrets

T = TypeVar("T")
Read = TypeVar("Read", Drawn, Embedded, Heard, Moderated, Reranked)
Opened = tuple[chat.ChatChunk, AsyncGenerator[chat.ChatChunk, None]]
"""A stream's first piece, and the rest."""


@dataclass(slots=True)
class Told:
    """What is known of an answer as it comes."""

    model: str = ""
    attempts: int = 0
    extra_input_tokens: int = 0
    """Of other calls at the same model that are billed, too."""


@dataclass(slots=True)
class Ranking:
    catalogue: Catalogue
    wires: Mapping[str, Adapter]
    secrets: Secrets
    pools: dict[str, Pool] = field(default_factory=dict)
    _retries: Credit = field(default_factory=lambda: Credit(a_call=0.2, most=10.0, left=10.0))
    """A provider that fails for everybody is not asked twice as often."""
    _hedges: Credit = field(default_factory=lambda: Credit(a_call=0.05, most=3.0, left=1.0))
    """One call in twenty may have a second."""

    def __post_init__(self) -> None:
        self.pools = {name: Pool.of(name, entry) for name, entry in self.catalogue.entries.items()}

    async def complete(
        self, names: Sequence[str], request: chat.ChatRequest, asker: Asker, told: Told
    ) -> chat.ChatCompletion:
        """The first answer down `names`.

        Raises:
            Failure: what the last candidate failed with; at once when no other could do better.
        """
        walk = self._walk(names, asker)
        while True:
            pool, endpoint = await walk.next()
            told.model, told.attempts = pool.name, walk.tried
            try:
                made, hedged = await self._hedged(
                    pool, endpoint, asker, lambda one: self._whole(one, request, asker), _forget
                )
            except Failure as failure:
                walk.failed(endpoint, failure)
                continue
            told.extra_input_tokens = made.usage.input_tokens if hedged else 0
            return made

    async def stream(
        self, names: Sequence[str], request: chat.ChatRequest, asker: Asker, told: Told
    ) -> AsyncGenerator[chat.ChatChunk, None]:
        """Pieces of the first answer down `names`; see `complete`. `told` is complete with the last one."""
        walk, said = self._walk(names, asker), Said()
        while True:
            pool, endpoint = await walk.next()
            told.model, told.attempts = pool.name, walk.tried
            asked, before = said.continued(request), len(said.text)
            try:
                (first, rest), hedged = await self._begun(pool, endpoint, asker, asked, said)
                async with aclosing(rest):
                    piece: chat.ChatChunk | None = first
                    while piece is not None:
                        if piece.HasField("usage"):
                            told.extra_input_tokens = piece.usage.input_tokens if hedged else 0
                            if before:
                                told.extra_input_tokens += said.counted(piece.usage, before)
                        yield said.noted(piece)
                        piece = await anext(rest, None)
                return
            except Failure as failure:
                goes_on = said.begun and pool.entry.take_up and said.can_go_on(failure, request)
                walk.failed(endpoint, failure, begun=said.begun and not goes_on)
                if goes_on:
                    said.broken = True
                    walk.stay(pool)  # whoever goes on is the same model: one answer has one price

    async def embed(self, name: str, texts: list[str], dimensions: int, asker: Asker) -> Embedded:
        """Vectors from the model `name`; see `complete`."""
        entry = self.catalogue.entry(name)
        if not entry.embeddings:
            raise faults.Unsupported(model=name, what="embed")
        wire = self.wires[entry.spoken]
        return await self._of_texts(EMBEDDINGS, name, asker, lambda target: wire.embed(target, texts, dimensions))

    async def rerank(self, name: str, query: str, documents: list[str], asker: Asker) -> Reranked:
        """Texts in the order that the model `name` puts them in; see `complete`."""
        entry = self.catalogue.entry(name)
        wire = self.wires[entry.spoken]
        if not entry.rerank or not isinstance(wire, Ranks):
            raise faults.Unsupported(model=name, what="rank texts")
        return await self._of_texts(RERANK, name, asker, lambda target: wire.rerank(target, query, documents))

    async def moderate(self, name: str, texts: list[str], asker: Asker) -> Moderated:
        """What the model `name` says of texts; see `complete`."""
        entry = self.catalogue.entry(name)
        wire = self.wires[entry.spoken]
        if not entry.moderation or not isinstance(wire, Moderates):
            raise faults.Unsupported(model=name, what="moderate")
        return await self._of_texts(MODERATION, name, asker, lambda target: wire.moderate(target, texts))

    async def draw(self, name: str, wanted: Wanted, asker: Asker) -> Drawn:
        """Pictures of the model `name`; see `complete`."""
        entry = self.catalogue.entry(name)
        wire = self.wires[entry.spoken]
        if not entry.image_tokens or not isinstance(wire, Draws):
            raise faults.Unsupported(model=name, what="make pictures")
        return await self._of_texts(CONTENT, name, asker, lambda target: wire.draw(target, wanted))

    async def transcribe(self, name: str, recording: models_pb2.Recording, most_s: int, asker: Asker) -> Heard:
        """What is said, written down by the model `name`; see `complete`."""
        entry = self.catalogue.entry(name)
        wire = self.wires[entry.spoken]
        if not entry.second_tokens or not isinstance(wire, Listens):
            raise faults.Unsupported(model=name, what="write down speech")
        return await self._of_texts(CONTENT, name, asker, lambda target: wire.transcribe(target, recording, most_s))

    async def speak(
        self, name: str, said: str, options: models_pb2.SpeechOptions, asker: Asker
    ) -> AsyncGenerator[Voiced, None]:
        """`said` in pieces of sound, by the model `name`; see `complete`."""
        entry = self.catalogue.entry(name)
        wire = self.wires[entry.spoken]
        if not entry.character_tokens or not isinstance(wire, Speaks):
            raise faults.Unsupported(model=name, what="speak")
        walk, begun = self._walk([name], asker), False
        while True:
            _, endpoint = await walk.next()
            try:
                with endpoint.call(asker) as call, operation(CONTENT, endpoint, entry, stream=True) as observed:
                    async with aclosing(wire.speak(await self._target(endpoint), said, options)) as pieces:
                        async for piece in pieces:
                            begun = True
                            call.answered()
                            if piece.usage is not None:
                                observed.used(piece.usage)
                            yield piece
                return
            except Failure as failure:
                walk.failed(endpoint, failure, begun=begun)

    @asynccontextmanager
    async def converse(
        self, name: str, asker: Asker, *, transcribes: bool = False
    ) -> AsyncIterator[tuple[Session, Operation]]:
        """A session with the model `name`, at the first of its deployments that opens one; where it `transcribes`, the model is told to
        the provider by whoever holds it."""
        entry = self.catalogue.entry(name)
        wire, able = self.wires[entry.spoken], entry.second_tokens if transcribes else entry.realtime
        if not able or not isinstance(wire, Converses):
            raise faults.Unsupported(
                model=name, what="hold sessions that transcribe" if transcribes else "hold sessions"
            )
        walk, begun = self._walk([name], asker), False
        while True:
            _, endpoint = await walk.next()
            try:
                async with AsyncExitStack() as stack:
                    call = stack.enter_context(endpoint.call(asker))
                    observed = stack.enter_context(operation(CONTENT, endpoint, entry, stream=True))
                    session = await stack.enter_async_context(wire.converse(await self._target(endpoint), transcribes))
                    begun = True
                    call.answered()
                    yield session, observed
                return
            except Failure as failure:
                walk.failed(endpoint, failure, begun=begun)

    async def _of_texts(self, kind: str, name: str, asker: Asker, ask: Callable[[Target], Awaitable[Read]]) -> Read:
        """What one model makes of texts, from the first of its deployments that can."""
        walk, entry = self._walk([name], asker), self.catalogue.entry(name)
        while True:
            _, endpoint = await walk.next()
            try:
                with endpoint.call(asker) as call, operation(kind, endpoint, entry) as observed:
                    made = await ask(await self._target(endpoint))
                    call.answered()
                    observed.used(
                        made.usage if isinstance(made, Drawn | Heard) else chat.Usage(input_tokens=made.input_tokens)
                    )
                    return made
            except Failure as failure:
                walk.failed(endpoint, failure)

    def _walk(self, names: Sequence[str], asker: Asker) -> Walk:
        for name in names:
            self.catalogue.entry(name)
        return Walk([self.pools[name] for name in names], asker, self._retries)

    async def _target(self, endpoint: Endpoint) -> Target:
        health, allowance = endpoint.health, endpoint.allowance
        return Target(
            endpoint.name,
            self.catalogue.entry(endpoint.name),
            endpoint.place,
            await self.secrets.read(endpoint.key) if endpoint.key else "",
            lambda headers: allowance.heard(headers, health.now(), time.time()),
        )

    async def _whole(self, endpoint: Endpoint, request: chat.ChatRequest, asker: Asker) -> chat.ChatCompletion:
        with endpoint.call(asker) as call:
            target = await self._target(endpoint)
            request = searching.fitted(target.entry, request)
            text.fit(target.entry, target.name, request)
            with operation(CHAT, endpoint, target.entry, request) as observed:
                made = await self.wires[target.entry.spoken].complete(target, request)
                observed.answered(made)
            call.answered()
            return made

    async def _pieces(
        self, endpoint: Endpoint, request: chat.ChatRequest, asker: Asker
    ) -> AsyncGenerator[chat.ChatChunk, None]:
        with endpoint.call(asker) as call:
            target = await self._target(endpoint)
            request = searching.fitted(target.entry, request)
            text.fit(target.entry, target.name, request)
            with operation(CHAT, endpoint, target.entry, request, stream=True) as observed:
                async with aclosing(self.wires[target.entry.spoken].stream(target, request)) as pieces:
                    async for piece in pieces:
                        call.answered()
                        observed.piece(piece)
                        yield piece

    async def _opened(self, endpoint: Endpoint, request: chat.ChatRequest, asker: Asker) -> Opened:
        pieces, opened = self._pieces(endpoint, request, asker), False
        try:
            first = await anext(pieces, None)
            if first is None:
                raise faults.ProviderBroke(model=endpoint.name, why="its stream was empty")
            opened = True
            return first, pieces
        finally:
            if not opened:
                await pieces.aclose()

    async def _begun(
        self, pool: Pool, endpoint: Endpoint, asker: Asker, asked: chat.ChatRequest, said: Said
    ) -> tuple[Opened, bool]:
        if said.broken:  # a caller in the middle of an answer has had its second call
            return await self._opened(endpoint, asked, asker), False
        return await self._hedged(pool, endpoint, asker, lambda one: self._opened(one, asked, asker), _close)

    async def _hedged(
        self,
        pool: Pool,
        endpoint: Endpoint,
        asker: Asker,
        ask: Callable[[Endpoint], Awaitable[T]],
        discard: Callable[[T], Awaitable[None]],
    ) -> tuple[T, bool]:
        """What `endpoint` answers, or another of the model's when that is slow; and whether two were asked."""
        if not pool.entry.hedge:
            return await ask(endpoint), False
        self._hedges.earn()
        if (slow_s := endpoint.health.slow_s) is None:
            return await ask(endpoint), False

        def second() -> Awaitable[T] | None:
            try:
                other = pool.pick(asker, {id(endpoint)})
            except Failure:
                return None  # nobody else has room: the first call is still under way
            if not self._hedges.spend():
                return None
            telemetry.event("hedged", model=pool.name)
            return ask(other)

        return await first_of(lambda: ask(endpoint), second, slow_s, discard)


async def _forget(_: object) -> None:
    """A whole answer that came too late leaves nothing open."""


async def _close(opened: Opened) -> None:
    await opened[1].aclose()
